//! Starts workers.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use images::fetch::workers::{SpawnError, Step, Worker, Workers};
use images::wire::Channel;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;
use pod::IdMapChoice;

use super::{WorkerError, conduct};
use crate::error::joined;
use crate::{id_map, libexec};

/// The program.
pub(crate) const WORKER: &str = "skua-worker";

/// The account that talks to registries for root.
const ACCOUNT: &str = "skua";

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

/// The program, open: the user that a worker is started as need not reach it by its path. It is part of this program, so no flag
/// names another one.
fn program() -> Result<OwnedFd, WorkerError> {
    let path = libexec::own(WORKER).map_err(|error| WorkerError::Program(joined(&error)))?;
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    open(&path, flags, Mode::empty()).map_err(|error| WorkerError::Open(path, error.into()))
}

impl Spawner {
    /// Workers whose layers have the owners of `map`. With `debug` they share our standard error.
    pub(crate) fn new(map: IdMapChoice, debug: bool) -> Self {
        Self { map, debug }
    }

    /// A process that removes what is in `directory`, and may do nothing else.
    pub(super) fn empty(&self, directory: BorrowedFd<'_>) -> Result<Worker, WorkerError> {
        let worker = self.start(Step::Empty, None)?;
        conduct::conduct(&worker, directory, &self.map)?;
        Ok(worker)
    }

    fn start(&self, step: Step, account: Option<(u32, u32)>) -> Result<Worker, WorkerError> {
        let (ours, theirs) = Channel::pair().map_err(WorkerError::Socket)?;
        let program = program()?;
        let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
        command
            .arg0(WORKER)
            .arg(step.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(if self.debug {
                Stdio::inherit()
            } else {
                // Told when it ends without another word.
                Stdio::piped()
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
            // Not `nobody`: others run as that, and a process can stop those of its user, or change their limits.
            id_map::account(ACCOUNT).unwrap_or((id_map::UNUSED, id_map::UNUSED))
        });
        Ok(self.start(Step::Net, account)?)
    }

    fn pack(&self, tree: BorrowedFd<'_>) -> Result<Worker, SpawnError> {
        let worker = self.start(Step::Pack, None)?;
        conduct::conduct(&worker, tree, &self.map)?;
        Ok(worker)
    }

    fn extract(&self, directory: BorrowedFd<'_>) -> Result<Worker, SpawnError> {
        let worker = self.start(Step::Extract, None)?;
        conduct::conduct(&worker, directory, &id_map::of_user_files())?;
        Ok(worker)
    }

    fn layout(&self) -> Result<Worker, SpawnError> {
        Ok(self.start(Step::Layout, None)?)
    }

    fn unpack(&self, tree: BorrowedFd<'_>) -> Result<Worker, SpawnError> {
        let worker = self.start(Step::Unpack, None)?;
        conduct::conduct(&worker, tree, &self.map)?;
        Ok(worker)
    }
}
