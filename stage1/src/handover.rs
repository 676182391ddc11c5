//! The end of stage1's code in the pod: descriptors are put in place, everything else is closed, stage2 takes over.
//!
//! **Runs as** the inside, after the pivot. **Needs** what stage2 gets. **Leaves** stage2 with descriptors 0, 1, 2,
//! [`APPS_FD`], [`STATUS_FD`], [`KEEPER_FD`], those of cgroups, the one that tells the keeper and those of sockets, an empty environment, and all signals blocked that the keeper forwards: none is lost before
//! stage2 listens. **Undone by** nothing: it ends in exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::given::Socket;
use crate::plan::Plan;
use crate::sys;
use crate::trees::Handed;

/// The directory `apps/` in stage2, for its whole life.
pub(crate) const APPS_FD: RawFd = 3;
/// The directory `status/` in stage2.
pub(crate) const STATUS_FD: RawFd = 4;
/// A pipe that hangs up when the keeper is gone.
const KEEPER_FD: RawFd = 5;

/// What stage2 gets of the keeper.
pub(crate) struct Ends<'a> {
    /// Hangs up when the keeper is gone.
    pub(crate) keeper: OwnedFd,
    /// Where it says that every app has been executed, if the keeper wants to know.
    pub(crate) started: Option<OwnedFd>,
    /// The cgroups of the apps.
    pub(crate) cgroup: Option<&'a Cgroup>,
    /// What the unit gives to apps.
    pub(crate) sockets: Vec<Socket>,
}

/// The root of the pod.
pub(crate) enum Root {
    /// It is there, and a terminal for the standard streams if an app has one.
    Built(Option<OwnedFd>),
    /// A child with this pid is still at it.
    BuiltBy(u32),
}

/// The first number above all descriptors of stage2.
pub(crate) fn first_free(cgroup: Option<&Cgroup>, sockets: &[Socket]) -> RawFd {
    let apps = cgroup.map_or(0, |cgroup| cgroup.app_procs().len());
    RawFd::try_from(apps + sockets.len()).map_or(RawFd::MAX, |count| KEEPER_FD + 2 + count)
}

/// Becomes stage2 as pid 1. A terminal becomes the standard streams.
pub(crate) fn to_stage2(
    plan: &Plan,
    handed: &Handed,
    ends: &Ends<'_>,
    root: &Root,
) -> Result<Infallible, Error> {
    let mut placed = vec![
        (&handed.apps, APPS_FD),
        (&handed.status, STATUS_FD),
        (&ends.keeper, KEEPER_FD),
    ];
    let cgroups = ends.cgroup.map_or(&[][..], Cgroup::app_procs);
    let cgroups = cgroups.iter().map(|descriptor| ("--cgroup-fd", descriptor));
    let started = ends.started.iter().map(|end| ("--started-fd", end));
    let mut options = Vec::new();
    let mut free = KEEPER_FD + 1..;
    for ((option, descriptor), number) in cgroups.chain(started).zip(free.by_ref()) {
        placed.push((descriptor, number));
        options.extend([option.to_owned(), number.to_string()]);
    }
    for (socket, number) in ends.sockets.iter().zip(free) {
        placed.push((&socket.descriptor, number));
        let value = format!("{}:{number}:{}", socket.app, socket.name);
        options.extend(["--socket".to_owned(), value]);
    }
    let terminal = match root {
        Root::Built(terminal) => terminal.as_ref(),
        Root::BuiltBy(pid) => {
            options.extend(["--builder".to_owned(), pid.to_string()]);
            None
        }
    };
    let arguments = arguments(plan, options)?;
    execute(&handed.stage2, &arguments, &placed, terminal)
}

/// Becomes stage2 with these descriptors, under these numbers, and no others but the standard streams.
pub(crate) fn execute(
    stage2: &OwnedFd,
    argv: &[CString],
    placed: &[(&OwnedFd, RawFd)],
    terminal: Option<&OwnedFd>,
) -> Result<Infallible, Error> {
    sys::default_action(libc::SIGPIPE);
    let program = place(stage2, placed, terminal).map_err(Error::Handover)?;
    Err(Error::ExecStage2(sys::execute(
        program.as_fd(),
        argv,
        &environment(),
    )))
}

/// All that stage2 has of the caller's environment: how errors are to be printed, and whether to say more.
fn environment() -> Vec<CString> {
    let kept = |name: &str| {
        let value = std::env::var(name).ok();
        value.map(|value| format!("{name}={value}"))
    };
    [pod::ERROR_FORMAT_VARIABLE, pod::DEBUG_VARIABLE]
        .into_iter()
        .filter_map(kept)
        .filter_map(|text| CString::new(text).ok())
        .collect()
}

/// The sources are first lifted above the numbers they must go to, so that none is closed before it is placed.
fn place(
    stage2: &OwnedFd,
    placed: &[(&OwnedFd, RawFd)],
    terminal: Option<&OwnedFd>,
) -> io::Result<OwnedFd> {
    sys::close_at_exec_from(3)?;
    let highest = placed.iter().map(|(_, number)| *number).max();
    let first = highest.unwrap_or(KEEPER_FD).max(KEEPER_FD) + 1;
    let lift = |from: &OwnedFd| sys::lift(from.as_fd(), first);
    let program = lift(stage2)?;
    let lifted = placed.iter().map(|(from, _)| lift(from));
    let lifted = lifted.collect::<io::Result<Vec<_>>>()?;
    if let Some(slave) = terminal {
        (0..3).try_for_each(|number| sys::place(slave.as_fd(), number))?;
    }
    for (from, (_, number)) in lifted.iter().zip(placed) {
        sys::place(from.as_fd(), *number)?;
    }
    Ok(program)
}

fn arguments(plan: &Plan, options: Vec<String>) -> Result<Vec<CString>, Error> {
    let fixed = [
        "skua-stage2".to_owned(),
        "run".to_owned(),
        "--apps-fd".to_owned(),
        APPS_FD.to_string(),
        "--status-fd".to_owned(),
        STATUS_FD.to_string(),
        "--keeper-fd".to_owned(),
        KEEPER_FD.to_string(),
        "--stop-timeout".to_owned(),
        plan.stop_timeout.to_string(),
    ];
    let apps = plan.apps.iter().map(|app| app.name.to_string());
    let all = fixed.into_iter().chain(options).chain(apps);
    let all = all.map(CString::new);
    all.collect::<Result<_, _>>()
        .map_err(|e| Error::Handover(e.into()))
}
