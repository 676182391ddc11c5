//! Why a worker could not be started or did not do its step.

use std::io;
use std::path::PathBuf;

use images::fetch::workers::{End, Worker};
use images::wire::WireError;

/// A step that failed, as the coordinator sees it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    /// No socket between the two.
    #[error("cannot make the worker's socket")]
    Socket(#[source] io::Error),
    /// Where the program is cannot be found out.
    #[error("{0}")]
    Program(String),
    /// The program is not there.
    #[error("cannot open {0}, which belongs beside skua or in ../libexec/skua")]
    Open(PathBuf, #[source] io::Error),
    /// It cannot be executed.
    #[error("cannot start a worker")]
    Start(#[source] io::Error),
    /// The other side does not follow the protocol, or has gone.
    #[error("cannot talk to the other side")]
    Wire(#[from] WireError),
    /// The other side has gone.
    #[error("it {0}")]
    Ended(End),
    /// The directory to empty.
    #[error("cannot open the directory")]
    Directory(#[source] io::Error),
    /// Something in it cannot be removed.
    #[error("cannot remove what is in it: {0}")]
    Empty(String),
    /// The worker could not isolate itself.
    #[error("the worker cannot isolate itself: {0}")]
    Isolate(String),
    /// The id map was not taken by the kernel.
    #[error("cannot write {0}")]
    WriteMap(PathBuf, #[source] io::Error),
    /// `newuidmap` or `newgidmap` failed.
    #[error("cannot map subordinate ids with {0}{1}")]
    MapProgram(String, String),
    /// It cannot be executed.
    #[error("cannot run {0}")]
    RunMapProgram(String, #[source] io::Error),
}

impl WorkerError {
    /// Why `worker` does not answer as it should.
    pub(super) fn lost(worker: &Worker, error: WireError) -> Self {
        match error {
            WireError::Closed => worker.ended().map_or(Self::Wire(error), Self::Ended),
            other => Self::Wire(other),
        }
    }

    /// What the user can do about it, where that is known.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Ended(end) => end.hint(),
            Self::Isolate(_) | Self::WriteMap(..) => Some(
                "layers are unpacked in a user namespace; if this host forbids them, see sysctl user.max_user_namespaces, \
                 kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns"
                    .to_owned(),
            ),
            Self::Start(error) => of_limit(error).map(str::to_owned),
            Self::MapProgram(..) | Self::RunMapProgram(..) => Some(
                "'skua doctor' says which ids there are for you, and what to do about it"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

/// Which limit is met where no process can be started.
fn of_limit(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error().map(nix::errno::Errno::from_raw)? {
        nix::errno::Errno::EMFILE => Some(
            "this process may have too few open files: see 'ulimit -n', and LimitNOFILE= of a unit",
        ),
        nix::errno::Errno::EAGAIN => Some(
            "no more processes may be started: see 'ulimit -u', TasksMax= of a unit, and pids.max of its cgroup",
        ),
        _ => None,
    }
}
