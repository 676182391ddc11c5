//! What follows a pod's end, whatever the end was: everything is undone, the result is recorded, the directory moves.
//!
//! **Runs as** the keeper, or `gc`. **Needs** how it ended. **Leaves** `result.json` in `exited-garbage`. All errors are kept;
//! the first one is the caller's.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use pod::{AppStatus, LimitsBy, LimitsRecord, Locked, PodDir, PodManifest, PodResult, State};

use crate::cgroup::Cgroup;
use crate::cgroup::account::Account;
use crate::error::{Error, joined};
use crate::netns::Netns;
use crate::network;
use crate::opened::Opened;
use crate::remove;
use crate::report;
use crate::wait::{self, Ended};

/// What a pod has outside its directory.
#[derive(Debug)]
pub(crate) struct Leftovers {
    /// When the keeper began.
    pub(crate) started: u64,
    /// Its cgroup.
    pub(crate) cgroup: Option<Cgroup>,
    /// How its limits are enforced.
    pub(crate) limits: LimitsRecord,
    /// Its network namespace, if it is in CNI networks: held open so that they can be left after its end.
    pub(crate) netns: Option<Netns>,
    /// Its published ports.
    pub(crate) ports: network::Held,
}

impl Leftovers {
    /// Nothing yet.
    pub(crate) fn begin() -> Self {
        Self {
            started: wait::now(),
            cgroup: None,
            limits: not_started(),
            netns: None,
            ports: network::Held::default(),
        }
    }

    /// What the pod used.
    fn account(&self, apps: &[pod::App]) -> Account {
        let cgroup = self.cgroup.as_ref();
        cgroup.map_or_else(Account::default, |cgroup| {
            Account::read(cgroup.path(), apps)
        })
    }

    /// Where plugins find the pod's network namespace; empty when there is none.
    pub(crate) fn netns_path(&self) -> &str {
        self.netns.as_ref().map_or("", |netns| &netns.path)
    }

    fn undo(self, dir: &PodDir) -> Vec<Error> {
        let left = self.netns.map_or_else(Vec::new, |netns| {
            network::del(dir, network::Netns::At(&netns.path))
        });
        let cgroup = self.cgroup.and_then(|cgroup| cgroup.remove().err());
        left.into_iter().map(Error::from).chain(cgroup).collect()
    }
}

/// How the limits are enforced of a pod that has not begun.
pub(crate) fn not_started() -> LimitsRecord {
    LimitsRecord {
        by: LimitsBy::Nothing,
        reason: Some("the pod was not started".to_owned()),
    }
}

/// Undoes, records, moves. The exit status of the pod, or the first error.
pub(crate) fn all(
    opened: Opened,
    left: Leftovers,
    ended: Result<Ended, Error>,
) -> Result<u8, Error> {
    let (started, limits) = (left.started, left.limits.clone());
    let account = left.account(&opened.manifest.apps);
    let networks = network::uses(&opened.dir);
    let undone = left.undo(&opened.dir);
    let mut apps = statuses(&opened.dir, &opened.manifest.apps);
    for app in account.amend(&mut apps) {
        report::print(&Error::OutOfMemory(app));
    }
    let killed = match &ended {
        Ok(Ended::Killed(signal)) => Some(Error::Killed(*signal)),
        _ => None,
    };
    let status = ended.and_then(|ended| exit_status(&opened, &apps, ended));
    let errors = status.as_ref().err().into_iter();
    let errors: Vec<&Error> = errors.chain(&killed).chain(&undone).collect();
    let result = PodResult {
        version: pod::CONTRACT_VERSION,
        exit_status: *status.as_ref().unwrap_or(&FAILED),
        started,
        finished: wait::now(),
        apps,
        limits,
        usage: account.usage,
        networks,
        errors: errors.iter().flat_map(|error| texts(error)).collect(),
    };
    if let Err(error) = pod::save(&opened.dir.result(), &result) {
        // The record would have had them.
        errors.into_iter().for_each(report::print);
        return Err(Error::Result(opened.manifest.id.clone(), error));
    }
    // What could not be undone is left to `gc`, which looks at pods in state `run`.
    match undone.into_iter().next() {
        Some(error) => status.and(Err(error)),
        None => move_on(opened.locked, Some(&opened.manifest)).and(status),
    }
}

/// An error, and what failed while it was undone.
fn texts(error: &Error) -> Vec<String> {
    let further = match error {
        Error::Network(error) => error.further(),
        _ => &[],
    };
    let further = further.iter().map(|error| joined(error));
    std::iter::once(joined(error)).chain(further).collect()
}

/// The status when skua itself failed.
pub(crate) const FAILED: u8 = 254;

/// Moves an ended pod, or removes it if that was asked for. What cannot be removed is left to `gc`: how the pod ended is known,
/// and no failure takes its place.
pub(crate) fn move_on(mut locked: Locked, manifest: Option<&PodManifest>) -> Result<(), Error> {
    locked.move_to(State::ExitedGarbage)?;
    let removed = match manifest {
        Some(manifest) if manifest.remove => remove::pod(&locked.pod.path(), manifest),
        _ => Ok(()),
    };
    if let Err(error) = removed {
        report::print(&Error::Kept(Box::new(error)));
    }
    Ok(())
}

/// The statuses that stage2 left, in manifest order. The directory belongs to the pod's root: what is not a plain file is not
/// a status, and is neither followed nor waited for.
pub(crate) fn statuses(dir: &PodDir, apps: &[pod::App]) -> Vec<AppStatus> {
    let one = |app: &pod::App| {
        let path = dir.status(&app.name);
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&path)
            .ok()?;
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        pod::load_from(file, &path).ok()
    };
    apps.iter().filter_map(one).collect()
}

/// As stage2 says: of the first app that failed, 0 when none did. It cannot say so when it was killed.
fn exit_status(opened: &Opened, apps: &[AppStatus], ended: Ended) -> Result<u8, Error> {
    let has_status = |app: &pod::App| apps.iter().any(|status| status.name == app.name);
    let missing = opened.manifest.apps.iter().find(|app| !has_status(app));
    match (missing, ended) {
        (Some(app), Ended::Exited(code)) => Err(Error::NoStatus(code, app.name.clone())),
        _ => Ok(ended.exit_status()),
    }
}
