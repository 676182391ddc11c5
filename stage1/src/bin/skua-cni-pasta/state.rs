//! Where pasta keeps the pid of its process for a pod; the path is also what marks that process.
//!
//! ```text
//! /run/user/<uid>/skua-cni-pasta/<container>-<interface>.pid    if there is such a directory for the user
//! /tmp/skua-cni-pasta-<uid>/…                                    otherwise; /run/skua-cni-pasta for root
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::error::Error;
use crate::inputs::Inputs;

/// The pid file of this pod and interface. With its directory made: nobody else may write there.
pub(crate) fn pid_file(inputs: &Inputs) -> Result<PathBuf, Error> {
    let directory = directory();
    let failed = |e| Error::Directory(directory.clone(), e);
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    if !is_ours(&directory).map_err(failed)? {
        return Err(failed(io::Error::from(io::ErrorKind::PermissionDenied)));
    }
    Ok(directory.join(format!("{}-{}.pid", inputs.container, inputs.interface)))
}

fn directory() -> PathBuf {
    let uid = geteuid();
    let own = PathBuf::from(format!("/run/user/{uid}"));
    if uid.is_root() {
        PathBuf::from("/run/skua-cni-pasta")
    } else if is_ours(&own).unwrap_or_default() {
        own.join("skua-cni-pasta")
    } else {
        PathBuf::from(format!("/tmp/skua-cni-pasta-{uid}"))
    }
}

/// A directory, not a link, of this user, that others cannot write to.
fn is_ours(path: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    Ok(found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0)
}
