//! Why a worker could not be started or confined.

use std::io;
use std::path::PathBuf;

use images::wire::WireError;
use nix::errno::Errno;

/// A step that failed, in the coordinator or in the worker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    /// No socket between the two.
    #[error("cannot make the worker's socket")]
    Socket(#[source] io::Error),
    /// Our own program cannot be executed again.
    #[error("cannot start a worker")]
    Start(#[source] io::Error),
    /// What it inherited cannot be closed.
    #[error("the worker cannot close what it inherited")]
    Descriptors(#[source] io::Error),
    /// The other side does not follow the protocol, or has gone.
    #[error("cannot talk to the other side")]
    Wire(#[from] WireError),
    /// The directory to empty.
    #[error("cannot open the directory")]
    Directory(#[source] io::Error),
    /// Something in it cannot be removed.
    #[error("cannot remove what is in it: {0}")]
    Empty(String),
    /// The tree to fill did not come.
    #[error("the worker got no directory")]
    NoTree,
    /// The worker could not isolate itself.
    #[error("the worker cannot isolate itself: {0}")]
    Isolate(String),
    /// No user, mount, network, IPC or UTS namespace.
    #[error("cannot make namespaces of its own")]
    Unshare(#[source] Errno),
    /// The id map was not taken by the kernel.
    #[error("cannot write {0}")]
    WriteMap(PathBuf, #[source] io::Error),
    /// `newuidmap` or `newgidmap` failed.
    #[error("cannot map subordinate ids with {0}{1}")]
    MapProgram(String, String),
    /// It cannot be executed.
    #[error("cannot run {0}")]
    RunMapProgram(String, #[source] io::Error),
    /// The worker cannot become root of its namespace.
    #[error("cannot become user 0 of its namespace")]
    SetIds(#[source] Errno),
    /// The tree cannot be made the root.
    #[error("cannot make the layer's directory its root: {0}")]
    Root(&'static str, #[source] io::Error),
    /// A limit of resources.
    #[error("cannot set resource limit {0}")]
    Limit(&'static str, #[source] Errno),
    /// A `prctl(2)`.
    #[error("cannot set {0}")]
    Process(&'static str, #[source] io::Error),
    /// The capability sets.
    #[error("cannot drop capabilities")]
    Capabilities(#[source] io::Error),
    /// Landlock.
    #[error("cannot restrict itself with Landlock")]
    Landlock(#[source] landlock::RulesetError),
    /// The filter does not compile.
    #[error("cannot compile the system call filter")]
    Filter(#[source] seccompiler::BackendError),
    /// The filter is not taken by the kernel.
    #[error("cannot install the system call filter")]
    Seccomp(#[source] seccompiler::Error),
}
