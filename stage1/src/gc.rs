//! Of a pod in state `run` whose keeper is gone: kills what is left, leaves its networks, records that it was killed.
//!
//! **Runs as** the caller, with the pod's lock: nobody else does this. **Needs** nothing but the pod directory.
//! **Leaves** the pod in `exited-garbage`. **Undone by** nothing; after a failure the next `gc` does it again.

use pod::{NetworkUse, PodResult, Running, State};

use crate::alive;
use crate::cgroup;
use crate::cgroup::account::Account;
use crate::error::{Error, joined};
use crate::finish;
use crate::host::Host;
use crate::network::{self, Netns};
use crate::opened::Opened;
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
fn kill(opened: &Opened) -> Result<Account, Error> {
    let dir = &opened.dir;
    if let Some(running) = alive::load(dir)? {
        alive::kill(running.pod)?;
    }
    let Some(path) = cgroup::recorded(dir)? else {
        return Ok(Account::default());
    };
    let account = Account::read(&path, &opened.manifest.apps);
    cgroup::remove(&path)?;
    Ok(account)
}

/// The record of a pod whose keeper cannot write it any more. What that knew at the start is in `pid`, if it came so far.
fn result(opened: &Opened, account: Account, networks: Vec<NetworkUse>) -> PodResult {
    let mut apps = finish::statuses(opened);
    account.amend(&mut apps);
    let (started, limits) = match pod::load::<Running>(&opened.dir.pid()) {
        Ok(running) => (running.started, running.limits),
        Err(_) => (0, finish::not_started()),
    };
    PodResult {
        version: pod::CONTRACT_VERSION,
        exit_status: finish::FAILED,
        started,
        finished: wait::now(),
        apps,
        limits,
        usage: account.usage,
        networks,
        errors: vec![joined(&Error::KeeperKilled)],
    }
}
