//! From the file of an app to the app: everything between `fork` and `exec`.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{ForkResult, Pid, write};
use pod::{AppFile, AppName};

use crate::confine::Filter;
use crate::error::{self, Error};
use crate::report::{self, Gate, Reporter, Reports};
use crate::sockets::Socket;
use crate::user::{Identity, Ids};
use crate::watch::Names;
use crate::{confine, credentials, directory, exec, limits, root, stdio, sys, user, verify};

/// The most bytes of the names of system calls.
const MAX_NAMES: u64 = 1 << 16;

/// An app as stage1 wrote it, complete in memory: nothing is read from outside its root after its start.
pub(crate) struct App {
    /// `app.json`.
    pub(crate) file: AppFile,
    /// The seccomp program it names.
    pub(crate) filter: Option<Vec<libc::sock_filter>>,
    /// Say what the filter refuses; the names are those of system calls.
    pub(crate) watch: Option<Names>,
    /// `cgroup.procs` of its cgroup, opened by the keeper: only whoever holds this descriptor may join.
    pub(crate) cgroup: Option<OwnedFd>,
    /// Sockets of the unit that it claims; what enters it has none.
    pub(crate) sockets: Vec<Socket>,
    /// Of what enters it: who it was when it was started. At its start its image says who it is.
    pub(crate) ids: Option<Ids>,
}

/// An app that has been started.
pub(crate) struct Started {
    /// Its process.
    pub(crate) pid: Pid,
    /// Says why it could not be executed; says nothing when it was.
    pub(crate) reports: Reports,
}

impl App {
    /// Loads and checks what stage1 wrote.
    pub(crate) fn load(apps: &OwnedFd, name: &AppName) -> Result<Self, Error> {
        let path = Path::new(name.as_str()).join("app.json");
        let source = open(apps, name, &path)?;
        let file: AppFile = pod::load_from(source, &path).map_err(Error::Contract)?;
        if file.version > pod::CONTRACT_VERSION {
            return Err(Error::Contract(pod::Error::Newer(path, file.version)));
        }
        if file.name != *name {
            return Err(Error::WrongName(name.clone(), file.name));
        }
        if file.argv.is_empty() {
            return Err(Error::Empty(name.clone(), "program"));
        }
        let filter = match &file.seccomp {
            Some(beside) => Some(filter(apps, name, beside)?),
            None => None,
        };
        let watch = None;
        Ok(Self {
            file,
            filter,
            watch,
            cgroup: None,
            sockets: Vec::new(),
            ids: None,
        })
    }

    /// Starts the app in a child of its own, which waits at the gate before it executes anything.
    pub(crate) fn start(&self, gate: &Gate) -> Result<Started, Error> {
        let failed = |e| Error::Fork(self.file.name.clone(), e);
        let (reports, tell) = report::pipe().map_err(failed)?;
        match sys::fork().map_err(failed)? {
            ForkResult::Parent { child } => Ok(Started {
                pid: child,
                reports,
            }),
            ForkResult::Child => self.child(&tell, gate),
        }
    }

    /// The child: becomes the app, or tells pid 1 why not.
    fn child(&self, tell: &OwnedFd, gate: &Gate) -> ! {
        let joined = self.join_cgroup();
        if let Ok(mut reporter) = Reporter::take(tell, gate, &self.sockets) {
            match joined.and_then(|()| self.become_app(|identity| reporter.wait_at_gate(identity)))
            {
                Ok(never) => match never {},
                Err(error) => reporter.failed(&error),
            }
        }
        std::process::exit(crate::FAILED.into())
    }

    /// Before anything else, and before its descriptor is closed with all others.
    fn join_cgroup(&self) -> Result<(), Error> {
        let Some(procs) = &self.cgroup else {
            return Ok(());
        };
        let written = write(procs, b"0");
        written
            .map(drop)
            .map_err(|e| Error::JoinCgroup(self.file.name.clone(), e))
    }

    /// One app, in stage2's child or in `enter`. Ends in exec or in an error, never in a return.
    pub(crate) fn become_app(
        &self,
        before_exec: impl FnOnce(&Identity) -> Result<(), Error>,
    ) -> Result<Infallible, Error> {
        let app = &self.file;
        let root = root::enter(app)?;
        // Whoever enters may do so at any time and in whatever root: nothing is made or believed in one that is not the planned.
        let proc = verify::surroundings(app, &root)?;
        stdio::attach(app, &root)?;
        limits::set(app)?;
        directory::enter(app, &root)?;
        let user = match &self.ids {
            Some(ids) => user::known(ids, &root),
            None => user::resolve(app, &root)?,
        };
        stdio::own(app, &user)?;
        credentials::give(app, &root, &user)?;
        let filter = Filter {
            program: self.filter.as_deref(),
            watch: self.watch.as_ref(),
        };
        let confined = confine::to(app, filter, &root, &proc, user)?;
        before_exec(&confined.identity)?;
        exec::app(app, &confined, &self.sockets)
    }
}

/// The names of system calls, if stage1 was asked to write them down.
pub(crate) fn names(apps: &OwnedFd) -> Result<Names, Error> {
    let path = Path::new(pod::SYSTEM_CALLS);
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = openat(apps, path, flags, Mode::empty()).map_err(Error::Watcher)?;
    let mut text = String::new();
    File::from(file)
        .take(MAX_NAMES)
        .read_to_string(&mut text)
        .map_err(|e| Error::Watcher(error::errno(&e)))?;
    serde_json::from_str(&text).map_err(|_| Error::Watcher(Errno::EINVAL))
}

fn open(apps: &OwnedFd, name: &AppName, path: &Path) -> Result<File, Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    openat(apps, path, flags, Mode::empty())
        .map(File::from)
        .map_err(|e| Error::OpenApp(name.clone(), e))
}

/// Reads a seccomp program: `struct sock_filter`s in native byte order.
fn filter(apps: &OwnedFd, name: &AppName, file: &str) -> Result<Vec<libc::sock_filter>, Error> {
    let invalid = |problem| Error::Filter(name.clone(), problem);
    if file.contains('/') {
        return Err(invalid("is not beside its file"));
    }
    let mut bytes = Vec::with_capacity(4096);
    let limit = u64::from(libc::BPF_MAXINSNS as u32) * 8;
    open(apps, name, &Path::new(name.as_str()).join(file))?
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| invalid("cannot be read"))?;
    if bytes.len() as u64 > limit {
        return Err(invalid("is longer than 4096 instructions"));
    }
    let (instructions, rest) = bytes.as_chunks::<8>();
    if instructions.is_empty() || !rest.is_empty() {
        return Err(invalid("is not a list of instructions"));
    }
    Ok(instructions
        .iter()
        .map(
            |&[code0, code1, jt, jf, k0, k1, k2, k3]| libc::sock_filter {
                code: u16::from_ne_bytes([code0, code1]),
                jt,
                jf,
                k: u32::from_ne_bytes([k0, k1, k2, k3]),
            },
        )
        .collect())
}
