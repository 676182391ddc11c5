//! The unpack worker's way into namespaces of its own, where one layer's directory is all there is.
//!
//! ```text
//! coordinator                        worker
//! tree's descriptor          ──▶     changes into it, makes its namespaces
//!                            ◀──     "isolated"
//! writes its id map, "go"    ──▶     becomes user 0 there, makes the directory its root
//!                            ◀──     "ready"
//! ```
//!
//! **Runs as** the caller. **Needs** user namespaces. **Leaves** a process without rights outside its user namespace and
//! without a path to anything but the layer. **Undone by** its end.

use std::fs::File;
use std::os::fd::OwnedFd;

use images::fetch::workers::{Order, State};
use images::wire::Channel;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, fchdir, pivot_root, setgroups, setresgid, setresuid};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
    open_tree, unmount,
};

use crate::error::Error;

/// Enters it. Returns the tree, now the root directory.
pub(crate) fn enter(channel: &Channel) -> Result<OwnedFd, Error> {
    let done = follow(channel);
    let state = match &done {
        Ok(_) => State::Ready,
        Err(error) => State::Failed(images::wire::error_line(error)),
    };
    channel.send(&state, &[])?;
    done
}

fn follow(channel: &Channel) -> Result<OwnedFd, Error> {
    let (Order::Enter, descriptors) = channel.receive()? else {
        return Err(Error::NoTree);
    };
    let tree = descriptors.into_iter().next().ok_or(Error::NoTree)?;
    // The working directory moves along into the new mount namespace; a descriptor would stay in the old one.
    fchdir(&tree).map_err(root_failed("change into it"))?;
    drop(tree);
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWCGROUP,
    )
    .map_err(Error::Unshare)?;
    channel.send(&State::Isolated, &[])?;
    let (Order::Go { drop_groups }, _) = channel.receive()? else {
        return Err(Error::NoTree);
    };
    become_root(drop_groups).map_err(Error::SetIds)?;
    switch_root()
}

fn become_root(drop_groups: bool) -> nix::Result<()> {
    if drop_groups {
        setgroups(&[])?;
    }
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

/// Makes the working directory the root and lets go of everything else.
fn switch_root() -> Result<OwnedFd, Error> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .map_err(root_failed("cut mount propagation"))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    let clone = open_tree(rustix::fs::CWD, "", flags).map_err(root_failed("clone its mount"))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&clone, "", rustix::fs::CWD, "", flags).map_err(root_failed("mount it"))?;
    fchdir(&clone).map_err(root_failed("change into its mount"))?;
    pivot_root(".", ".").map_err(root_failed("pivot"))?;
    unmount(".", UnmountFlags::DETACH).map_err(root_failed("detach the old root"))?;
    nix::unistd::chdir("/").map_err(root_failed("change to the new root"))?;
    File::open("/")
        .map(OwnedFd::from)
        .map_err(root_failed("open the new root"))
}

fn root_failed<E: Into<std::io::Error>>(step: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Root(step, error.into())
}
