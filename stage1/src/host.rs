//! Facts about the host and about where this pod is; nothing is decided or changed here.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use pod::{DataDir, PodId, small_file};

use crate::error::Error;

/// The stage2 binary's name, beside stage1's.
const STAGE2: &str = "skua-stage2";

/// More of `/etc/resolv.conf` or `/etc/hosts` than this is not given to a pod.
const MAX_HOST_FILE: u64 = 1 << 20;

/// What stage1 knows about the host.
#[derive(Debug)]
pub(crate) struct Host {
    /// The data directory that the pod is in.
    pub(crate) data: DataDir,
    /// The stage2 binary.
    pub(crate) stage2: PathBuf,
}

impl Host {
    /// Looks. The working directory is `<data>/pods/<state>/<id>`.
    pub(crate) fn probe() -> Result<Self, Error> {
        let here = std::env::current_dir().map_err(Error::WorkingDirectory)?;
        let data = here.ancestors().nth(3).unwrap_or(&here).to_owned();
        let own = fs::read_link("/proc/self/exe").map_err(Error::Stage2)?;
        Ok(Self {
            data: DataDir(data),
            stage2: own.with_file_name(STAGE2),
        })
    }
}

/// The pod whose directory, in whatever state, is the working directory.
pub(crate) fn pod_id() -> Result<PodId, Error> {
    let here = std::env::current_dir().map_err(Error::WorkingDirectory)?;
    let name = here.file_name().unwrap_or_default();
    Ok(PodId::parse(&name.to_string_lossy())?)
}

/// Reads a file of `/proc` or of a cgroup, which says of itself that it is empty. It is not asked, and is not read in pieces
/// that begin with 32 bytes.
pub(crate) fn read_virtual(path: impl AsRef<Path>) -> std::io::Result<String> {
    let mut text = String::with_capacity(4096);
    // Unlike that of a file, the reader of a part of it knows no size to ask for.
    fs::File::open(path)?
        .take(u64::MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// This boot of the host.
pub(crate) fn boot_id() -> Result<String, Error> {
    let text = read_virtual("/proc/sys/kernel/random/boot_id").map_err(Error::BootId)?;
    Ok(text.trim_end().to_owned())
}

/// The host's file of this name below `/etc`; empty if it has none, cut off if it is absurdly long.
pub(crate) fn etc(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let file = small_file::open(&Path::new("/etc").join(name));
    let _ = file.and_then(|file| file.take(MAX_HOST_FILE).read_to_end(&mut bytes));
    bytes
}

/// Field 22 of `/proc/<pid>/stat`: when a process was started, in ticks since boot.
pub(crate) fn start_time(pid: u32) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/stat");
    let stat = read_virtual(&path).map_err(|e| Error::Process(pid, e))?;
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = after_name.split_ascii_whitespace().nth(22 - 3);
    field
        .and_then(|ticks| ticks.parse().ok())
        .ok_or_else(|| Error::Process(pid, std::io::Error::from(std::io::ErrorKind::InvalidData)))
}
