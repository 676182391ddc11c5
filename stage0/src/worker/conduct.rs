//! Brings a worker into namespaces of its own, where one directory is all there is: the coordinator's side. The worker's is
//! `isolate.rs` of `skua-worker`.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::process::Command;

use images::fetch::workers::{Order, State, Worker};
use pod::{Extent, IdMap, IdMapChoice};

use super::WorkerError;

/// Brings `worker` into `tree`.
pub(super) fn conduct(
    worker: &Worker,
    tree: BorrowedFd<'_>,
    choice: &IdMapChoice,
) -> Result<(), WorkerError> {
    send(worker, &Order::Enter, &[tree])?;
    expect(worker, &State::Isolated)?;
    write_maps(worker.id(), choice)?;
    let drop_groups = !matches!(choice, IdMapChoice::Single { .. });
    send(worker, &Order::Go { drop_groups }, &[])?;
    expect(worker, &State::Ready)
}

fn send(worker: &Worker, order: &Order, with: &[BorrowedFd<'_>]) -> Result<(), WorkerError> {
    let sent = worker.channel.send(order, with);
    sent.map_err(|error| WorkerError::lost(worker, error))
}

fn expect(worker: &Worker, wanted: &State) -> Result<(), WorkerError> {
    let received = worker.channel.receive();
    let (state, _): (State, _) = received.map_err(|error| WorkerError::lost(worker, error))?;
    match state {
        State::Failed(message) => Err(WorkerError::Isolate(message)),
        other if std::mem::discriminant(&other) == std::mem::discriminant(wanted) => Ok(()),
        other => Err(WorkerError::Isolate(format!("{other:?} is out of turn"))),
    }
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
