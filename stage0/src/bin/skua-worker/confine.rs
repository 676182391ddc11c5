//! What each worker gives up, in order, before it reads the first byte from outside.
//!
//! **Runs as** the worker, alone in its process (no thread yet). **Needs** no privilege. **Leaves** a process that can do its
//! step and nothing else. **Undone by** nothing: that is the point.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::close;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::Error;
use crate::seccomp;

/// The newest rules that this program knows; an older kernel enforces those that it knows.
const LANDLOCK: ABI = ABI::V6;

/// What a TLS client and a resolver read.
const READABLE: &[&str] = &[
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
];

/// Closes what came along from the coordinator's caller, who need not have marked it: all but the standard streams.
pub(crate) fn close_inherited() -> Result<(), Error> {
    let inherited = || -> io::Result<Vec<RawFd>> {
        let names = std::fs::read_dir("/proc/self/fd")?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        let numbers = names.iter().filter_map(|name| name.to_str()?.parse().ok());
        Ok(numbers.filter(|number| *number > 2).collect())
    };
    for number in inherited().map_err(Error::Descriptors)? {
        match close(number) {
            // It was that of the directory.
            Ok(()) | Err(Errno::EBADF) => {}
            Err(error) => return Err(Error::Descriptors(error.into())),
        }
    }
    Ok(())
}

/// The process that talks to a registry.
pub(crate) fn network() -> Result<(), Error> {
    process()?;
    limits(1024, 4 << 30, 1 << 40)?;
    capabilities(CapabilitySet::empty())?;
    let directory = std::env::var_os("SSL_CERT_DIR").map(PathBuf::from);
    let readable = READABLE.iter().map(PathBuf::from).chain(directory);
    landlock_readable(readable).map_err(Error::Landlock)?;
    seccomp::network()
}

/// The process that reads a local image: a directory, or a file that is open already. It may write to a file that it was
/// given for that, if it was.
pub(crate) fn layout(directory: Option<BorrowedFd<'_>>, writes: bool) -> Result<(), Error> {
    process()?;
    limits(256, 1 << 30, if writes { 1 << 40 } else { 0 })?;
    capabilities(CapabilitySet::empty())?;
    landlock_layout(directory).map_err(Error::Landlock)?;
    seccomp::layout()
}

/// The process that unpacks a layer into `root`, its root directory.
pub(crate) fn unpack(root: BorrowedFd<'_>) -> Result<(), Error> {
    process()?;
    limits(128, 1 << 30, 1 << 40)?;
    capabilities(
        CapabilitySet::CHOWN
            | CapabilitySet::DAC_OVERRIDE
            | CapabilitySet::FOWNER
            | CapabilitySet::FSETID
            | CapabilitySet::MKNOD
            | CapabilitySet::SETFCAP,
    )?;
    landlock_tree(root).map_err(Error::Landlock)?;
    seccomp::unpack()
}

/// The process that reads trees of the store, whose ids its user namespace has.
pub(crate) fn pack<'a>(trees: impl Iterator<Item = BorrowedFd<'a>>) -> Result<(), Error> {
    process()?;
    limits(1024, 1 << 30, 0)?;
    capabilities(CapabilitySet::DAC_READ_SEARCH)?;
    landlock_layout(trees).map_err(Error::Landlock)?;
    seccomp::pack()
}

/// No new privileges, not traceable by others of the same user, killed when the coordinator dies.
fn process() -> Result<(), Error> {
    let failed = |what| move |error: Errno| Error::Process(what, error.into());
    prctl::set_no_new_privs().map_err(failed("no_new_privs"))?;
    prctl::set_dumpable(false).map_err(failed("non-dumpable"))?;
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("the parent death signal"))
}

/// Lowers limits; one that is lower already stays.
fn limits(files: u64, memory: u64, file_size: u64) -> Result<(), Error> {
    for (resource, name, value) in [
        (Resource::RLIMIT_CORE, "RLIMIT_CORE", 0),
        (Resource::RLIMIT_NOFILE, "RLIMIT_NOFILE", files),
        (Resource::RLIMIT_AS, "RLIMIT_AS", memory),
        (Resource::RLIMIT_FSIZE, "RLIMIT_FSIZE", file_size),
    ] {
        getrlimit(resource)
            .and_then(|(_, hard)| setrlimit(resource, value.min(hard), value.min(hard)))
            .map_err(|error| Error::Limit(name, error))?;
    }
    Ok(())
}

/// Keeps `kept` permitted and effective, and nothing in any other set.
fn capabilities(kept: CapabilitySet) -> Result<(), Error> {
    let failed = |error: rustix::io::Errno| Error::Capabilities(io::Error::from(error));
    rustix::thread::clear_ambient_capability_set().map_err(failed)?;
    let now = rustix::thread::capabilities(None).map_err(failed)?;
    if now.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            match rustix::thread::remove_capability_from_bounding_set(one) {
                Ok(()) => {}
                // Beyond the last capability of this kernel.
                Err(rustix::io::Errno::INVAL) => break,
                Err(error) => return Err(failed(error)),
            }
        }
    }
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(failed)
}

/// All files forbidden but for reading `paths`; no TCP port to listen on; no abstract sockets of and no signals to others.
fn landlock_readable(
    paths: impl IntoIterator<Item = PathBuf>,
) -> Result<RestrictionStatus, RulesetError> {
    let mut rules = ruleset()?;
    for path in paths {
        if let Ok(opened) = PathFd::new(&path) {
            rules = rules.add_rule(PathBeneath::new(opened, readable(&path)))?;
        }
    }
    rules.restrict_self()
}

fn readable(path: &Path) -> landlock::BitFlags<AccessFs> {
    if path.is_dir() {
        AccessFs::ReadFile | AccessFs::ReadDir
    } else {
        AccessFs::ReadFile.into()
    }
}

/// All files forbidden but for reading those below `directories`.
fn landlock_layout<'a>(
    directories: impl IntoIterator<Item = BorrowedFd<'a>>,
) -> Result<RestrictionStatus, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = ruleset()?;
    for directory in directories {
        rules = rules.add_rule(PathBeneath::new(directory, read))?;
    }
    rules.restrict_self()
}

/// All files forbidden but those of one tree, and nothing there can be executed or is a device.
fn landlock_tree(root: BorrowedFd<'_>) -> Result<RestrictionStatus, RulesetError> {
    let everything = AccessFs::from_all(LANDLOCK);
    let never = AccessFs::Execute | AccessFs::MakeBlock | AccessFs::MakeSock | AccessFs::IoctlDev;
    ruleset()?
        .add_rule(PathBeneath::new(root, everything & !never))?
        .restrict_self()
}

fn ruleset() -> Result<landlock::RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(LANDLOCK))?
        .create()
}
