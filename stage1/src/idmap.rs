//! User and group ids: a range of one's own for root, the map of the pod, the map of mounts.
//!
//! **Runs as** the keeper. **Needs** the manifest's choice. **Leaves** a [`range`](crate::range) and the maps of the
//! inside. **Undone by** the end of the keeper.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use pod::{Extent, IdMap, IdMapChoice, PodId};

use crate::error::Error;
use crate::plan::MapWriter;
use crate::range;
use crate::sys::brief::Brief;

/// The id map of a pod, and the lock that keeps others from its range.
#[derive(Debug)]
pub(crate) struct Allocated {
    /// The map.
    pub(crate) map: IdMap,
    /// Held by the keeper for life.
    _lock: Option<File>,
}

/// Turns the manifest's choice into a map; for a range, takes the first free one from a place that the pod's id gives.
pub(crate) fn allocate(choice: &IdMapChoice, id: &PodId) -> Result<Allocated, Error> {
    match choice {
        IdMapChoice::Range {
            first, last, count, ..
        } => {
            let (base, lock) = range::take(*first, *last, *count, id)?;
            let map = IdMap::range(base, *count);
            Ok(Allocated {
                map,
                _lock: Some(lock),
            })
        }
        IdMapChoice::Subordinate { map, .. } => Ok(Allocated {
            map: map.clone(),
            _lock: None,
        }),
        IdMapChoice::Single { uid, gid } => Ok(Allocated {
            map: single(*uid, *gid),
            _lock: None,
        }),
    }
}

/// The map of an ordinary user without `/etc/subuid`.
pub(crate) fn single(uid: u32, gid: u32) -> IdMap {
    let one = |host| {
        vec![Extent {
            inside: 0,
            host,
            count: 1,
        }]
    };
    IdMap {
        uids: one(uid),
        gids: one(gid),
    }
}

/// Writes the maps of a new user namespace, whose first process is `pid`.
pub(crate) fn write(writer: &MapWriter, map: &IdMap, pid: u32) -> Result<(), Error> {
    match writer {
        MapWriter::Programs { users, groups } => {
            let uids = start(users, pid, &map.uids)?;
            let gids = start(groups, pid, &map.gids)?;
            uids.wait().and(gids.wait())
        }
        MapWriter::Keeper => write_files(map, pid),
        MapWriter::KeeperWithoutGroups => {
            write_file(pid, "setgroups", "deny")?;
            write_files(map, pid)
        }
    }
}

fn write_files(map: &IdMap, pid: u32) -> Result<(), Error> {
    write_file(pid, "uid_map", &IdMap::lines(&map.uids))?;
    write_file(pid, "gid_map", &IdMap::lines(&map.gids))
}

fn write_file(pid: u32, name: &'static str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{name}");
    fs::write(&path, text).map_err(|e| Error::WriteIdMap(path, e))
}

/// A running `newuidmap` or `newgidmap`.
struct Mapper {
    program: String,
    process: std::process::Child,
}

fn start(program: &str, pid: u32, extents: &[Extent]) -> Result<Mapper, Error> {
    let numbers = extents.iter().flat_map(|e| [e.inside, e.host, e.count]);
    let process = Command::new(program)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| Error::Mapper(program.to_owned(), e))?;
    Ok(Mapper {
        program: program.to_owned(),
        process,
    })
}

impl Mapper {
    fn wait(self) -> Result<(), Error> {
        let output = self
            .process
            .wait_with_output()
            .map_err(|e| Error::Mapper(self.program.clone(), e))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::MapperSaid(
            self.program,
            said.trim_end().escape_debug().to_string(),
        ))
    }
}

/// A user namespace that exists only to be the id map of mounts.
#[derive(Debug)]
pub(crate) struct MountUsers {
    /// The namespace.
    pub(crate) namespace: OwnedFd,
    /// The process that it was made with. It ended at once, and is reaped as late as possible: no need to wait for that.
    _made_with: Brief,
}

/// Makes the namespace: ids from `on_disk` on are seen as ids from `host` on.
pub(crate) fn mount_users(on_disk: u32, host: u32, count: u32) -> Result<MountUsers, Error> {
    let made_with = Brief::with_user_namespace().map_err(Error::MountUsers)?;
    let extent = vec![Extent {
        inside: on_disk,
        host,
        count,
    }];
    let map = IdMap {
        uids: extent.clone(),
        gids: extent,
    };
    write_files(&map, made_with.pid())?;
    let path = format!("/proc/{}/ns/user", made_with.pid());
    let namespace = File::open(path).map_err(Error::MountUsers)?;
    Ok(MountUsers {
        namespace: namespace.into(),
        _made_with: made_with,
    })
}
