//! The end of stage1's code in the pod: descriptors are put in place, everything else is closed, stage2 takes over.
//!
//! **Runs as** the inside, while its builder works, or after it when there is a terminal. **Needs** what stage2 gets. **Leaves**
//! stage2 with descriptors 0, 1, 2, [`APPS_FD`], [`STATUS_FD`], [`KEEPER_FD`], those of cgroups, the one that tells the keeper and
//! those of sockets, nothing of the environment but how errors are printed, and all signals blocked that the keeper forwards: none
//! is lost before stage2 listens. **Undone by** nothing: it ends in exec.

use std::ffi::CString;
use std::os::fd::{OwnedFd, RawFd};

use crate::cgroup::Cgroup;
use crate::error::Error;
use crate::given::Socket;
use crate::plan::Plan;
use crate::sys::Program;
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

/// The first number above all descriptors of stage2.
pub(crate) fn first_free(cgroup: Option<&Cgroup>, sockets: &[Socket]) -> RawFd {
    let apps = cgroup.map_or(0, |cgroup| cgroup.app_procs().len());
    RawFd::try_from(apps + sockets.len()).map_or(RawFd::MAX, |count| KEEPER_FD + 2 + count)
}

/// Who builds the root of the pod.
#[derive(Clone, Copy)]
pub(crate) enum Root<'a> {
    /// It is there, and a terminal for the standard streams if an app has one.
    Built(Option<&'a OwnedFd>),
    /// A child is to build it, beside stage2.
    BuiltBeside,
}

/// stage2 as pid 1, ready to be executed.
pub(crate) fn stage2(
    plan: &Plan,
    handed: &Handed,
    ends: &Ends<'_>,
    root: Root<'_>,
) -> Result<Program, Error> {
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
        Root::Built(terminal) => terminal,
        Root::BuiltBeside => {
            options.push("--builder".to_owned());
            None
        }
    };
    let arguments = arguments(plan, options)?;
    program(&handed.stage2, arguments, placed, terminal)
}

/// stage2 with these descriptors, under these numbers, and no others but the standard streams, which a terminal becomes.
pub(crate) fn program<'a>(
    stage2: &OwnedFd,
    argv: Vec<CString>,
    mut placed: Vec<(&'a OwnedFd, RawFd)>,
    terminal: Option<&'a OwnedFd>,
) -> Result<Program, Error> {
    let streams = terminal
        .into_iter()
        .flat_map(|slave| (0..3).map(move |number| (slave, number)));
    placed.extend(streams);
    Program::new(stage2, argv, environment(), &placed).map_err(Error::Handover)
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
