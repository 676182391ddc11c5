//! The two lives of stage2: pid 1 of a pod, and one further program of a pod.

use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::chdir;
use pod::Capability;

use crate::app::{self, App};
use crate::arguments::{Enter, Run};
use crate::error::Error;
use crate::listener::Listener;
use crate::reap::Apps;
use crate::sockets::{self, Socket};
use crate::teller::Teller;
use crate::{capability, sys};

/// Pid 1 of a pod.
///
/// **Runs as** the pod's user 0 with all capabilities, in the root of the only app, or in one that holds the
/// apps' roots and nothing else; until that is built in the host's, of which it opens nothing.
/// **Needs** every namespace of the pod, and the builder of its root. **Leaves** one status per app. **Undone by** the kernel: with pid 1
/// goes everything in its pid namespace.
pub(crate) fn run(arguments: Run) -> Result<u8, Error> {
    harden()?;
    die_with(&arguments.keeper)?;
    let signals = block_signals()?;
    // Once, and for all apps: none of them ignores what whoever ran the pod ignores.
    sys::reset_signals();
    let mut apps = load(&arguments)?;
    for (app, cgroup) in apps.iter_mut().zip(arguments.cgroups) {
        app.cgroup = Some(cgroup);
    }
    share(arguments.sockets, &mut apps)?;
    stand_apart(&apps)?;
    if arguments.builder && !is_built()? {
        return Ok(crate::FAILED);
    }
    // stage1 went to `/` beside the builder, and may have looked it up in the host's root and come there after the pivot.
    chdir("/").map_err(|e| Error::Harden("leave the working directory of the host", e))?;
    let timeout = Duration::from_secs(arguments.stop_timeout.into());
    let listener = Listener::open(&apps, &signals)?;
    let mut apps = Apps::start(apps, arguments.status, timeout)?;
    apps.listener = listener;
    apps.teller = arguments
        .started
        .map(|keeper| Teller::new(keeper, &signals))
        .transpose()?;
    capability::keep(&[Capability::Kill])?;
    apps.wait(&signals)
}

/// One further program of a pod, confined like an app of it.
pub(crate) fn enter(arguments: Enter) -> Result<Infallible, Error> {
    harden()?;
    let mut app = App::load(&arguments.apps, &arguments.name)?;
    drop(arguments.apps);
    sys::close_from(3).map_err(|e| Error::Harden("close inherited descriptors", e))?;
    app.file.argv = arguments.argv;
    app.file.terminal = arguments.terminal;
    app.file.stdin = true;
    app.file.notify = None;
    app.ids = Some(arguments.ids);
    let entered = app.become_app(|_| {
        sys::reset_signals();
        Ok(())
    });
    entered.map_err(|e| Error::Enter(arguments.name, Box::new(e)))
}

/// Nobody in the pod may trace us or read our memory, and nothing that we inherited reaches an app.
fn harden() -> Result<(), Error> {
    prctl::set_dumpable(false).map_err(|e| Error::Harden("become non-dumpable", e))?;
    for number in 0..3 {
        fcntl(sys::standard(number), FcntlArg::F_GETFD)
            .map_err(|e| Error::Harden("use the standard streams", e))?;
    }
    sys::close_on_exec_from(3).map_err(|e| Error::Harden("mark inherited descriptors", e))
}

/// Ends this process, and so the pod, with the keeper. The keeper may be gone before we asked for that, so it is looked for
/// afterwards; its pid cannot be: it is outside of our pid namespace.
fn die_with(keeper: &OwnedFd) -> Result<(), Error> {
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|e| Error::Harden("ask to die with the keeper", e))?;
    let mut watched = [PollFd::new(keeper.as_fd(), PollFlags::POLLIN)];
    match poll(&mut watched, PollTimeout::ZERO) {
        Ok(0) => Ok(()),
        Ok(_) => Err(Error::KeeperGone),
        Err(error) => Err(Error::Harden("look for the keeper", error)),
    }
}

/// Waits until the root of the pod is built. A builder that fails has told the keeper why, and there is nothing to add.
fn is_built() -> Result<bool, Error> {
    loop {
        match wait() {
            Ok(WaitStatus::Exited(_, status)) => return Ok(status == 0),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Err(Error::Builder(signal)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Error::Wait(error)),
        }
    }
}

/// Blocks every signal, so that each is waited for: also those that the kernel would drop for pid 1.
fn block_signals() -> Result<SigSet, Error> {
    let signals = SigSet::all();
    signals
        .thread_set_mask()
        .map_err(|e| Error::Harden("block signals", e))?;
    Ok(signals)
}

/// A saved group of our own. It gives no right, but whose ids are not all the same is nobody's equal: the kernel lets a process
/// change the limits of another one whose ids are all its own (`prlimit(2)`), and an app may be user and group 0 as well. A
/// pod of one id has no second group.
fn stand_apart(apps: &[App]) -> Result<(), Error> {
    let extents = apps.iter().flat_map(|app| &app.file.id_map.gids);
    let mut others = extents.filter_map(|extent| {
        let other = extent.inside.max(1);
        extent.host_of(other).map(|_| other)
    });
    let Some(other) = others.next() else {
        return Ok(());
    };
    sys::set_saved_group(other).map_err(|e| Error::Harden("have a saved group of its own", e))
}

/// Gives each app its sockets: all that have come, and all that it claims.
fn share(mut sockets: Vec<Socket>, apps: &mut [App]) -> Result<(), Error> {
    for app in apps {
        app.sockets = sockets::of_app(&app.file, &mut sockets)?;
    }
    match sockets.into_iter().next() {
        Some(socket) => Err(Error::SocketOfNobody(socket.name)),
        None => Ok(()),
    }
}

/// Loads all apps before any is started: one bad file, and nothing runs.
fn load(arguments: &Run) -> Result<Vec<App>, Error> {
    let watch = match std::env::var_os(pod::DEBUG_VARIABLE) {
        Some(_) => Some(app::names(&arguments.apps)?),
        None => None,
    };
    let load = |name| -> Result<App, Error> {
        let watch = watch.clone();
        Ok(App {
            watch,
            ..App::load(&arguments.apps, name)?
        })
    };
    arguments.names.iter().map(load).collect()
}
