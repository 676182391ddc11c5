//! Looks at the cgroups of version 2 here, and at what of them is ours. Changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{AccessFlags, access, getuid};
use pod::PodManifest;

use super::place::{Domain, Facts, Hierarchy, NoLimits};
use super::settings::{Controller, Setting, Settings};
use super::weights::{self, Weighers};
use crate::error::Error;
use crate::host;
use crate::sys::{self, xattr};

impl Facts {
    /// Looks at what limits of this pod need to know.
    pub(crate) fn probe(settings: &Settings, manifest: &PodManifest) -> Result<Self, Error> {
        let hierarchy = hierarchy().map_err(Error::FindCgroup)?;
        let hard = getrlimit(Resource::RLIMIT_NPROC).map(|(_, hard)| hard);
        let hard = hard.map_err(|e| Error::FindCgroup(e.into()))?;
        let weighers = match settings.first(Setting::is_io_weight) {
            Some(_) => Some(weighers(manifest).map_err(Error::FindCgroup)?),
            None => None,
        };
        Ok(Self {
            hierarchy,
            weighers,
            most_processes: (hard != RLIM_INFINITY).then_some(hard),
        })
    }
}

fn hierarchy() -> io::Result<Option<Hierarchy>> {
    let cgroups = host::read_virtual("/proc/self/cgroup")?;
    let Some(relative) = cgroups.lines().find_map(|line| line.strip_prefix("0::/")) else {
        return Ok(None);
    };
    let Some(mount) = mount()? else {
        return Ok(None);
    };
    let own = if relative.is_empty() {
        mount.clone()
    } else {
        mount.join(relative)
    };
    let controllers = controllers(&mount)?;
    let domain = if controllers.is_empty() {
        Err(NoLimits::Forbidden(own.clone()))
    } else {
        domain(&mount, &own)?
    };
    Ok(Some(Hierarchy {
        writable: may_write(&own),
        controllers,
        domain,
        own,
    }))
}

/// Where the hierarchy is mounted as a whole.
fn mount() -> io::Result<Option<PathBuf>> {
    let usual = Path::new("/sys/fs/cgroup");
    if is_whole(usual) {
        return Ok(Some(usual.to_owned()));
    }
    let mounts = host::read_virtual("/proc/self/mountinfo")?;
    Ok(mounts.lines().find_map(mount_point))
}

/// All cgroups of a name, wherever they are. One that comes or goes meanwhile may be missing.
pub(super) fn named(name: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut ahead: Vec<PathBuf> = mount()?.into_iter().collect();
    while let Some(cgroup) = ahead.pop() {
        // Gone, or not ours to look at.
        let Ok(entries) = fs::read_dir(&cgroup) else {
            continue;
        };
        let below = entries.flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        for path in below.map(|entry| entry.path()) {
            match path.file_name() == Some(name.as_ref()) {
                true => found.push(path),
                false => ahead.push(path),
            }
        }
    }
    Ok(found)
}

/// Whether it is known without a look at all mounts of the host, which may be many, that the whole hierarchy is mounted here: by
/// the number of its root, which paths of our own cgroup begin at only in the first cgroup namespace.
fn is_whole(mount: &Path) -> bool {
    let number = |path: &Path| fs::metadata(path).map(|found| found.ino()).ok();
    let kind = statfs(mount).map(|found| found.filesystem_type());
    kind == Ok(CGROUP2_SUPER_MAGIC)
        && number(mount) == Some(1)
        && number(Path::new("/proc/self/ns/cgroup")) == Some(FIRST_NAMESPACE)
}

/// The number of the first cgroup namespace (`PROC_CGROUP_INIT_INO` in `linux/proc_ns.h`, since kernel 4.6).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFB;

/// What shares out the time of the pod's disks.
fn weighers(manifest: &PodManifest) -> io::Result<Result<Weighers, NoLimits>> {
    match mount()? {
        Some(mount) => weights::of_pod(manifest, &mount),
        None => Ok(Err(NoLimits::NoHierarchy)),
    }
}

fn may_write(path: &Path) -> bool {
    access(path, AccessFlags::W_OK).is_ok()
}

fn controllers(cgroup: &Path) -> io::Result<BTreeSet<Controller>> {
    let list = host::read_virtual(cgroup.join("cgroup.controllers"))?;
    Ok(Controller::parse(&list))
}

/// What of the hierarchy is ours: from the nearest cgroup on that systemd has delegated, with no other unit in between; all
/// of it where nothing in it is systemd's.
fn domain(mount: &Path, own: &Path) -> io::Result<Result<Domain, NoLimits>> {
    let mut top = mount;
    for cgroup in own.ancestors().take_while(|path| *path != mount) {
        if is_delegated(cgroup)? || (is_unit(cgroup) && may_write(cgroup) && asked(cgroup)?) {
            top = cgroup;
            break;
        }
        if is_unit(cgroup) {
            return Ok(Err(NoLimits::NotDelegated(cgroup.to_owned())));
        }
    }
    let files = ["cgroup.procs", "cgroup.subtree_control"];
    if !may_write(top) || !files.iter().all(|file| may_write(&top.join(file))) {
        return Ok(Err(NoLimits::Forbidden(top.to_owned())));
    }
    let us = std::process::id();
    let inside = host::read_virtual(top.join("cgroup.procs"))?;
    let mut inside = inside.lines().filter_map(|pid| pid.parse().ok());
    Ok(Ok(Domain {
        controllers: controllers(top)?,
        other: inside.find(|pid| *pid != us),
        // Only the real root has no type; the root of a cgroup namespace looks like a root, but is none.
        root: !top.join("cgroup.type").exists(),
        // Where the kernel knows no swap, a cgroup has no file to bound it.
        swap: Path::new("/proc/swaps").exists(),
        top: top.to_owned(),
    }))
}

/// systemd marks what it delegates; an ordinary user can read only the second mark.
fn is_delegated(cgroup: &Path) -> io::Result<bool> {
    for name in [c"trusted.delegate", c"user.delegate"] {
        if xattr::has_attribute(cgroup, name, b"1")? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Asks systemd where its marks do not tell: the manager of an ordinary user does not always leave one. Where we see a mark that
/// only the manager of the system can set, and it sets on every unit, no mark of delegation is its answer.
fn asked(unit: &Path) -> io::Result<bool> {
    Ok(!xattr::exists(unit, c"trusted.invocation_id")? && systemd_says(unit))
}

/// What systemd says. No answer is no delegation.
fn systemd_says(unit: &Path) -> bool {
    let users = unit.iter().any(|part| {
        let part = part.to_string_lossy();
        part.starts_with("user@") && part.ends_with(".service")
    });
    let mut command = Command::new("systemctl");
    command
        .args(users.then_some("--user"))
        .args(["show", "--value", "--property=Delegate", "--"])
        .arg(unit.file_name().unwrap_or_default())
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("XDG_RUNTIME_DIR", format!("/run/user/{}", getuid()))
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    sys::starts_afresh(&mut command);
    let answer = command.output();
    answer.is_ok_and(|answer| answer.status.success() && answer.stdout == b"yes\n")
}

fn is_unit(cgroup: &Path) -> bool {
    const KINDS: [&str; 3] = ["service", "scope", "slice"];
    let kind = cgroup.extension().unwrap_or_default();
    KINDS.iter().any(|known| kind == *known)
}

/// Where a line of mountinfo mounts the root of cgroup2.
fn mount_point(line: &str) -> Option<PathBuf> {
    let (mount, file_system) = line.split_once(" - ")?;
    if !file_system.starts_with("cgroup2 ") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, point) = (fields.next()?, fields.next()?);
    (root == "/" && !point.contains('\\')).then(|| PathBuf::from(point))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_of_cgroup2_is_found_by_type_and_root() {
        for (line, expected) in [
            (
                "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw",
                Some("/sys/fs/cgroup/unified"),
            ),
            (
                "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw",
                Some("/sys/fs/cgroup"),
            ),
            (
                "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
                None,
            ),
            ("41 31 0:38 /sub /mnt rw - cgroup2 cgroup2 rw", None),
            ("41 31 0:38 / /a\\040b rw - cgroup2 cgroup2 rw", None),
            ("", None),
        ] {
            assert_eq!(mount_point(line), expected.map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn units_are_known_by_their_names() {
        for (path, unit) in [
            ("/sys/fs/cgroup/system.slice/a.service", true),
            ("/sys/fs/cgroup/user.slice", true),
            ("/sys/fs/cgroup/x/session-1.scope", true),
            ("/sys/fs/cgroup/x/supervisor", false),
            ("/sys/fs/cgroup/x/service", false),
        ] {
            assert_eq!(is_unit(Path::new(path)), unit, "{path}");
        }
    }
}
