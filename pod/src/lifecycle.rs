//! The life of a pod: a directory that is renamed, and a lock on it. There is no other state.
//!
//! | directory | locked | not locked |
//! |---|---|---|
//! | `embryo` | being made | left by a crash: removed by `gc` |
//! | `prepare` | being prepared | left by a crash: moved to `garbage` by `gc` |
//! | `prepared` | being started | waits for `run-prepared`; moved to `garbage` by `gc` when it has waited too long |
//! | `run` | running | its keeper is gone: stage1 `gc` heals it, then it is `exited-garbage` |
//! | `exited-garbage` | being removed | ended; removed by `rm`, or by `gc` after the grace period |
//! | `garbage` | being removed | removed by `gc` |
//!
//! A lock is an exclusive `flock(2)` on the pod directory. The kernel drops it with the last descriptor.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::{DataDir, Error, PodDir, PodId};

/// The state of a pod, as far as its directory tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Being made.
    Embryo,
    /// Being prepared.
    Prepare,
    /// Complete, not yet started.
    Prepared,
    /// Started.
    Run,
    /// Ended.
    ExitedGarbage,
    /// To be removed.
    Garbage,
}

impl State {
    /// All states, in the order of a pod's life: who looks for a pod in this order cannot miss one that moves on meanwhile.
    pub const ALL: [Self; 6] = [
        Self::Embryo,
        Self::Prepare,
        Self::Prepared,
        Self::Run,
        Self::ExitedGarbage,
        Self::Garbage,
    ];

    /// The name of its directory below `pods/`.
    #[must_use]
    pub fn directory(self) -> &'static str {
        match self {
            Self::Embryo => "embryo",
            Self::Prepare => "prepare",
            Self::Prepared => "prepared",
            Self::Run => "run",
            Self::ExitedGarbage => "exited-garbage",
            Self::Garbage => "garbage",
        }
    }
}

/// A pod directory that was found; nothing is locked.
#[derive(Clone, Debug)]
pub struct Pod {
    /// The data directory it is in.
    pub data: DataDir,
    /// Its identity.
    pub id: PodId,
    /// The state that it was found in.
    pub state: State,
}

impl Pod {
    /// Makes a new pod in [`State::Embryo`], locked. The state directories are made if they are missing (mode 0700).
    ///
    /// # Errors
    /// [`Error::Link`], [`Error::Make`] or [`Error::Lock`].
    pub fn create(data: &DataDir, id: PodId) -> Result<Locked, Error> {
        let pod = Self {
            data: data.clone(),
            id,
            state: State::Embryo,
        };
        no_link(data.pods())?;
        no_link(data.pods_in(State::Run))?;
        let path = pod.path();
        if private_directory(&path).is_err() {
            // Embryo's comes last: where it is, the others are, also after a crash just here.
            for state in State::ALL.into_iter().rev() {
                let parent = data.pods_in(state);
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(&parent)
                    .map_err(|e| Error::Make(parent, e))?;
            }
            private_directory(&path).map_err(|e| Error::Make(path.clone(), e))?;
        }
        pod.try_lock()?
            .ok_or_else(|| Error::Lock(path, io::Error::from(io::ErrorKind::WouldBlock)))
    }

    /// All pods of a data directory, by state. A pod that moves on while the list is made appears once.
    ///
    /// # Errors
    /// [`Error::Link`] or [`Error::Directory`]. A missing data directory has no pods.
    pub fn list(data: &DataDir) -> Result<Vec<Self>, Error> {
        let mut pods: Vec<Self> = Vec::new();
        no_link(data.pods())?;
        for state in State::ALL {
            let directory = data.pods_in(state);
            no_link(directory.clone())?;
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::Directory(directory, e)),
            };
            for entry in entries {
                let entry = entry.map_err(|e| Error::Directory(directory.clone(), e))?;
                if let Some(id) = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| PodId::parse(name).ok())
                {
                    pods.retain(|pod| pod.id != id);
                    pods.push(Self {
                        data: data.clone(),
                        id,
                        state,
                    });
                }
            }
        }
        Ok(pods)
    }

    /// Finds one pod by its whole identity.
    #[must_use]
    pub fn find(data: &DataDir, id: &PodId) -> Option<Self> {
        let at = |state: State| data.pod(state, id).is_dir();
        let state = State::ALL.into_iter().find(|state| at(*state))?;
        Some(Self {
            data: data.clone(),
            id: id.clone(),
            state,
        })
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.data.pod(self.state, &self.id)
    }

    /// The paths below its directory.
    #[must_use]
    pub fn dir(&self) -> PodDir {
        PodDir::new(self.path())
    }

    /// Takes the pod's lock if it is free. `None`: somebody holds it, or the pod has moved to another state meanwhile.
    ///
    /// # Errors
    /// [`Error::Lock`] when the directory cannot be opened or locked for another reason.
    pub fn try_lock(&self) -> Result<Option<Locked>, Error> {
        let path = self.path();
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::Lock(path, e)),
        };
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(e)) => return Err(Error::Lock(path, e)),
        }
        let same = is_same(&lock, &path).map_err(|e| Error::Lock(path, e))?;
        Ok(same.then(|| Locked {
            pod: self.clone(),
            lock,
        }))
    }

    /// Whether somebody holds the pod's lock.
    ///
    /// # Errors
    /// As [`Pod::try_lock`].
    pub fn is_locked(&self) -> Result<bool, Error> {
        let path = self.path();
        let lock = match File::open(&path) {
            Ok(lock) => lock,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(Error::Lock(path, e)),
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(Error::Lock(path, e)),
        }
    }

    /// Waits, without polling, until nobody holds the pod's lock.
    ///
    /// # Errors
    /// As [`Pod::try_lock`]. A pod that is gone is not waited for.
    pub fn wait(&self) -> Result<(), Error> {
        let path = self.path();
        match File::open(&path) {
            Ok(lock) => lock.lock_shared().map_err(|e| Error::Lock(path, e)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::Lock(path, e)),
        }
    }
}

/// A pod whose lock is held by this process. Dropping it drops the lock, unless the descriptor was inherited.
#[derive(Debug)]
pub struct Locked {
    /// The pod.
    pub pod: Pod,
    /// The locked directory; its descriptor is handed to stage1 as [`crate::LOCK_FD_VARIABLE`].
    pub lock: File,
}

impl Locked {
    /// Moves the pod to another state by one `rename(2)`. The lock stays.
    ///
    /// # Errors
    /// [`Error::Move`].
    pub fn move_to(&mut self, state: State) -> Result<(), Error> {
        let (from, to) = (self.pod.path(), self.pod.data.pod(state, &self.pod.id));
        fs::rename(&from, &to).map_err(|e| Error::Move(from, to, e))?;
        self.pod.state = state;
        Ok(())
    }
}

/// stage1 finds the data directory from the pod's, by names: through a symbolic link it would find another one. That is
/// said before there is a pod that can neither be run nor removed.
fn no_link(path: PathBuf) -> Result<(), Error> {
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_symlink() => Err(Error::Link(path)),
        _ => Ok(()),
    }
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)
}

/// Whether `path` still names the directory that was opened: it may have moved between open and lock.
fn is_same(opened: &File, path: &Path) -> io::Result<bool> {
    let ours = opened.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
