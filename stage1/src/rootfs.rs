//! Carries out the steps of a plan: mounts, and nothing but mounts.
//!
//! **Runs as** the inside: root of the pod's user namespace, in new namespaces. **Needs** the id map and the trees.
//! **Leaves** the root of the only app as the root, or that of each app below `apps/` of the private root. **Undone by** the
//! end of the mount namespace.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{fchdir, pivot_root, sethostname, symlinkat};

use pod::AppFile;

use crate::credentials::Credentials;
use crate::inroot::{self, Kind};
use crate::op::{App, Device, Find, HostFile, Node, Op, ROOT, Root, Source, Target};
use crate::pty::Terminal;
use crate::trees::{Handed, Trees};
use crate::{device, file_system, sys, sysctl};

/// Where an app has its devices.
const DEV: &str = "/dev";

/// What has been built so far.
pub(crate) struct Builder {
    trees: Vec<Option<OwnedFd>>,
    /// What stage2 gets.
    pub(crate) handed: Option<Handed>,
    staging: Option<OwnedFd>,
    private_root: Option<OwnedFd>,
    credentials: Credentials,
    apps: Vec<OwnedFd>,
    /// The `/dev` of each app.
    devs: Vec<OwnedFd>,
    /// Device numbers of the file systems on which no volume may be mounted: the kernel's own.
    kernel: Vec<u64>,
    host_files: Vec<(HostFile, File)>,
    /// Both ends of the pod's terminal.
    pub(crate) terminal: Option<Terminal>,
}

/// Contents of the files that the host gives to a pod.
pub(crate) struct HostFiles {
    /// Of each file.
    pub(crate) contents: Vec<(HostFile, Vec<u8>)>,
}

impl Builder {
    /// Nothing built yet, for apps with these credentials.
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self {
            trees: Vec::new(),
            handed: None,
            staging: None,
            private_root: None,
            credentials,
            apps: Vec::new(),
            devs: Vec::new(),
            kernel: Vec::new(),
            host_files: Vec::new(),
            terminal: None,
        }
    }

    /// Takes the mounts that steps from [`Op::Staging`] on attach.
    pub(crate) fn take(&mut self, trees: Trees) {
        self.trees = trees.trees.into_iter().map(Some).collect();
        self.handed = Some(trees.handed);
    }

    /// Carries out one step.
    pub(crate) fn step(&mut self, op: &Op) -> io::Result<()> {
        match op {
            Op::PrivateMounts => private_mounts(),
            Op::LoopbackUp => sys::loopback_up(),
            Op::Hostname(name) => Ok(sethostname(name)?),
            Op::Staging => self.staging_directory(),
            Op::PrivateRoot => self.private_root(),
            Op::StageHanded => self.stage_handed(),
            Op::StageDirectory(path) => Ok(mkdirat(self.staging()?, path.as_str(), mode(0o755))?),
            Op::StageFile(file) => self.stage_file(*file),
            Op::StageTree { tree, at } => {
                sys::attach(self.tree(*tree)?.as_fd(), self.staged(at)?.as_fd())
            }
            Op::StageMount { mount, at } => {
                sys::attach(file_system::new(mount)?.as_fd(), self.staged(at)?.as_fd())
            }
            Op::SetOwner { at, uid, gid } => {
                file_system::give(self.staged(at)?.as_fd(), *uid, *gid)
            }
            Op::Overlay {
                at,
                lower,
                upper,
                work,
                ..
            } => self.overlay(at, lower, upper, work),
            Op::Mount { source, target } => self.mount(source, target),
            Op::Link { target, to } => self.link(target, to),
            Op::Mask(target) => self.mask(target),
            Op::ReadOnly(target) => self.read_only(target),
            Op::Sysctl { app, name, value } => sysctl::set(self.app(app)?, name, value),
            Op::StageImage { lower, at } => stage_image(lower, at),
            Op::Terminal(app) => self.open_terminal(app),
            Op::ReadOnlyRoot(app) => {
                sys::set_mount_attributes(self.app(app)?, false, MOUNT_ATTR_RDONLY, None)
            }
            Op::Pivot(root) => self.pivot(root),
        }
    }

    /// Fills the host's files, which are mounted already.
    pub(crate) fn fill(&mut self, files: &HostFiles) -> io::Result<()> {
        for (which, file) in &mut self.host_files {
            if let Some((_, content)) = files.contents.iter().find(|(other, _)| other == which) {
                file.write_all(content)?;
            }
        }
        Ok(())
    }

    /// The staging directory takes the place of the working directory, which nothing in this namespace needs by name. The
    /// root is mounted in it, so that one detaching at the end takes everything but the root away.
    fn staging_directory(&mut self) -> io::Result<()> {
        let staging = file_system::tmpfs(c"0700")?;
        sys::attach(staging.as_fd(), sys::here())?;
        fchdir(&staging)?;
        mkdirat(&staging, ROOT, mode(0o755))?;
        mkdirat(&staging, "empty", mode(0o555))?;
        create(staging.as_fd(), "nothing", 0o444)?;
        self.staging = Some(staging);
        Ok(())
    }

    fn private_root(&mut self) -> io::Result<()> {
        let root = self.clone_staged(ROOT, false, false)?;
        sys::attach(root.as_fd(), self.staged(ROOT)?.as_fd())?;
        mkdirat(&root, "apps", mode(0o755))?;
        self.private_root = Some(root);
        Ok(())
    }

    /// Attached here, they are detached with the rest and then live as long as their descriptors. A mount that was never
    /// attached costs the kernel a wait for all processors when it goes.
    fn stage_handed(&self) -> io::Result<()> {
        let handed = self.handed.as_ref().ok_or(Errno::EBADF)?;
        let directories = [
            (&handed.apps, "handed-apps"),
            (&handed.status, "handed-status"),
        ];
        for (mount, at) in directories {
            mkdirat(self.staging()?, at, mode(0o700))?;
            sys::attach(mount.as_fd(), self.staged(at)?.as_fd())?;
        }
        let file = create(self.staging()?, "handed-stage2", 0o600)?;
        sys::attach(handed.stage2.as_fd(), file.as_fd())
    }

    fn stage_file(&mut self, file: HostFile) -> io::Result<()> {
        let opened = create(self.staging()?, file.name(), 0o644)?;
        self.host_files.push((file, File::from(opened)));
        Ok(())
    }

    /// The names of the layers are short and relative, so that 128 of them fit in the page that mount options get. `volatile`
    /// (kernel 5.10): the root of a pod ends with the pod, so its end need not wait for the disk.
    fn overlay(&mut self, at: &str, lower: &[String], upper: &str, work: &str) -> io::Result<()> {
        if let (true, Some(home)) = (at != ROOT, Path::new(at).parent()) {
            mkdirat(self.staging()?, home, mode(0o755))?;
            mkdirat(self.staging()?, at, mode(0o755))?;
        }
        let data = format!(
            "userxattr,volatile,lowerdir={},upperdir={upper},workdir={work}",
            lower.join(":")
        );
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(
            Some("overlay"),
            at,
            Some("overlay"),
            flags,
            Some(data.as_str()),
        )?;
        let opened = self.staged(at)?;
        self.apps.push(opened);
        Ok(())
    }

    fn mount(&mut self, source: &Source, target: &Target) -> io::Result<()> {
        let mount = match source {
            Source::New(mount) => file_system::new(mount)?,
            Source::Credentials(claimed) => self.credentials.mount(claimed)?,
            Source::Tree(tree) => self.tree(*tree)?,
            Source::Staged {
                path,
                read_only,
                no_exec,
            } => self.clone_staged(path, *read_only, *no_exec)?,
            Source::Device { from, device } => self.device(from, *device)?,
        };
        let kind = match inroot::kind_of(&inroot::look(mount.as_fd())?) {
            Some(Kind::Directory) => Kind::Directory,
            Some(Kind::File) | None => Kind::File,
        };
        let onto = match target.find {
            Find::Own => self.make_own(target, kind)?,
            find => inroot::open(self.app(&target.app)?, &target.path, find, kind)?,
        };
        match (target.find, source) {
            (_, Source::Device { .. }) => {}
            (Find::Plain | Find::Own, _) => self.kernel.push(inroot::look(mount.as_fd())?.st_dev),
            _ => self.may_cover(onto.as_fd())?,
        }
        sys::attach(mount.as_fd(), onto.as_fd()).map_err(|e| inroot::misfit(kind, &onto, e))?;
        if target.path == DEV {
            self.devs.push(mount);
        }
        Ok(())
    }

    /// A mount point in an app's own `/dev`.
    fn make_own(&self, target: &Target, kind: Kind) -> io::Result<OwnedFd> {
        let (dev, name) = self.own(target)?;
        match kind {
            Kind::File => create(dev, name, 0o644),
            Kind::Directory => {
                mkdirat(dev, name, mode(0o755))?;
                open_directory(dev, name)
            }
        }
    }

    /// The app's own `/dev`, and a name in it.
    fn own<'a>(&self, target: &'a Target) -> io::Result<(BorrowedFd<'_>, &'a str)> {
        let dev = self.devs.get(target.app.index);
        let below = target.path.strip_prefix(DEV);
        let name = below.and_then(|below| below.strip_prefix('/'));
        let (dev, name) = dev.zip(name).ok_or(Errno::EBADF)?;
        Ok((dev.as_fd(), name))
    }

    /// A link in the image must not lead a volume onto `/proc`, `/sys` or `/dev`.
    fn may_cover(&self, target: BorrowedFd<'_>) -> io::Result<()> {
        let found = inroot::look(target)?;
        if self.kernel.contains(&found.st_dev) || inroot::kind_of(&found).is_none() {
            return Err(Errno::EXDEV.into());
        }
        Ok(())
    }

    fn link(&self, target: &Target, to: &str) -> io::Result<()> {
        let (dev, name) = self.own(target)?;
        Ok(symlinkat(to, dev, name)?)
    }

    fn mask(&self, target: &Target) -> io::Result<()> {
        let Some(onto) = self.existing(target)? else {
            return Ok(());
        };
        let empty = match inroot::kind_of(&inroot::look(onto.as_fd())?) {
            Some(Kind::Directory) => "empty",
            Some(Kind::File) | None => "nothing",
        };
        sys::attach(self.clone_staged(empty, true, true)?.as_fd(), onto.as_fd())
    }

    fn read_only(&self, target: &Target) -> io::Result<()> {
        let Some(onto) = self.existing(target)? else {
            return Ok(());
        };
        let itself = sys::clone_tree(onto.as_fd(), Path::new(""), true)?;
        let flags = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        sys::set_mount_attributes(itself.as_fd(), true, flags, None)?;
        sys::attach(itself.as_fd(), onto.as_fd())
    }

    fn existing(&self, target: &Target) -> io::Result<Option<OwnedFd>> {
        match inroot::open(
            self.app(&target.app)?,
            &target.path,
            target.find,
            Kind::File,
        ) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn open_terminal(&mut self, app: &App) -> io::Result<()> {
        self.terminal = Some(Terminal::open(self.app(app)?)?);
        Ok(())
    }

    /// `pivot_root(2)` with the new root also as the place of the old one, as its manual page says. With the old root the
    /// staging directory goes, and everything mounted in it.
    fn pivot(&mut self, root: &Root) -> io::Result<()> {
        match root {
            Root::Private => {
                let root = self.private_root.as_ref().ok_or(Errno::EBADF)?;
                sys::set_mount_attributes(root.as_fd(), false, MOUNT_ATTR_RDONLY, None)?;
                fchdir(root)?;
            }
            Root::Of(app) => fchdir(self.app(app)?)?,
        }
        pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        self.staging = None;
        Ok(nix::unistd::chdir("/")?)
    }

    fn staging(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.staging.as_ref().ok_or(Errno::EBADF)?.as_fd())
    }

    fn staged(&self, path: &str) -> io::Result<OwnedFd> {
        open_directory(self.staging()?, path)
    }

    fn clone_staged(&self, path: &str, read_only: bool, no_exec: bool) -> io::Result<OwnedFd> {
        let mount = sys::clone_tree(self.staging()?, Path::new(path), false)?;
        let read_only = if read_only { MOUNT_ATTR_RDONLY } else { 0 };
        let no_exec = if no_exec { MOUNT_ATTR_NOEXEC } else { 0 };
        let flags = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | read_only | no_exec;
        sys::set_mount_attributes(mount.as_fd(), false, flags, None)?;
        Ok(mount)
    }

    fn device(&mut self, from: &Node, wanted: Device) -> io::Result<OwnedFd> {
        let mount = match from {
            Node::Host(path) | Node::HostUsable(path) => device::of_host(path)?,
            Node::Tree(tree) => self.tree(*tree)?,
        };
        device::check(mount.as_fd(), wanted)?;
        if let Node::HostUsable(_) = from {
            device::usable(mount.as_fd())?;
        }
        Ok(mount)
    }

    /// Each tree is used once.
    fn tree(&mut self, tree: usize) -> io::Result<OwnedFd> {
        Ok(self
            .trees
            .get_mut(tree)
            .and_then(Option::take)
            .ok_or(Errno::EBADF)?)
    }

    fn app(&self, app: &App) -> io::Result<BorrowedFd<'_>> {
        Ok(self.apps.get(app.index).ok_or(Errno::EBADF)?.as_fd())
    }
}

/// The root of an app, seen from that of pid 1.
pub(crate) fn open_app_root(app: &AppFile) -> io::Result<OwnedFd> {
    open_directory(sys::here(), &app.root)
}

/// The working directory is the staging directory. Without an upper layer nothing can be written; read-only is each mount of it.
fn stage_image(lower: &[String], at: &str) -> io::Result<()> {
    let data = format!("userxattr,lowerdir={}", lower.join(":"));
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let kind = Some("overlay");
    Ok(mount(kind, at, kind, flags, Some(data.as_str()))?)
}

fn private_mounts() -> io::Result<()> {
    let none = None::<&str>;
    Ok(mount(
        none,
        "/",
        none,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        none,
    )?)
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

fn open_directory(from: BorrowedFd<'_>, path: impl AsRef<Path>) -> io::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(from, path.as_ref(), flags, Mode::empty())?)
}

fn create(directory: BorrowedFd<'_>, name: &str, bits: u32) -> io::Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    Ok(openat(directory, name, flags, mode(bits))?)
}
