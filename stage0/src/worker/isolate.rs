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
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Command;

use images::fetch::workers::Worker;
use images::wire::Channel;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, fchdir, pivot_root, setgroups, setresgid, setresuid};
use pod::{Extent, IdMap, IdMapChoice};
use rustix::mount::{
    MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount,
    open_tree, unmount,
};
use serde::{Deserialize, Serialize};

use super::WorkerError;

/// From the coordinator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Order {
    /// Enter the directory that comes with it.
    Enter,
    /// The id map is written.
    Go {
        /// Supplementary groups can be dropped: not with a single id, where the kernel forbids it.
        drop_groups: bool,
    },
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum State {
    /// It has its namespaces and waits for its id map.
    Isolated,
    /// It sees nothing but the directory.
    Ready,
    /// It could not.
    Failed(String),
}

/// The coordinator's side: brings `worker` into `tree`.
pub(super) fn conduct(
    worker: &Worker,
    tree: BorrowedFd<'_>,
    choice: &IdMapChoice,
) -> Result<(), WorkerError> {
    worker.channel.send(&Order::Enter, &[tree])?;
    expect(worker, &State::Isolated)?;
    write_maps(worker.id(), choice)?;
    let drop_groups = !matches!(choice, IdMapChoice::Single { .. });
    worker.channel.send(&Order::Go { drop_groups }, &[])?;
    expect(worker, &State::Ready)
}

fn expect(worker: &Worker, wanted: &State) -> Result<(), WorkerError> {
    let (state, _): (State, _) = worker.channel.receive()?;
    match state {
        State::Failed(message) => Err(WorkerError::Isolate(message)),
        other if std::mem::discriminant(&other) == std::mem::discriminant(wanted) => Ok(()),
        other => Err(WorkerError::Isolate(format!("{other:?} is out of turn"))),
    }
}

/// The worker's side. Returns the tree, now the root directory.
pub(super) fn enter(channel: &Channel) -> Result<OwnedFd, WorkerError> {
    let done = follow(channel);
    let state = match &done {
        Ok(_) => State::Ready,
        Err(error) => State::Failed(images::wire::error_line(error)),
    };
    channel.send(&state, &[])?;
    done
}

fn follow(channel: &Channel) -> Result<OwnedFd, WorkerError> {
    let (Order::Enter, descriptors) = channel.receive()? else {
        return Err(WorkerError::NoTree);
    };
    let tree = descriptors.into_iter().next().ok_or(WorkerError::NoTree)?;
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
    .map_err(WorkerError::Unshare)?;
    channel.send(&State::Isolated, &[])?;
    let (Order::Go { drop_groups }, _) = channel.receive()? else {
        return Err(WorkerError::NoTree);
    };
    become_root(drop_groups).map_err(WorkerError::SetIds)?;
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
fn switch_root() -> Result<OwnedFd, WorkerError> {
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

fn root_failed<E: Into<std::io::Error>>(step: &'static str) -> impl FnOnce(E) -> WorkerError {
    move |error| WorkerError::Root(step, error.into())
}

/// Writes the id map of process `pid`, which is in a user namespace without one.
fn write_maps(pid: u32, choice: &IdMapChoice) -> Result<(), WorkerError> {
    match choice {
        IdMapChoice::Range {
            count, store_base, ..
        } => write_range(pid, &IdMap::range(*store_base, *count)),
        IdMapChoice::Subordinate {
            map,
            newuidmap,
            newgidmap,
        } => {
            run_mapper(newuidmap, pid, &map.uids)?;
            run_mapper(newgidmap, pid, &map.gids)
        }
        IdMapChoice::Single { uid, gid } => {
            write(pid, "setgroups", "deny")?;
            write(pid, "uid_map", &format!("0 {uid} 1"))?;
            write(pid, "gid_map", &format!("0 {gid} 1"))
        }
    }
}

fn write_range(pid: u32, map: &IdMap) -> Result<(), WorkerError> {
    write(pid, "uid_map", &IdMap::lines(&map.uids))?;
    write(pid, "gid_map", &IdMap::lines(&map.gids))
}

fn write(pid: u32, file: &str, text: &str) -> Result<(), WorkerError> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    std::fs::write(&path, text).map_err(|error| WorkerError::WriteMap(path, error))
}

/// `newuidmap(1)`: it checks `/etc/subuid` itself and writes what it allows.
fn run_mapper(program: &str, pid: u32, extents: &[Extent]) -> Result<(), WorkerError> {
    let mut command = Command::new(program);
    command.env_clear().arg(pid.to_string());
    for extent in extents {
        command.args([extent.inside, extent.host, extent.count].map(|id| id.to_string()));
    }
    let output = command
        .output()
        .map_err(|error| WorkerError::RunMapProgram(program.to_owned(), error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = match said.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    };
    Err(WorkerError::MapProgram(program.to_owned(), said))
}
