//! How slowly bytes may come: within one connection, and over all connections for one blob.

use std::io::Read;
use std::time::{Duration, Instant};

use super::error::RegistryError;

const CHUNK: usize = 128 * 1024;

/// The least speed over all connections and the waits between them: each KiB that comes is worth a second, and a registry may
/// be so far behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    late: Instant,
}

impl Pace {
    const PATIENCE: Duration = Duration::from_secs(180);

    pub(super) fn new(now: Instant) -> Self {
        Self {
            late: now + Self::PATIENCE,
        }
    }

    /// So many bytes have come, and it took their receiver so long to take them.
    pub(super) fn came(&mut self, bytes: usize, taken: Duration, now: Instant) {
        let worth = Duration::from_secs_f64(bytes as f64 / 1024.0);
        // What came long ago at full speed gives no right to be slow.
        self.late = (self.late + worth + taken).min(now + Self::PATIENCE);
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        now > self.late
    }
}

/// A body that must not come slower than a lower bound. The client's own deadline is for a body that stops altogether.
pub(super) struct Paced<R> {
    body: R,
    host: String,
    since: Instant,
    bytes: u64,
}

impl<R: Read> Paced<R> {
    const WINDOW: Duration = Duration::from_secs(30);
    const LEAST: u64 = 30 * 1024;

    pub(super) fn new(body: R, host: String) -> Self {
        Self {
            body,
            host,
            since: Instant::now(),
            bytes: 0,
        }
    }

    /// Gives at most `limit` bytes to `take` and returns how many the body has, where `limit + 1` stands for all that is more.
    pub(super) fn copy(
        &mut self,
        limit: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), RegistryError>,
    ) -> Result<u64, RegistryError> {
        let mut buffer = vec![0; CHUNK];
        let mut passed = 0;
        loop {
            let count = match self.body.read(&mut buffer) {
                Ok(0) => return Ok(passed),
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(RegistryError::Body(self.host.clone(), error)),
            };
            let wanted = usize::try_from(limit - passed).map_or(count, |left| left.min(count));
            let begun = Instant::now();
            take(&buffer[..wanted])?;
            // That a layer is unpacked slowly is not the registry's fault.
            self.since += begun.elapsed();
            passed += wanted as u64;
            if wanted < count {
                return Ok(limit + 1);
            }
            self.pace(count as u64)?;
        }
    }

    fn pace(&mut self, bytes: u64) -> Result<(), RegistryError> {
        self.bytes += bytes;
        if self.since.elapsed() < Self::WINDOW {
            return Ok(());
        }
        if self.bytes < Self::LEAST {
            return Err(RegistryError::Slow(self.host.clone()));
        }
        self.bytes = 0;
        self.since = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A body of one byte whose window is over after a second.
    fn late<R: Read>(body: R) -> Paced<R> {
        let mut paced = Paced::new(body, "registry.example".to_owned());
        paced.since -= Paced::<R>::WINDOW - Duration::from_secs(1);
        paced
    }

    fn wait() {
        std::thread::sleep(Duration::from_millis(1100));
    }

    struct Slow;

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            wait();
            into[0] = b'x';
            Ok(1)
        }
    }

    #[test]
    fn a_body_is_slow_when_it_comes_slowly_and_not_when_it_is_taken_slowly() {
        let came = late(&b"x"[..]).copy(1, |_| {
            wait();
            Ok(())
        });
        assert!(matches!(came, Ok(1)), "{came:?}");
        let came = late(Slow).copy(1, |_| Ok(()));
        assert!(matches!(came, Err(RegistryError::Slow(_))), "{came:?}");
    }

    #[test]
    fn a_byte_for_each_connection_is_too_slow_and_a_slow_line_is_not() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (mut byte, mut slow, mut was_fast) =
            (Pace::new(start), Pace::new(start), Pace::new(start));
        was_fast.came(1 << 30, Duration::ZERO, start);
        for tick in 1..=100 {
            byte.came(1, Duration::ZERO, at(30 * tick));
            was_fast.came(1, Duration::ZERO, at(30 * tick));
            slow.came(31 * 1024, Duration::ZERO, at(30 * tick));
            assert_eq!(byte.is_late(at(30 * tick)), tick > 6, "{tick}");
            assert_eq!(was_fast.is_late(at(30 * tick)), tick > 6, "{tick}");
            assert!(!slow.is_late(at(30 * tick)), "{tick}");
        }
    }

    #[test]
    fn time_that_the_receiver_takes_is_not_the_registry_s() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let later = start + Duration::from_secs(1000);
        pace.came(1, Duration::from_secs(1000), later);
        assert!(!pace.is_late(later));
    }
}
