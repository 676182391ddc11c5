//! Reads back from the kernel, before exec, whether an app is confined as planned.
//!
//! History: runtimes wrote to, or believed, a `/proc` that the image or a volume had put there (CVE-2019-16884,
//! CVE-2023-27561). So the file system type of `/proc` is asked first, and nothing mounted over its files is followed.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use pod::{AppFile, Extent, MountCheck, VolumeCheck};

use crate::capability::Plan;
use crate::error::{self, Error};
use crate::root::Root;
use crate::user::{self, Identity};

/// The most bytes of a file of `/proc` that are read; a longer one will not agree with the plan.
const MAX_TEXT: u64 = 1 << 20;

/// The app's `/proc`, which is one.
fn open_proc(root: &Root) -> Result<OwnedFd, Error> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let proc = root
        .open("/proc", flags)
        .map_err(|e| Error::Proc("/proc", e))?;
    let found = fstatfs(&proc).map_err(|e| Error::Proc("/proc", e))?;
    if found.filesystem_type() == PROC_SUPER_MAGIC {
        Ok(proc)
    } else {
        Err(Error::NotProc)
    }
}

fn open(proc: &OwnedFd, file: &'static str) -> Result<File, Error> {
    open_file(proc, file, OFlag::O_RDONLY)
        .map(File::from)
        .map_err(|e| Error::Proc(file, e))
}

/// A file of a verified `/proc`, and not one that is mounted over it.
pub(crate) fn open_file(proc: &OwnedFd, file: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(
        ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_MAGICLINKS
            | ResolveFlag::RESOLVE_NO_XDEV,
    );
    openat2(proc, file, how)
}

/// The whole text, by few system calls: such a file has no size to ask for.
fn text(file: File, name: &'static str) -> Result<String, Error> {
    let mut text = String::with_capacity(8192);
    file.take(MAX_TEXT)
        .read_to_string(&mut text)
        .map_err(|e| Error::Proc(name, error::errno(&e)))?;
    Ok(text)
}

/// `status` of this process, opened while that is certainly allowed; its contents are made when it is read.
pub(crate) fn open_status(proc: &OwnedFd) -> Result<File, Error> {
    open(proc, "self/status")
}

/// Checks id maps and mounts; the app's `/proc`.
pub(crate) fn surroundings(app: &AppFile, root: &Root) -> Result<OwnedFd, Error> {
    let proc = open_proc(root)?;
    for (file, planned) in [
        ("self/uid_map", &app.id_map.uids),
        ("self/gid_map", &app.id_map.gids),
    ] {
        let found = map(&text(open(&proc, file)?, file)?).ok_or(Error::ReadBack("id map"))?;
        compare(file, sorted(planned), sorted(&found))?;
    }
    let mounts = text(open(&proc, "self/mountinfo")?, "self/mountinfo")?;
    app.mounts
        .iter()
        .try_for_each(|check| mount(&mounts, check))?;
    app.volumes
        .iter()
        .try_for_each(|check| volume(check, root))?;
    Ok(proc)
}

/// A volume lies where links of the image lead, so it is not looked for by name but asked of what is found there.
fn volume(check: &VolumeCheck, root: &Root) -> Result<(), Error> {
    let failed = |e| Error::Volume(check.path.clone(), e);
    let place = root.open(&check.path, OFlag::O_PATH).map_err(failed)?;
    let found = fstatvfs(&place).map_err(failed)?.flags();
    let mut planned = FsFlags::ST_NOSUID | FsFlags::ST_NODEV;
    planned.set(FsFlags::ST_RDONLY, check.read_only);
    planned.set(FsFlags::ST_NOEXEC, check.no_exec);
    let what = || format!("the volume on {}", check.path.escape_debug());
    compare(&what(), planned, found & planned)
}

/// Checks credentials, capabilities, no_new_privs and seccomp.
pub(crate) fn process(
    app: &AppFile,
    filter: bool,
    status: File,
    plan: Plan,
    identity: &Identity,
) -> Result<(), Error> {
    let status = text(status, "self/status")?;
    let field = |name: &'static str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.strip_prefix(':'))
            .map(words)
            .ok_or(Error::ReadBack(name))
    };
    for (name, mask) in [
        ("CapInh", plan.ambient),
        ("CapPrm", plan.permitted),
        ("CapEff", plan.permitted),
        ("CapBnd", plan.bounding),
        ("CapAmb", plan.ambient),
    ] {
        compare(name, format!("{mask:016x}"), field(name)?)?;
    }
    let four = |id: u32| format!("{id} {id} {id} {id}");
    compare("Uid", four(identity.uid), field("Uid")?)?;
    compare("Gid", four(identity.gid), field("Gid")?)?;
    if !user::single(&app.id_map) {
        let planned: Vec<_> = identity.groups.iter().map(u32::to_string).collect();
        compare("Groups", planned.join(" "), field("Groups")?)?;
    }
    compare(
        "Umask",
        format!("{:04o}", app.process.umask),
        field("Umask")?,
    )?;
    let switch = u8::from(app.no_new_privileges).to_string();
    compare("NoNewPrivs", switch, field("NoNewPrivs")?)?;
    let mode = if filter { "2" } else { "0" };
    compare("Seccomp", mode.to_owned(), field("Seccomp")?)
}

fn words(rest: &str) -> String {
    rest.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// What was planned must be what was found.
pub(crate) fn compare<T: PartialEq + std::fmt::Debug>(
    what: &str,
    planned: T,
    found: T,
) -> Result<(), Error> {
    if planned == found {
        return Ok(());
    }
    Err(Error::Differs {
        what: what.to_owned(),
        planned: format!("{planned:?}"),
        found: format!("{found:?}"),
    })
}

fn map(text: &str) -> Option<Vec<Extent>> {
    text.lines()
        .map(|line| {
            let mut numbers = line.split_ascii_whitespace().map(str::parse);
            Some(Extent {
                inside: numbers.next()?.ok()?,
                host: numbers.next()?.ok()?,
                count: numbers.next()?.ok()?,
            })
        })
        .collect()
}

fn sorted(extents: &[Extent]) -> Vec<(u32, u32, u32)> {
    let mut lines: Vec<_> = extents
        .iter()
        .map(|extent| (extent.inside, extent.host, extent.count))
        .collect();
    lines.sort_unstable();
    lines
}

/// Checks one mount in the text of a `mountinfo`. The last line with its path is the one on top.
fn mount(mountinfo: &str, check: &MountCheck) -> Result<(), Error> {
    let what = || format!("the mount on {}", check.path.escape_debug());
    let describe = |file_system: &str, read_only: bool| {
        format!("{file_system} {}", if read_only { "ro" } else { "rw" })
    };
    let planned = describe(&check.file_system, check.read_only);
    let found = mountinfo.lines().rev().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ');
        let path = place.nth(4)?;
        let options = place.next()?;
        (unescape(path) == check.path.as_bytes()).then(|| {
            let read_only = options.split(',').any(|option| option == "ro");
            describe(kind.split(' ').next().unwrap_or_default(), read_only)
        })
    });
    let found = found.unwrap_or_else(|| "missing".to_owned());
    if planned == found {
        return Ok(());
    }
    Err(Error::Differs {
        what: what(),
        planned,
        found,
    })
}

/// Undoes the octal escapes of mountinfo.
fn unescape(path: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| first == b'\\');
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match value {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
        30 25 0:26 / / rw,relatime - overlay skua ro,lowerdir=x\n\
        31 30 0:27 / /proc rw,nosuid - proc proc rw\n\
        32 31 0:27 /sys /proc/sys ro,nosuid - proc proc rw\n\
        33 30 0:28 / /with\\040space rw shared:3 master:1 - tmpfs tmpfs rw\n\
        34 30 0:29 / /twice rw - tmpfs tmpfs rw\n\
        35 34 0:30 / /twice ro - ext4 /dev/x rw\n";

    fn check(path: &str, file_system: &str, read_only: bool) -> MountCheck {
        MountCheck {
            path: path.to_owned(),
            file_system: file_system.to_owned(),
            read_only,
        }
    }

    #[test]
    fn a_mount_is_compared_with_the_one_on_top() {
        for good in [
            check("/", "overlay", false),
            check("/proc/sys", "proc", true),
            check("/with space", "tmpfs", false),
            check("/twice", "ext4", true),
        ] {
            assert!(mount(MOUNTINFO, &good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn a_mount_that_is_missing_or_different_is_refused() {
        for bad in [
            check("/", "overlay", true),
            check("/proc/sys", "proc", false),
            check("/twice", "tmpfs", false),
            check("/sys", "sysfs", true),
            check("/with", "tmpfs", false),
        ] {
            assert!(mount(MOUNTINFO, &bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_id_map_is_read_as_the_kernel_prints_it() {
        let found = map("         0       1000          1\n         1     100000      65536\n");
        let expected = [
            Extent {
                inside: 0,
                host: 1000,
                count: 1,
            },
            Extent {
                inside: 1,
                host: 100_000,
                count: 65536,
            },
        ];
        assert_eq!(found.as_deref(), Some(&expected[..]));
        assert_eq!(map("0 x 1\n"), None);
    }
}
