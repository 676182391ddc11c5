//! The credentials of an app: a file system that stage1 has filled becomes the app's user's own, and read-only.
//!
//! **Runs as** the pod's user 0, in the app's process or in what enters it. **Needs** the app's root entered and its user known.
//! **Leaves** files that this user alone can read and nobody can change. **Undone by** nothing: exec follows.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::fstatat;
use nix::sys::statfs::{FsType, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{Gid, Uid, fchownat};
use pod::{AppFile, CREDENTIALS_PATH};

use crate::error::Error;
use crate::root::Root;
use crate::user::{self, Identity};
use crate::{sys, verify};

/// `RAMFS_MAGIC` of `linux/magic.h`: what is in it is not swapped out.
const RAMFS: FsType = FsType(0x8584_58f6);

/// Gives them to the user. What enters an app finds that done, or does it again in its own mount namespace: with the same outcome.
pub(crate) fn give(app: &AppFile, root: &Root, user: &Identity) -> Result<(), Error> {
    if app.credentials.is_empty() {
        return Ok(());
    }
    let directory = root
        .open(CREDENTIALS_PATH, OFlag::O_PATH | OFlag::O_DIRECTORY)
        .map_err(Error::GiveCredentials)?;
    let found = fstatfs(&directory).map_err(Error::GiveCredentials)?;
    if found.filesystem_type() != RAMFS {
        return Err(Error::NoCredentials);
    }
    // A map of one id has no other owner: the user will be called 0 outside its own namespace.
    let owner = match user::single(&app.id_map) {
        true => (0, 0),
        false => (user.uid, user.gid),
    };
    if !flags(&directory)?.contains(FsFlags::ST_RDONLY) {
        own(app, &directory, owner).map_err(Error::GiveCredentials)?;
    }
    read_back(app, &directory, owner)
}

fn flags(directory: &OwnedFd) -> Result<FsFlags, Error> {
    let found = fstatvfs(directory).map_err(Error::GiveCredentials)?;
    Ok(found.flags())
}

/// The directory itself, and all that must be in it.
fn names(app: &AppFile) -> impl Iterator<Item = &str> {
    let names = app.credentials.iter().map(|name| name.as_str());
    names.chain([""])
}

fn own(app: &AppFile, directory: &OwnedFd, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let how = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
    names(app).try_for_each(|name| fchownat(directory, name, uid, gid, how))?;
    sys::make_read_only(directory)
}

fn read_back(app: &AppFile, directory: &OwnedFd, (uid, gid): (u32, u32)) -> Result<(), Error> {
    let planned = FsFlags::ST_RDONLY | FsFlags::ST_NOSUID | FsFlags::ST_NODEV | FsFlags::ST_NOEXEC;
    let found = flags(directory)? & planned;
    verify::compare("the mount of its credentials", planned, found)?;
    let how = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
    for name in names(app) {
        let found = fstatat(directory, name, how).map_err(Error::GiveCredentials)?;
        let rights = found.st_mode & 0o277;
        let found = (found.st_uid, found.st_gid, rights);
        verify::compare("the owner of its credentials", (uid, gid, 0), found)?;
    }
    Ok(())
}
