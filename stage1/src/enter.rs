//! Starts a program in a running pod, with the confinement of one of its apps.
//!
//! Three processes: the caller waits and relays a terminal; the *usher*, its child, is born in the pod's cgroup and joins
//! all its namespaces; the usher's child is in the pid namespace too and becomes stage2 `enter`, which confines itself as an
//! app does. History: `rkt enter` left out capabilities, seccomp and cgroup (CVE-2019-10144, -10145, -10147).
//!
//! **Runs as** the caller, then as root of the pod's user namespace. **Needs** a running pod. **Leaves** a process in it.
//! **Undone by** the pod's end.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use pod::{AppFile, AppIds, AppName, PodDir, Running};

use crate::channel::{self, Channel};
use crate::error::{self, Error};
use crate::finish::FAILED;
use crate::handover::{self, APPS_FD};
use crate::outlet::Outlets;
use crate::pty::Terminal;
use crate::rootfs;
use crate::signals::Signals;
use crate::sys::{self, Child, Cloned};
use crate::wait::{self, Ended};
use crate::{alive, cgroup, host, inside, streams};

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Enter {
    /// The app whose root and confinement it gets.
    pub(crate) app: AppName,
    /// With a terminal of the pod.
    pub(crate) terminal: bool,
    /// The program and its arguments; not empty.
    pub(crate) argv: Vec<String>,
}

/// A running pod, held so that it cannot be mistaken.
struct Target {
    running: Running,
    pidfd: OwnedFd,
    /// The binary that pid 1 runs: on its read-only mount.
    stage2: OwnedFd,
    /// Pid 1's own `apps/`.
    apps: OwnedFd,
    cgroup: Option<File>,
    /// Those of the pod that are not ours.
    namespaces: CloneFlags,
    /// The file of the app.
    file: AppFile,
    /// Who the app is.
    ids: AppIds,
}

/// Runs the program to its end; its exit status.
pub(crate) fn enter(order: &Enter) -> Result<u8, Error> {
    streams::check()?;
    let signals = Signals::block()?;
    let target = Target::open(&PodDir::here(), &order.app)?;
    let mut outlets = match order.terminal {
        true => Outlets::default(),
        false => Outlets::open()?,
    };
    streams::let_apps_open_pipes_again();
    let (ours, theirs) = channel::pair(APPS_FD + 1)?;
    let cgroup = target.cgroup.as_ref().map(AsFd::as_fd);
    let usher = match sys::clone3(0, cgroup).map_err(Error::Enter)? {
        Cloned::Parent(child) => child,
        Cloned::Child => {
            drop(ours);
            sys::exit_now(usher(order, &target, theirs))
        }
    };
    outlets.take_back()?;
    drop(theirs);
    let mut received = ours.receive_all()?.into_iter();
    let program = received.next().ok_or(Error::UsherDied)?;
    let terminal = received.next();
    let program = program.as_fd();
    wait::to_end(&usher, program, &signals, terminal, outlets, None).map(Ended::exit_status)
}

impl Enter {
    /// Parses the words after `enter`.
    pub(crate) fn parse(words: &[&str]) -> Result<Self, Error> {
        let (options, argv) = match words.iter().position(|word| *word == "--") {
            Some(at) if at + 1 < words.len() => (&words[..at], &words[at + 1..]),
            _ => return Err(Error::Usage),
        };
        let (app, terminal) = match options {
            ["--app", app] => (app, false),
            ["--app", app, "--terminal"] => (app, true),
            _ => return Err(Error::Usage),
        };
        let argv = argv.iter().map(|word| (*word).to_owned()).collect();
        Ok(Self {
            app: AppName::parse(app)?,
            terminal,
            argv,
        })
    }
}

impl Target {
    /// Everything that needs the host's view is opened here, before any namespace is joined.
    fn open(dir: &PodDir, app: &AppName) -> Result<Self, Error> {
        if !dir.app(app).exists() {
            return Err(Error::NoSuchApp(app.clone()));
        }
        let running = alive::load(dir)?.ok_or(Error::Starting)?;
        let file = pod::load(&dir.app(app))?;
        let ids = ids(dir, app)?.ok_or(Error::Starting)?;
        let pid = running.pod.pid;
        // What is not there any more, or not to be looked at, has ended with it: the pod is being undone.
        let gone = |error| match alive::has_ended(running.pod) {
            true => Error::NotRunning,
            false => error,
        };
        let stage2 = open_path(format!("/proc/{pid}/exe")).map_err(gone)?;
        let apps = open_path(format!("/proc/{pid}/fd/{APPS_FD}")).map_err(gone)?;
        let namespaces = namespaces(pid).map_err(gone)?;
        let pidfd = alive::open(running.pod)?.ok_or(Error::NotRunning)?;
        let cgroup =
            cgroup::recorded(dir, &host::pod_id()?)?.map(|pod| cgroup::open_of_app(&pod, app));
        let cgroup = cgroup.transpose().map_err(Error::Enter)?;
        Ok(Self {
            running,
            pidfd,
            stage2,
            apps,
            cgroup,
            namespaces,
            file,
            ids,
        })
    }
}

/// What stage2 wrote when the app was confined and not yet executed, so that nobody had changed the files that name its user.
/// `None`: it is too early to enter. Pid 1 has the host's root until its own is built, and until it is stage2 it runs stage1.
///
/// An app does not wait for this record of it, and may be seen to run before: so it is waited for, a second at most.
fn ids(dir: &PodDir, app: &AppName) -> Result<Option<AppIds>, Error> {
    for _ in 0..100 {
        match pod::load(&dir.ids(app)) {
            Ok(ids) => return Ok(Some(ids)),
            Err(pod::Error::Read(_, e)) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(None)
}

fn open_path(path: String) -> Result<OwnedFd, Error> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.read(true).custom_flags(libc::O_PATH).open(&path);
    opened
        .map(OwnedFd::from)
        .map_err(|e| Error::OpenPod(PathBuf::from(path), e))
}

/// The usher's life: joins, starts the program, waits for it. Nobody in the pod can see or trace it: it is not in its pid
/// namespace and cannot be dumped.
fn usher(order: &Enter, target: &Target, caller: Channel) -> u8 {
    match join(target).and_then(|()| start(order, target, &caller)) {
        Ok(program) => {
            drop(caller);
            wait::reap(&program).map_or(FAILED, Ended::exit_status)
        }
        Err(error) => {
            caller.send_failure(&error::joined(&error));
            FAILED
        }
    }
}

/// Joins all namespaces at once, the user namespace included.
fn join(target: &Target) -> Result<(), Error> {
    let failed = |e: nix::Error| Error::Enter(e.into());
    prctl::set_dumpable(false).map_err(failed)?;
    setns(&target.pidfd, target.namespaces).map_err(failed)?;
    inside::become_root(&target.running.id_map)
}

/// Clones the program's process, in the pod's pid namespace now, and hands it and its terminal to the caller.
fn start(order: &Enter, target: &Target, caller: &Channel) -> Result<Child, Error> {
    let terminal = order
        .terminal
        .then(|| open_terminal(&target.file))
        .transpose()?;
    match sys::clone3(0, None).map_err(Error::Enter)? {
        Cloned::Parent(child) => {
            caller.send_descriptor(child.pidfd.as_fd())?;
            if let Some(terminal) = terminal {
                caller.send_descriptor(terminal.master.as_fd())?;
            }
            Ok(child)
        }
        Cloned::Child => {
            let slave = terminal.as_ref().map(|terminal| &terminal.slave);
            let Err(error) = program(order, target, slave);
            caller.send_failure(&error::joined(&error));
            sys::exit_now(FAILED)
        }
    }
}

/// The namespaces to be joined: all, but for the network when it is the one that we are in. A pod in the host's network is
/// not its owner, so its root could not join it, and need not.
fn namespaces(pod: u32) -> Result<CloneFlags, Error> {
    let all = CloneFlags::CLONE_NEWUSER
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    let of = |process: &str| {
        let path = PathBuf::from(format!("/proc/{process}/ns/net"));
        let found = std::fs::metadata(&path).map_err(|e| Error::OpenPod(path, e))?;
        Ok::<_, Error>((found.dev(), found.ino()))
    };
    match of(&pod.to_string())? == of("self")? {
        true => Ok(all),
        false => Ok(all | CloneFlags::CLONE_NEWNET),
    }
}

fn open_terminal(app: &AppFile) -> Result<Terminal, Error> {
    let root = rootfs::open_app_root(app).map_err(Error::Enter)?;
    Terminal::open(root.as_fd()).map_err(Error::Enter)
}

/// Becomes stage2 `enter`. From the exec on the kernel knows it as undumpable only when stage2 says so; until then no app can
/// trace it because no app has all the capabilities that it has.
fn program(order: &Enter, target: &Target, slave: Option<&OwnedFd>) -> Result<Infallible, Error> {
    let arguments = arguments(order, &target.ids)?;
    let placed = vec![(&target.apps, APPS_FD)];
    let program = handover::program(&target.stage2, arguments, placed, slave)?;
    Err(Error::ExecStage2(program.execute()))
}

fn arguments(order: &Enter, ids: &AppIds) -> Result<Vec<CString>, Error> {
    let mut words = vec!["skua-stage2".to_owned(), "enter".to_owned()];
    words.extend(["--apps-fd".to_owned(), APPS_FD.to_string()]);
    words.extend(["--app".to_owned(), order.app.to_string()]);
    let numbers = [&[ids.uid, ids.gid], &ids.groups[..]].concat();
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    words.extend(["--ids".to_owned(), numbers.join(",")]);
    if order.terminal {
        words.push("--terminal".to_owned());
    }
    words.push("--".to_owned());
    let all = words.iter().chain(&order.argv);
    let all = all.map(|word| CString::new(word.as_bytes()));
    all.collect::<Result<_, _>>()
        .map_err(|e| Error::Handover(e.into()))
}
