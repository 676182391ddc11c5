//! When and how the apps of a pod are asked to end: a pure state machine, driven by pid 1's loop.
//!
//! One app that fails ends its pod, as in rkt: the apps of a pod are started together because they need each other.

use std::time::{Duration, Instant};

/// What pid 1 has to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// Nothing.
    Nothing,
    /// Send every living app its stop signal.
    AskAll,
    /// Send every process of the pod SIGKILL.
    KillAll,
    /// Send every living app this signal.
    Forward(i32),
}

/// How far the end of the pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// By SIGINT, as it is.
    Interrupted {
        deadline: Instant,
    },
    /// By its stop signal.
    Asked {
        deadline: Instant,
    },
    Killed,
}

/// The end of a pod.
#[derive(Debug)]
pub(crate) struct Stop {
    phase: Phase,
    timeout: Duration,
}

impl Stop {
    /// A pod that runs.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            phase: Phase::Running,
            timeout,
        }
    }

    /// A signal came from outside the pod.
    pub(crate) fn signal(&mut self, number: i32, now: Instant) -> Act {
        match number {
            libc::SIGINT if self.phase == Phase::Running => {
                let deadline = now + self.timeout;
                self.phase = Phase::Interrupted { deadline };
                Act::Forward(libc::SIGINT)
            }
            libc::SIGTERM | libc::SIGINT | libc::SIGQUIT => self.ask(now),
            libc::SIGCHLD => Act::Nothing,
            other => Act::Forward(other),
        }
    }

    /// An app has failed. Others that were interrupted are left the time that they have.
    pub(crate) fn failure(&mut self, now: Instant) -> Act {
        match self.phase {
            Phase::Interrupted { .. } => Act::Nothing,
            _ => self.ask(now),
        }
    }

    /// Some time has passed.
    pub(crate) fn tick(&mut self, now: Instant) -> Act {
        match self.phase {
            Phase::Interrupted { deadline } if deadline <= now => self.ask(now),
            Phase::Asked { deadline } if deadline <= now => {
                self.phase = Phase::Killed;
                Act::KillAll
            }
            _ => Act::Nothing,
        }
    }

    /// How long pid 1 may wait; `None`: until something happens.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Interrupted { deadline } | Phase::Asked { deadline } => {
                Some(deadline.saturating_duration_since(now))
            }
            Phase::Running | Phase::Killed => None,
        }
    }

    /// Nobody has asked the apps to end.
    pub(crate) fn is_far(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Was SIGKILL sent because the time had run out?
    pub(crate) fn timed_out(&self) -> bool {
        self.phase == Phase::Killed
    }

    fn ask(&mut self, now: Instant) -> Act {
        match self.phase {
            Phase::Running | Phase::Interrupted { .. } => {
                let deadline = now + self.timeout;
                self.phase = Phase::Asked { deadline };
                Act::AskAll
            }
            Phase::Asked { .. } | Phase::Killed => Act::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pod_that_is_not_stopped_waits_without_a_timer() {
        let mut stop = Stop::new(10 * SECOND);
        let now = Instant::now();
        assert_eq!(stop.patience(now), None);
        assert_eq!(stop.tick(now + 1000 * SECOND), Act::Nothing);
        assert!(!stop.timed_out());
    }

    #[test]
    fn apps_are_asked_once_and_killed_at_the_deadline_of_the_first_request() {
        let mut stop = Stop::new(10 * SECOND);
        let now = Instant::now();
        assert_eq!(stop.signal(libc::SIGTERM, now), Act::AskAll);
        assert_eq!(stop.signal(libc::SIGTERM, now + 4 * SECOND), Act::Nothing);
        assert_eq!(stop.signal(libc::SIGINT, now + 5 * SECOND), Act::Nothing);
        assert_eq!(stop.failure(now + 6 * SECOND), Act::Nothing);
        assert_eq!(stop.patience(now + 6 * SECOND), Some(4 * SECOND));
        assert_eq!(stop.tick(now + 9 * SECOND), Act::Nothing);
        assert_eq!(stop.tick(now + 10 * SECOND), Act::KillAll);
        assert!(stop.timed_out());
        assert_eq!(stop.tick(now + 11 * SECOND), Act::Nothing);
        assert_eq!(stop.signal(libc::SIGTERM, now + 11 * SECOND), Act::Nothing);
    }

    #[test]
    fn an_interrupt_is_passed_on_and_becomes_a_stop_when_it_is_repeated_or_of_no_use() {
        let now = Instant::now();
        let mut stop = Stop::new(10 * SECOND);
        assert_eq!(stop.signal(libc::SIGINT, now), Act::Forward(libc::SIGINT));
        assert_eq!(stop.patience(now), Some(10 * SECOND));
        // One that obeyed; another one may be about to.
        assert_eq!(stop.failure(now + SECOND), Act::Nothing);
        assert_eq!(stop.signal(libc::SIGINT, now + 2 * SECOND), Act::AskAll);
        assert_eq!(stop.tick(now + 11 * SECOND), Act::Nothing);
        assert_eq!(stop.tick(now + 12 * SECOND), Act::KillAll);

        let mut stop = Stop::new(10 * SECOND);
        stop.signal(libc::SIGINT, now);
        assert_eq!(stop.tick(now + 9 * SECOND), Act::Nothing);
        assert_eq!(stop.tick(now + 10 * SECOND), Act::AskAll);
        assert!(!stop.timed_out());
        assert_eq!(stop.tick(now + 20 * SECOND), Act::KillAll);

        let mut stop = Stop::new(10 * SECOND);
        stop.signal(libc::SIGINT, now);
        assert_eq!(stop.signal(libc::SIGTERM, now), Act::AskAll);
    }

    #[test]
    fn no_patience_means_the_kill_follows_at_once() {
        let mut stop = Stop::new(Duration::ZERO);
        let now = Instant::now();
        assert_eq!(stop.failure(now), Act::AskAll);
        assert_eq!(stop.patience(now), Some(Duration::ZERO));
        assert_eq!(stop.tick(now), Act::KillAll);
    }

    #[test]
    fn other_signals_are_passed_on_in_every_phase() {
        let mut stop = Stop::new(SECOND);
        let now = Instant::now();
        for number in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH] {
            assert_eq!(stop.signal(number, now), Act::Forward(number));
        }
        assert_eq!(stop.signal(libc::SIGCHLD, now), Act::Nothing);
        stop.failure(now);
        assert_eq!(stop.signal(libc::SIGHUP, now), Act::Forward(libc::SIGHUP));
    }
}
