//! What the coordinator needs from whoever can start confined processes.

use std::os::fd::BorrowedFd;
use std::process::Child;

use crate::wire::Channel;

/// Why a worker could not be started.
pub type SpawnError = Box<dyn std::error::Error + Send + Sync>;

/// Starts the workers of a fetch, each confined before it reads a byte from outside.
pub trait Workers: Sync {
    /// A process that may use the network and nothing else; it runs [`crate::registry::serve`].
    ///
    /// # Errors
    /// When it cannot be started.
    fn registry(&self) -> Result<Worker, SpawnError>;

    /// A process that may write into `tree` and nothing else; it runs [`super::unpack_worker::serve`].
    ///
    /// # Errors
    /// When it cannot be started or confined.
    fn unpack(&self, tree: BorrowedFd<'_>) -> Result<Worker, SpawnError>;

    /// A process that may read trees of the store, of which `tree` is one, and nothing else; it runs
    /// [`crate::pack::serve`].
    ///
    /// # Errors
    /// When it cannot be started or confined.
    fn pack(&self, tree: BorrowedFd<'_>) -> Result<Worker, SpawnError>;

    /// A process that may write into `directory`, which is the user's, and nothing else; it runs
    /// [`crate::pack::serve_extract`].
    ///
    /// # Errors
    /// When it cannot be started or confined.
    fn extract(&self, directory: BorrowedFd<'_>) -> Result<Worker, SpawnError>;

    /// A process that may do nothing but read the descriptors it is given; it runs [`super::layout_worker::serve`].
    ///
    /// # Errors
    /// When it cannot be started.
    fn layout(&self) -> Result<Worker, SpawnError>;
}

/// A running worker. Dropped, it is killed and waited for: no worker outlives the step that needed it.
#[derive(Debug)]
pub struct Worker {
    /// The coordinator's end.
    pub channel: Channel,
    child: Child,
}

impl Worker {
    /// The worker behind `channel`.
    #[must_use]
    pub fn new(channel: Channel, child: Child) -> Self {
        Self { channel, child }
    }

    /// Its process id, valid as long as this value lives.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both fail only when it has ended and been waited for, which nobody else does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
