//! The coordinator's side of its workers: this same program, executed again with fewer rights.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use images::fetch::workers::{SpawnError, Worker, Workers};
use images::wire::Channel;
use nix::unistd::geteuid;
use pod::IdMapChoice;

use super::{Step, WorkerError, isolate};
use crate::id_map;

/// The account that talks to registries for root, and the one when it is not installed.
const ACCOUNTS: &[&str] = &["skua", "nobody"];

/// `nobody` where `/etc/passwd` names neither.
const NOBODY: (u32, u32) = (65_534, 65_534);

/// What a worker keeps of the environment: how to reach and to check a registry.
const KEPT: &[&str] = &[
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_DIR",
];

/// Starts workers for this caller.
#[derive(Debug)]
pub(crate) struct Spawner {
    map: IdMapChoice,
    debug: bool,
}

impl Spawner {
    /// Workers whose layers have the owners of `map`. With `debug` they share our standard error.
    pub(crate) fn new(map: IdMapChoice, debug: bool) -> Self {
        Self { map, debug }
    }

    /// A process that may remove what is in `directory` and nothing else; it runs [`super::empty::serve`].
    pub(super) fn empty(&self, directory: BorrowedFd<'_>) -> Result<Worker, WorkerError> {
        let worker = self.start(Step::Empty, None)?;
        isolate::conduct(&worker, directory, &self.map)?;
        Ok(worker)
    }

    fn start(&self, step: Step, account: Option<(u32, u32)>) -> Result<Worker, WorkerError> {
        let (ours, theirs) = Channel::pair().map_err(WorkerError::Socket)?;
        let name = step.to_possible_value();
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("skua")
            .arg("worker")
            .args(name.iter().map(|value| value.get_name()))
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(if self.debug {
                Stdio::inherit()
            } else {
                Stdio::null()
            });
        if step == Step::Net {
            let kept = KEPT
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?)));
            command.envs(kept);
        }
        if let Some((uid, gid)) = account {
            // With a user to change to, the standard library drops supplementary groups too.
            command.uid(uid).gid(gid);
        }
        let child = command.spawn().map_err(WorkerError::Start)?;
        Ok(Worker::new(ours, child))
    }
}

impl Workers for Spawner {
    fn registry(&self) -> Result<Worker, SpawnError> {
        let account = geteuid().is_root().then(|| {
            let known = ACCOUNTS.iter().find_map(|name| id_map::account(name));
            known.unwrap_or(NOBODY)
        });
        Ok(self.start(Step::Net, account)?)
    }

    fn pack(&self, tree: BorrowedFd<'_>) -> Result<Worker, SpawnError> {
        let worker = self.start(Step::Pack, None)?;
        isolate::conduct(&worker, tree, &self.map)?;
        Ok(worker)
    }

    fn extract(&self, directory: BorrowedFd<'_>) -> Result<Worker, SpawnError> {
        let worker = self.start(Step::Extract, None)?;
        isolate::conduct(&worker, directory, &id_map::of_user_files())?;
        Ok(worker)
    }

    fn layout(&self) -> Result<Worker, SpawnError> {
        Ok(self.start(Step::Layout, None)?)
    }

    fn unpack(&self, tree: BorrowedFd<'_>) -> Result<Worker, SpawnError> {
        let worker = self.start(Step::Unpack, None)?;
        isolate::conduct(&worker, tree, &self.map)?;
        Ok(worker)
    }
}
