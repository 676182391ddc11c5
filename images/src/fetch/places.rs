//! The places that an image is fetched from, and which of them have served other bytes than were asked for.
//!
//! Digests are checked by those who take the bytes; the worker only says whose they are. A place that has served wrong bytes
//! is not asked again in this fetch. Where the bytes of several places are wrong together, it cannot be told whose they
//! were: all but the last one have failed as well, so those are left, and the last one is asked for the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// All places, in the order in which they are asked.
#[derive(Debug, Default)]
pub(super) struct Places {
    names: Vec<String>,
    /// What each of those has done that are not asked again.
    liars: Mutex<BTreeMap<usize, String>>,
}

/// Who has delivered the bytes of one request, and who was not asked.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) avoided: BTreeSet<usize>,
    by: Vec<usize>,
}

impl Served {
    /// The bytes that follow are this place's.
    pub(super) fn from(&mut self, place: usize) {
        self.by.retain(|other| *other != place);
        self.by.push(place);
    }
}

impl Places {
    pub(super) fn new(names: Vec<String>) -> Self {
        Self {
            names,
            liars: Mutex::default(),
        }
    }

    /// For a new request.
    pub(super) fn ask(&self) -> Served {
        Served {
            avoided: self.liars().keys().copied().collect(),
            by: Vec::new(),
        }
    }

    /// What was `served` is wrong in the way `what` says. The places that are not asked again because of that; none when
    /// there is nobody else to ask.
    pub(super) fn blame(&self, served: &Served, what: &str) -> Option<Vec<&str>> {
        if self.names.len() < 2 {
            return None;
        }
        let others = served.by.len().saturating_sub(1).max(1);
        let blamed: Vec<(usize, &str)> = served
            .by
            .iter()
            .take(others)
            .filter(|place| !served.avoided.contains(place))
            .filter_map(|place| Some((*place, self.names.get(*place)?.as_str())))
            .collect();
        let mut liars = self.liars();
        for (place, name) in &blamed {
            liars
                .entry(*place)
                .or_insert_with(|| format!("{name} serves wrong bytes: {what}"));
        }
        // Each time there is one less to ask, so this ends.
        let some_left = !blamed.is_empty() && liars.len() < self.names.len();
        some_left.then(|| blamed.into_iter().map(|(_, name)| name).collect())
    }

    /// What places have done that are not asked any more, and what is said now.
    pub(super) fn with_liars(&self, said: &str) -> String {
        let liars = self.liars();
        let lines = liars.values().map(String::as_str);
        let lines: Vec<&str> = lines
            .chain(Some(said).filter(|said| !said.is_empty()))
            .collect();
        lines.join("; ")
    }

    /// Whether any has served wrong bytes.
    pub(super) fn have_lied(&self) -> bool {
        !self.liars().is_empty()
    }

    fn liars(&self) -> MutexGuard<'_, BTreeMap<usize, String>> {
        self.liars.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(count: usize) -> Places {
        Places::new((0..count).map(|at| format!("place{at}")).collect())
    }

    fn served(places: &Places, by: &[usize]) -> Served {
        let mut served = places.ask();
        by.iter().for_each(|place| served.from(*place));
        served
    }

    #[test]
    fn one_place_after_the_other_is_left() {
        let places = places(3);
        let blame = |by: &[usize]| {
            let served = served(&places, by);
            places.blame(&served, "x").map(|names| names.join(" "))
        };
        assert_eq!(blame(&[0, 1]).as_deref(), Some("place0"), "1 failed last");
        assert_eq!(blame(&[1]).as_deref(), Some("place1"));
        assert_eq!(blame(&[2]), None);
        let all = places.with_liars("");
        for name in ["place0", "place1", "place2"] {
            assert!(
                all.contains(&format!("{name} serves wrong bytes: x")),
                "{all}"
            );
        }
    }

    #[test]
    fn a_worker_that_lies_about_places_gains_no_try() {
        let places = places(2);
        for by in [&[][..], &[7], &[7, 8, 9]] {
            assert_eq!(places.blame(&served(&places, by), "x"), None, "{by:?}");
        }
        let mut served = places.ask();
        served.from(0);
        assert!(places.blame(&served, "x").is_some());
        let mut again = places.ask();
        again.from(0);
        assert_eq!(places.blame(&again, "x"), None);
        // Two layers at once that find out the same: both are asked for elsewhere.
        assert!(places.blame(&served, "x").is_some());
    }

    #[test]
    fn the_only_place_is_not_blamed() {
        let places = places(1);
        assert_eq!(places.blame(&served(&places, &[0]), "x"), None);
        assert!(!places.have_lied(), "the error itself says it");
    }
}
