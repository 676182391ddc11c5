//! Removing a pod's directory: an ordinary user may not remove everything in it, but the pod's own root may.
//!
//! **Runs as** the caller, or its child that is root of a user namespace with the pod's id map. **Needs** the pod's lock.
//! **Leaves** nothing. **Undone by** nothing.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pod::{IdMapChoice, PodManifest};

use crate::channel;
use crate::error::{self, Error};
use crate::idmap;
use crate::inside;
use crate::plan::MapWriter;
use crate::sys::{self, Cloned};
use crate::wait::{self, Ended};

/// Removes the pod directory at `path`. What apps wrote goes first: whoever has to go on after a crash needs the manifest.
pub(crate) fn pod(path: &Path, manifest: &PodManifest) -> Result<(), Error> {
    open_work(path, manifest);
    match written(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => as_pods_root(path, manifest)?,
        other => other.map_err(|e| Error::Remove(path.to_owned(), e))?,
    }
    pod::remove_tree(path).map_err(|e| Error::Remove(path.to_owned(), e))
}

/// Removes what apps have written.
fn written(path: &Path) -> io::Result<()> {
    ["rootfs", "volumes"]
        .iter()
        .try_for_each(|part| pod::remove_tree(&path.join(part)))
}

/// overlayfs makes `work/work` without any rights; it belongs to the caller, so that is easily undone.
fn open_work(path: &Path, manifest: &PodManifest) {
    for app in &manifest.apps {
        let work = path
            .join("rootfs")
            .join(app.name.as_str())
            .join("work/work");
        let _ = fs::set_permissions(work, Permissions::from_mode(0o700));
    }
}

/// Files of the pod's other ids, and directories without rights.
fn as_pods_root(path: &Path, manifest: &PodManifest) -> Result<(), Error> {
    let map = match &manifest.id_map {
        IdMapChoice::Range { .. } => {
            let denied = io::Error::from(io::ErrorKind::PermissionDenied);
            return Err(Error::Remove(path.to_owned(), denied));
        }
        IdMapChoice::Subordinate { map, .. } => map.clone(),
        IdMapChoice::Single { uid, gid } => idmap::single(*uid, *gid),
    };
    let (ours, theirs) = channel::pair(3)?;
    let child = match sys::clone3(libc::CLONE_NEWUSER, None).map_err(Error::Clone)? {
        Cloned::Parent(child) => child,
        Cloned::Child => {
            drop(ours);
            let removed = theirs
                .receive_go_on()
                .and_then(|()| inside::become_root(&map))
                .and_then(|()| written(path).map_err(|e| Error::Remove(path.to_owned(), e)));
            if let Err(error) = removed {
                theirs.send_failure(&error::joined(&error));
            }
            sys::exit_now(0)
        }
    };
    drop(theirs);
    let writer = MapWriter::of(&manifest.id_map);
    let mapped = idmap::write(&writer, &map, child.pid).and_then(|()| ours.send_go_on());
    let removed = mapped.and_then(|()| ours.receive_all().map(drop));
    drop(ours);
    match wait::reap(&child)? {
        Ended::Exited(0) => removed,
        Ended::Exited(_) | Ended::Killed(_) => removed.and(Err(Error::RemoverDied)),
    }
}
