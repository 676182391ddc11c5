//! What a pod used, and whether its memory was used up, by the count of its cgroup: read when it has ended.
//!
//! Nothing here is an error: a count that is not there, for want of a controller or because the kernel is older, is absent.

use std::path::Path;

use pod::{AppName, AppStatus, Outcome, PodUsage};

use super::of_app;
use crate::host;

/// What was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Of the whole pod; absent if it had no cgroup.
    pub(crate) usage: Option<PodUsage>,
    /// The apps of which the kernel killed a process because memory was used up.
    out_of_memory: Vec<AppName>,
}

impl Account {
    /// Reads the counts of the pod's cgroup `path`.
    pub(crate) fn read(path: &Path, apps: &[pod::App]) -> Self {
        let Ok(cpu) = host::read_virtual(path.join("cpu.stat")) else {
            return Self::default();
        };
        let count = |file: &str| {
            host::read_virtual(path.join(file))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let of_pod = oom_kills(path);
        // Without that controller there is none of its files anywhere.
        let memory = of_pod.is_some();
        let killed =
            |app: &&AppName| memory && oom_kills(&of_app(path, app)).is_some_and(|count| count > 0);
        Self {
            usage: Some(PodUsage {
                user_us: field(&cpu, "user_usec").unwrap_or(0),
                system_us: field(&cpu, "system_usec").unwrap_or(0),
                memory_peak: memory.then(|| count("memory.peak")).flatten(),
                pids_peak: count("pids.peak"),
                oom_kills: of_pod,
            }),
            out_of_memory: apps
                .iter()
                .map(|app| &app.name)
                .filter(killed)
                .cloned()
                .collect(),
        }
    }

    /// Says of each app that was killed because memory was used up that it was; gives their names.
    pub(crate) fn amend(&self, statuses: &mut [AppStatus]) -> Vec<AppName> {
        let mut names = Vec::new();
        for status in statuses {
            let killed = matches!(
                status.outcome,
                Outcome::Signaled {
                    signal: libc::SIGKILL,
                    ..
                }
            );
            if killed && self.out_of_memory.contains(&status.name) {
                status.outcome = Outcome::OutOfMemory;
                names.push(status.name.clone());
            }
        }
        names
    }
}

fn oom_kills(cgroup: &Path) -> Option<u64> {
    let events = host::read_virtual(cgroup.join("memory.events")).ok()?;
    field(&events, "oom_kill")
}

/// The number behind a name, on a line of its own.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(field(text, "oom_kill"), Some(2));
        assert_eq!(field(text, "oom"), Some(3));
        assert_eq!(field(text, "max"), None);
    }
}
