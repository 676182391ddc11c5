//! Why a worker could not be confined, or has failed.

use std::io;

use images::wire::WireError;
use nix::errno::Errno;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The arguments are not ours.
    #[error("the argument is not the name of a step; skua starts this program itself")]
    Usage,
    /// No socket between the two.
    #[error("cannot make the worker's socket")]
    Socket(#[source] io::Error),
    /// What it inherited cannot be closed.
    #[error("the worker cannot close what it inherited")]
    Descriptors(#[source] io::Error),
    /// The other side does not follow the protocol, or has gone.
    #[error("cannot talk to the other side")]
    Wire(#[from] WireError),
    /// The tree to fill did not come.
    #[error("the worker got no directory")]
    NoTree,
    /// No user, mount, network, IPC or UTS namespace.
    #[error("cannot make namespaces of its own")]
    Unshare(#[source] Errno),
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
