//! Where the benchmarks run: a mount namespace of their own with a journalled ext4 on a loop device, as users have, and one
//! cgroup2 mount where peers expect it. When the process ends the kernel takes all of it away.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A directory on the loop device; all contenders keep their data here.
pub(crate) struct Lab {
    pub(crate) directory: PathBuf,
    /// The same with the host's cgroups of version 1 instead, where it has both.
    pub(crate) version_1: Option<Rc<View>>,
}

/// A mount namespace beside the lab's.
pub(crate) struct View {
    there: File,
    home: File,
}

impl View {
    /// Does something there: what is started meanwhile stays.
    pub(crate) fn within<T>(&self, act: impl FnOnce() -> T) -> io::Result<T> {
        setns(&self.there, CloneFlags::CLONE_NEWNS)?;
        let done = act();
        setns(&self.home, CloneFlags::CLONE_NEWNS)?;
        Ok(done)
    }
}

impl Lab {
    /// Builds the lab. Needs root, before any thread is started.
    pub(crate) fn new(size: &str) -> Result<Self, Failure> {
        let directory = PathBuf::from(format!("/var/tmp/skua-bench.{}", std::process::id()));
        fs::create_dir(&directory)?;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(
            None::<&str>,
            "/",
            None::<&str>,
            MsFlags::MS_REC | MsFlags::MS_PRIVATE,
            None::<&str>,
        )?;
        let image = directory.with_extension("img");
        succeed(Command::new("truncate").arg("--size").arg(size).arg(&image))?;
        // What is left to do after mkfs would be done during the measurements.
        let now = ["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        succeed(Command::new("mkfs.ext4").args(now).arg(&image))?;
        let mounted = succeed(
            Command::new("mount")
                .args(["-o", "loop"])
                .arg(&image)
                .arg(&directory),
        );
        fs::remove_file(&image)?;
        mounted?;
        succeed(Command::new("chmod").arg("0755").arg(&directory))?;
        let version_1 = only_cgroup2()?;
        Ok(Self {
            directory,
            version_1,
        })
    }

    /// A new directory in the lab.
    pub(crate) fn make(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.directory.join(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::env::set_current_dir("/");
        let _ = umount2(&self.directory, MntFlags::MNT_DETACH);
        let _ = fs::remove_dir(&self.directory);
    }
}

/// crun refuses a mixture of cgroup versions even when told to use none: show it version 2 alone. Version 1 alone is in the
/// view that comes back.
fn only_cgroup2() -> Result<Option<Rc<View>>, Failure> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() && root.join("cgroup.controllers").exists() {
        return Ok(None);
    }
    let mounts = || File::open("/proc/self/ns/mnt");
    let home = mounts()?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    succeed(Command::new("umount").arg(root.join("unified")))?;
    let there = mounts()?;
    setns(&home, CloneFlags::CLONE_NEWNS)?;
    succeed(Command::new("umount").args(["--recursive", "/sys/fs/cgroup"]))?;
    succeed(Command::new("mount").args(["-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"]))?;
    Ok(Some(Rc::new(View { there, home })))
}

/// Runs a command of the setup; its standard error is the failure.
pub(crate) fn succeed(command: &mut Command) -> Result<(), Failure> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )
        .into())
    }
}
