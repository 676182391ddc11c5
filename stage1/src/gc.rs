//! Of a pod in state `run` whose keeper is gone: kills what is left, leaves its networks, records that it was killed.
//!
//! **Runs as** the caller, with the pod's lock: nobody else does this. **Needs** nothing but the pod directory.
//! **Leaves** the pod in `exited-garbage`. **Undone by** nothing; after a failure the next `gc` does it again.

use std::path::Path;
use std::time::UNIX_EPOCH;

use pod::{InsecureOption, LimitsBy, LimitsRecord, NetworkUse, PodResult, State};

use crate::alive;
use crate::cgroup;
use crate::cgroup::account::Account;
use crate::cgroup::settings::Settings;
use crate::error::{Error, joined};
use crate::finish;
use crate::host::Host;
use crate::network::{self, Netns};
use crate::opened::Opened;
use crate::plan;
use crate::wait;

/// Ends a dead pod.
pub(crate) fn gc() -> Result<u8, Error> {
    let host = Host::probe()?;
    let opened = Opened::take(&host, State::Run)?;
    let account = kill(&opened)?;
    let networks = network::uses(&opened.dir);
    let mut errors = network::del(&opened.dir, Netns::Gone).into_iter();
    if let Some(error) = errors.next() {
        return Err(error.into());
    }
    if !opened.dir.result().exists() {
        let result = result(&opened, account, networks);
        match pod::save(&opened.dir.result(), &result) {
            // What fills the disk may be the pod itself, and goes only with it: without a record, then.
            Err(error) if error.is_full_disk() => {}
            saved => saved?,
        }
    }
    finish::move_on(opened).map(|()| 0)
}

/// Pid 1 first: with it the kernel kills its pid namespace. The cgroup also has what has not entered the namespace yet.
fn kill(opened: &Opened) -> Result<(Account, LimitsRecord), Error> {
    let dir = &opened.dir;
    if let Some(running) = alive::load(dir)? {
        alive::kill(running.pod)?;
    }
    let limits = |by| LimitsRecord { by, reason: None };
    let Some(path) = cgroup::recorded(dir)? else {
        return Ok((Account::default(), limits(by(opened, None))));
    };
    let account = Account::read(&path, &opened.manifest.apps);
    let limits = limits(by(opened, Some(&path)));
    cgroup::remove(&path)?;
    Ok((account, limits))
}

/// What enforced the pod's limits: its keeper knew, but cannot tell any more. With the unit the cgroup may be gone too; but a
/// pod whose limits could not be had was not started, unless they were given up by name.
fn by(opened: &Opened, cgroup: Option<&Path>) -> LimitsBy {
    let settings = Settings::new(&opened.manifest);
    let asked = settings.first_asked().is_some();
    let given_up = plan::insecure(&opened.manifest, InsecureOption::Limits);
    if cgroup.is_some_and(cgroup::limits) || (asked && !given_up) {
        LimitsBy::Cgroup
    } else if asked || settings.pod.is_empty() {
        LimitsBy::Nothing
    } else {
        LimitsBy::Rlimit
    }
}

fn result(
    opened: &Opened,
    (account, limits): (Account, LimitsRecord),
    networks: Vec<NetworkUse>,
) -> PodResult {
    let mut apps = finish::statuses(opened);
    account.amend(&mut apps);
    let changed = std::fs::metadata(opened.dir.pid()).and_then(|pid| pid.modified());
    let since = changed
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    PodResult {
        version: pod::CONTRACT_VERSION,
        exit_status: finish::FAILED,
        started: since
            .and_then(|since| u64::try_from(since.as_nanos()).ok())
            .unwrap_or(0),
        finished: wait::now(),
        apps,
        limits,
        usage: account.usage,
        networks,
        errors: vec![joined(&Error::KeeperKilled)],
    }
}
