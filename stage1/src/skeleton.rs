//! The lowest layer of every app: the places on which stage1 mounts, empty. An image that has them hides them.
//!
//! Without it they would be made in the pod's own layer at every start, and each costs overlayfs several writes to the disk.
//!
//! ```text
//! <data>/skeleton/   proc/ sys/ dev/ etc/hostname etc/hosts etc/resolv.conf
//! ```
//!
//! **Runs as** the keeper. **Needs** the data directory. **Leaves** the skeleton, for all pods. **Undone by** nothing.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};

use pod::{DataDir, IdMapChoice, Scratch};

use crate::error::Error;

/// Its path, from a pod directory.
pub(crate) const PATH: &str = "../../../skeleton";

const DIRECTORIES: [&str; 4] = ["proc", "sys", "dev", "etc"];
const FILES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];

/// Makes the skeleton if it is not there, complete or not at all.
pub(crate) fn ensure(data: &DataDir, choice: &IdMapChoice) -> Result<(), Error> {
    if Path::new(PATH).exists() {
        return Ok(());
    }
    let path = data.0.join("skeleton");
    let owner = match choice {
        IdMapChoice::Range { store_base, .. } => Some(*store_base),
        IdMapChoice::Subordinate { .. } | IdMapChoice::Single { .. } => None,
    };
    let make = |scratch: Scratch| {
        let temporary = scratch.path().join("skeleton");
        build(&temporary, owner)?;
        match fs::rename(&temporary, &path) {
            // Another pod was faster.
            Err(_) if path.exists() => Ok(()),
            other => other,
        }
    };
    let made = Scratch::new(data).and_then(make);
    made.map_err(|e| Error::PodFile(path, e))
}

fn build(path: &Path, owner: Option<u32>) -> io::Result<()> {
    let give = |path: PathBuf| lchown(path, owner, owner);
    let directory = |path: PathBuf| {
        DirBuilder::new().mode(0o755).create(&path)?;
        give(path)
    };
    directory(path.to_owned())?;
    DIRECTORIES
        .iter()
        .try_for_each(|name| directory(path.join(name)))?;
    FILES.iter().try_for_each(|name| {
        let path = path.join(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)?;
        give(path)
    })
}
