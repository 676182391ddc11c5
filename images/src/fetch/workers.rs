//! What the coordinator needs from whoever can start confined processes.

mod lost;

use std::fmt;
use std::os::fd::BorrowedFd;
use std::process::Child;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::wire::{Channel, WireError};
pub use lost::{End, Lost};

/// How long the end of a worker is waited for that has closed its socket: it closes with the process.
const PATIENCE: Duration = Duration::from_secs(2);

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
    child: Mutex<Child>,
    id: u32,
}

impl Worker {
    /// The worker behind `channel`.
    #[must_use]
    pub fn new(channel: Channel, child: Child) -> Self {
        let id = child.id();
        let child = Mutex::new(child);
        Self { channel, child, id }
    }

    /// Its process id, valid as long as this value lives.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Why it does not answer as it should: `error`, or how the process ended.
    #[must_use]
    pub fn lost(&self, name: &'static str, error: WireError) -> Lost {
        let closed = matches!(error, WireError::Closed);
        let ended = closed.then(|| self.ended()).flatten();
        Lost { name, ended, error }
    }

    /// How it ended; nothing when it has only closed its socket.
    #[must_use]
    pub fn ended(&self) -> Option<End> {
        let until = Instant::now() + PATIENCE;
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(End::new(status, child.stderr.take())),
                Ok(None) if Instant::now() < until => sleep(Duration::from_millis(1)),
                _ => return None,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Both fail only when it has ended and been waited for.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Talks to a registry.
    Net,
    /// Reads an image layout or its archive.
    Layout,
    /// Unpacks one layer.
    Unpack,
    /// Reads layers and makes an archive of them.
    Pack,
    /// Makes the files of such an archive.
    Extract,
    /// Removes everything in one directory.
    Empty,
}

/// All of them, by the names with which workers are started.
const STEPS: [(&str, Step); 6] = [
    ("net", Step::Net),
    ("layout", Step::Layout),
    ("unpack", Step::Unpack),
    ("pack", Step::Pack),
    ("extract", Step::Extract),
    ("empty", Step::Empty),
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = STEPS.iter().find(|(_, step)| step == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

impl FromStr for Step {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let step = STEPS.iter().find(|(known, _)| *known == name);
        step.map(|(_, step)| *step).ok_or(())
    }
}

/// To a worker that is to see one directory only, in this order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Order {
    /// Enter the directory that comes with it.
    Enter,
    /// The id map is written.
    Go {
        /// Supplementary groups can be dropped: not with a single id, where the kernel forbids it.
        drop_groups: bool,
    },
}

/// From that worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum State {
    /// It has its namespaces and waits for its id map.
    Isolated,
    /// It sees nothing but the directory.
    Ready,
    /// It could not.
    Failed(String),
}
