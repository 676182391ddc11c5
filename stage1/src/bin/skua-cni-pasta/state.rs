//! Where pasta keeps the pid of its process for a pod; the path is also what marks that process.
//!
//! ```text
//! /run/skua-cni-pasta/<container>-<interface>.pid    for root
//! /run/user/<uid>/skua-cni-pasta/…                   if there is such a directory for the user
//! /tmp/skua-cni-pasta-<uid>/…                        otherwise
//! /tmp/skua-cni-pasta-<uid>-<container>/…            where somebody else has taken that name
//! ```

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use crate::error::Error;
use crate::inputs::Inputs;

/// A new pid file for this pod and interface, in the first directory where nobody else may write. It is made for that.
pub(crate) fn new_pid_file(inputs: &Inputs) -> Result<PathBuf, Error> {
    let mut refused = Error::Gone;
    for path in pid_files(inputs) {
        let directory = path.parent().unwrap_or(&path);
        match make(directory) {
            Ok(()) => return Ok(path),
            Err(e) => refused = Error::Directory(directory.to_owned(), e),
        }
    }
    Err(refused)
}

/// Where the pid file may be. Which it is follows from who is logged in and what others have made when pasta is started, and
/// that may have changed since.
pub(crate) fn pid_files(inputs: &Inputs) -> Vec<PathBuf> {
    let Inputs {
        container,
        interface,
        ..
    } = inputs;
    let uid = geteuid();
    let directories = match uid.is_root() {
        true => vec!["/run/skua-cni-pasta".to_owned()],
        false => vec![
            format!("/run/user/{uid}/skua-cni-pasta"),
            format!("/tmp/skua-cni-pasta-{uid}"),
            // Not known to others before it is made.
            format!("/tmp/skua-cni-pasta-{uid}-{container}"),
        ],
    };
    let name = format!("{container}-{interface}.pid");
    let file = |directory: &String| Path::new(directory).join(&name);
    directories.iter().map(file).collect()
}

/// Removes a pid file, and its directory if that was for this pod alone. What others have is left to them.
pub(crate) fn remove(pid_file: &Path, inputs: &Inputs) -> io::Result<()> {
    let directory = pid_file.parent().unwrap_or(pid_file);
    if !is_ours(directory).unwrap_or_default() {
        return Ok(());
    }
    match fs::remove_file(pid_file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    match directory.to_string_lossy().ends_with(&inputs.container) {
        true => fs::remove_dir(directory),
        false => Ok(()),
    }
}

fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    match is_ours(directory)? {
        true => Ok(()),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// A directory, not a link, of this user, that others cannot write to.
fn is_ours(path: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    Ok(found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0)
}
