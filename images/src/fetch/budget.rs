//! The limit that all layers of an image have together, given out to those that are unpacked side by side.
//!
//! An unpack worker asks for more when it has used up what it was given, and gets a step at a time. What is given may exceed the
//! limit by one step for each worker, because each may hold one that it does not use; so no image within its limits is refused,
//! and at no time is there more on the disk than limit and steps. What has really been used is compared at the end.

use std::cell::Cell;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::unpack::{Amount, LayerReport, Limits};

/// The largest step.
const STEP: Amount = Amount {
    entries: 4096,
    bytes: 16 << 20,
};

/// So many steps are in a limit at least.
const STEPS: u64 = 256;

/// What all layers together may make.
pub(super) struct Budget {
    limit: Amount,
    step: Amount,
    /// The limit and a step for each worker.
    most: Amount,
    given: Mutex<Amount>,
}

/// What one layer was given. Dropped, it gives it back.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    given: Cell<Amount>,
    refused: Cell<Option<TooMuch>>,
}

/// What of there would be too much: how it is called, and the limit.
pub(super) type TooMuch = (&'static str, u64);

impl Budget {
    /// For so many layers at a time.
    pub(super) fn new(limits: &Limits, workers: usize) -> Self {
        let limit = Amount {
            entries: limits.entries,
            bytes: limits.bytes,
        };
        let step = Amount {
            entries: (limit.entries / STEPS).clamp(1, STEP.entries),
            bytes: (limit.bytes / STEPS).clamp(1, STEP.bytes),
        };
        let workers = workers as u64;
        let most = Amount {
            entries: limit
                .entries
                .saturating_add(step.entries.saturating_mul(workers)),
            bytes: limit
                .bytes
                .saturating_add(step.bytes.saturating_mul(workers)),
        };
        Self {
            limit,
            step,
            most,
            given: Mutex::default(),
        }
    }

    /// For one more layer.
    pub(super) fn share(&self) -> Share<'_> {
        Share {
            budget: self,
            given: Cell::default(),
            refused: Cell::default(),
        }
    }

    /// Fails when `used` is more than the limit.
    pub(super) fn check(&self, used: Amount) -> Result<(), TooMuch> {
        if used.entries > self.limit.entries {
            Err(("entries", self.limit.entries))
        } else if used.bytes > self.limit.bytes {
            Err(("bytes", self.limit.bytes))
        } else {
            Ok(())
        }
    }

    fn given(&self) -> MutexGuard<'_, Amount> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share<'_> {
    /// Gives what is needed, and up to a step in advance; nothing when that is too much.
    pub(super) fn more(&self, need: Amount) -> Option<Amount> {
        let Budget {
            limit, step, most, ..
        } = self.budget;
        let give = Amount {
            entries: at_a_time(need.entries, step.entries),
            bytes: at_a_time(need.bytes, step.bytes),
        };
        let mut given = self.budget.given();
        let sum = plus(*given, give);
        let too_much = if sum.entries > most.entries {
            ("entries", limit.entries)
        } else if sum.bytes > most.bytes {
            ("bytes", limit.bytes)
        } else {
            *given = sum;
            self.given.set(plus(self.given.get(), give));
            return Some(give);
        };
        self.refused.set(Some(too_much));
        None
    }

    /// What it was refused.
    pub(super) fn refused(&self) -> Option<TooMuch> {
        self.refused.get()
    }

    /// Gives all of it back: the layer is thrown away.
    pub(super) fn return_all(&self) {
        self.keep(Amount::default());
        self.refused.set(None);
    }

    /// Gives back what a layer that is complete has not used.
    pub(super) fn settle(self, report: &LayerReport) {
        self.keep(used(report));
        // So that nothing is given back when it is dropped.
        self.given.set(Amount::default());
    }

    fn keep(&self, kept: Amount) {
        let back = minus(self.given.replace(kept), kept);
        let mut given = self.budget.given();
        *given = minus(*given, back);
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.return_all();
    }
}

/// What a layer has made.
pub(super) fn used(report: &LayerReport) -> Amount {
    Amount {
        entries: report.entries,
        bytes: report.file_bytes,
    }
}

pub(super) fn plus(a: Amount, b: Amount) -> Amount {
    Amount {
        entries: a.entries.saturating_add(b.entries),
        bytes: a.bytes.saturating_add(b.bytes),
    }
}

fn minus(a: Amount, b: Amount) -> Amount {
    Amount {
        entries: a.entries.saturating_sub(b.entries),
        bytes: a.bytes.saturating_sub(b.bytes),
    }
}

fn at_a_time(need: u64, step: u64) -> u64 {
    match need {
        0 => 0,
        need => need.max(step),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes: u64, workers: usize) -> Budget {
        let limits = Limits {
            bytes,
            ..Limits::default()
        };
        Budget::new(&limits, workers)
    }

    fn bytes(bytes: u64) -> Amount {
        Amount { entries: 0, bytes }
    }

    fn made(bytes: u64) -> LayerReport {
        LayerReport {
            file_bytes: bytes,
            ..LayerReport::default()
        }
    }

    #[test]
    fn what_is_given_never_exceeds_the_limit_by_more_than_a_step_for_each() {
        let budget = budget(256_000, 3);
        let shares = [budget.share(), budget.share(), budget.share()];
        let mut given = 0;
        // One byte at a time, and a large file now and then.
        'all: loop {
            for (at, share) in shares.iter().enumerate() {
                match share.more(bytes(if at == 2 { 5000 } else { 1 })) {
                    Some(more) => given += more.bytes,
                    None => {
                        assert_eq!(share.refused(), Some(("bytes", 256_000)));
                        break 'all;
                    }
                }
            }
        }
        assert!((256_000..=259_000).contains(&given), "{given}");
    }

    #[test]
    fn layers_that_fit_exactly_are_not_refused() {
        let budget = budget(256_000, 3);
        let shares = [budget.share(), budget.share(), budget.share()];
        // Each has a step of 1000, of which it uses one byte.
        for share in &shares[..2] {
            assert_eq!(share.more(bytes(1)).unwrap(), bytes(1000));
        }
        let most = 256_000 - 2;
        assert_eq!(shares[2].more(bytes(most)).unwrap(), bytes(most));
        for (share, used) in shares.into_iter().zip([1, 1, most]) {
            share.settle(&made(used));
        }
        assert_eq!(*budget.given(), bytes(256_000));
        assert!(budget.check(bytes(256_000)).is_ok());
        assert!(budget.check(bytes(256_001)).is_err());
    }

    #[test]
    fn what_is_thrown_away_is_given_back() {
        let budget = budget(256_000, 1);
        let share = budget.share();
        share.more(bytes(200_000)).unwrap();
        assert!(share.more(bytes(200_000)).is_none());
        share.return_all();
        assert_eq!(share.refused(), None);
        share.more(bytes(200_000)).unwrap();
        drop(share);
        assert_eq!(*budget.given(), bytes(0));
        // Numbers of a hostile layer do not wrap around.
        let share = budget.share();
        assert!(share.more(bytes(u64::MAX)).is_none());
        share.more(bytes(10)).unwrap();
    }
}
