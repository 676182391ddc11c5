//! Of a pod in state `run` whose keeper is gone: kills what is left, leaves its networks, records that it was killed.
//!
//! A power failure may have torn any file of the pod: what the others tell is undone all the same, and the record says what was lost.
//!
//! **Runs as** the caller, with the pod's lock: nobody else does this. **Needs** nothing but the pod directory.
//! **Leaves** the pod in `exited-garbage`. **Undone by** nothing; after a failure the next `gc` does it again.

use std::io::{self, Write};

use pod::{App, NetworkUse, PodDir, PodId, PodManifest, PodResult, Running, State};

use crate::alive;
use crate::cgroup;
use crate::cgroup::account::Account;
use crate::error::{Error, joined};
use crate::finish;
use crate::host::{self, Host};
use crate::network::{self, Netns, NetworkError};
use crate::opened;
use crate::report;
use crate::wait;

/// A pod that nobody keeps any more.
struct Dead {
    id: PodId,
    dir: PodDir,
    manifest: Option<PodManifest>,
    /// What cannot be known of it, and why.
    lost: Vec<Error>,
}

/// What becomes of networks whose plugins do not let the pod go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Networks {
    /// The pod stays, so that they are left once that is possible.
    Left,
    /// They keep what they have for the pod, and it is printed which.
    Abandoned,
}

/// Ends a dead pod.
pub(crate) fn gc(left: Networks) -> Result<u8, Error> {
    let host = Host::probe()?;
    let mut dead = Dead::new(host::pod_id()?);
    let locked = opened::lock(&host, &dead.id, State::Run)?;
    dead.manifest = dead.known(pod::load(&PodDir::here().manifest()))?;
    let account = dead.kill()?;
    let given_up = network::mend(&dead.dir, dead.manifest.as_ref());
    dead.lost.extend(given_up.into_iter().map(Error::from));
    let networks = network::uses(&dead.dir);
    let errors = network::del(&dead.dir, Netns::Gone);
    match left {
        Networks::Left => all_or_none(errors)?,
        Networks::Abandoned => dead.abandon(errors)?,
    }
    dead.record(account, networks)?;
    finish::move_on(locked, dead.manifest.as_ref()).map(|()| 0)
}

/// Fails with the first error, when the others are told.
fn all_or_none(errors: Vec<NetworkError>) -> Result<(), Error> {
    let mut errors = errors.into_iter();
    let Some(first) = errors.next() else {
        return Ok(());
    };
    errors.for_each(|error| report::print(&error.into()));
    Err(first.into())
}

impl Dead {
    fn new(id: PodId) -> Self {
        Self {
            id,
            dir: PodDir::here(),
            manifest: None,
            lost: Vec::new(),
        }
    }

    /// What a file says. One that is not there was not written; one that is torn is noted.
    fn known<T>(&mut self, loaded: Result<T, pod::Error>) -> Result<Option<T>, Error> {
        match loaded {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_malformed() => {
                self.lost.push(Error::Lost(error));
                Ok(None)
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn apps(&self) -> &[App] {
        self.manifest
            .as_ref()
            .map_or(&[], |manifest| &manifest.apps)
    }

    /// Pid 1 first: with it the kernel kills its pid namespace. The cgroup also has what has not entered the namespace yet.
    fn kill(&mut self) -> Result<Account, Error> {
        match alive::load(&self.dir) {
            Ok(Some(running)) => alive::kill(running.pod)?,
            Ok(None) => {}
            Err(Error::Pod(error)) => self.known(Err(error))?.unwrap_or_default(),
            Err(error) => return Err(error),
        }
        let mut account = Account::default();
        for path in cgroup::left(&self.dir, &self.id)? {
            account = Account::read(&path, self.apps());
            cgroup::remove(&path)?;
        }
        Ok(account)
    }

    /// Forgets the networks that cannot be left, and says so.
    fn abandon(&mut self, errors: Vec<NetworkError>) -> Result<(), Error> {
        all_or_none(network::forget(&self.dir))?;
        for error in errors.into_iter().map(Error::Abandoned) {
            let line = format!("{}\n", report::escaped(&joined(&error)));
            // Who asked for this knows that something is kept, also when nobody is left to be told what.
            let _ = io::stdout().lock().write_all(line.as_bytes());
            self.lost.push(error);
        }
        Ok(())
    }

    /// Writes the record that the keeper could not write.
    fn record(&self, account: Account, networks: Vec<NetworkUse>) -> Result<(), Error> {
        match pod::load::<PodResult>(&self.dir.result()) {
            Err(error) if error.is_missing() || error.is_malformed() => {}
            // It had come so far.
            _ => return Ok(()),
        }
        match pod::save(&self.dir.result(), &self.result(account, networks)) {
            // What fills the disk may be the pod itself, and goes only with it: without a record, then.
            Err(error) if error.is_full_disk() => Ok(()),
            saved => Ok(saved?),
        }
    }

    /// The record of a pod whose keeper cannot write it any more. What that knew at the start is in `pid`, if it came so far.
    fn result(&self, account: Account, networks: Vec<NetworkUse>) -> PodResult {
        let mut apps = finish::statuses(&self.dir, self.apps());
        account.amend(&mut apps);
        let (started, limits) = match pod::load::<Running>(&self.dir.pid()) {
            Ok(running) => (running.started, running.limits),
            Err(_) => (0, finish::not_started()),
        };
        let errors = std::iter::once(&Error::KeeperKilled).chain(&self.lost);
        PodResult {
            version: pod::CONTRACT_VERSION,
            exit_status: finish::FAILED,
            started,
            finished: wait::now(),
            apps,
            limits,
            usage: account.usage,
            networks,
            errors: errors.map(|error| joined(error)).collect(),
        }
    }
}
