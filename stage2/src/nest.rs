//! A user namespace of its own for an app that is not user 0 of a pod with one id only.
//!
//! **Runs as** the pod's user 0: the caller. **Needs** everything that wants power over the pod's namespaces to be done.
//! **Leaves** a process whose user and group ids are the app's inside, and the pod's 0 outside; all capabilities over
//! nothing but the new namespace. **Undone by** the kernel.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use pod::IdMap;

use crate::error::{self, Error};
use crate::root::open_in;
use crate::user::{self, Identity};

/// Does this identity need a namespace of its own?
pub(crate) fn needed(map: &IdMap, identity: &Identity) -> bool {
    user::single(map) && (identity.uid, identity.gid) != (0, 0)
}

/// Makes the namespace, if one is needed. `proc` is the app's verified `/proc`.
pub(crate) fn enter(proc: &OwnedFd, map: &IdMap, identity: &Identity) -> Result<(), Error> {
    if !needed(map, identity) {
        return Ok(());
    }
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|e| Error::Nest("make the namespace", e))?;
    write(proc, "self/setgroups", "deny")?;
    write(proc, "self/uid_map", &format!("{} 0 1", identity.uid))?;
    write(proc, "self/gid_map", &format!("{} 0 1", identity.gid))
}

fn write(proc: &OwnedFd, file: &'static str, text: &str) -> Result<(), Error> {
    let failed = |e| Error::Nest(file, e);
    let opened = open_in(proc, file, OFlag::O_WRONLY).map_err(failed)?;
    File::from(opened)
        .write_all(text.as_bytes())
        .map_err(|e| failed(error::errno(&e)))
}
