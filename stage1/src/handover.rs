//! The end of stage1's code in the pod: descriptors are put in place, everything else is closed, stage2 takes over.
//!
//! **Runs as** the inside, after the pivot. **Needs** what stage2 gets. **Leaves** stage2 with descriptors 0, 1, 2,
//! [`APPS_FD`], [`STATUS_FD`] and [`KEEPER_FD`], an empty environment, and all signals blocked that the keeper forwards: none is lost before
//! stage2 listens. **Undone by** nothing: it ends in exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd, RawFd};

use crate::error::Error;
use crate::plan::Plan;
use crate::sys;
use crate::trees::Handed;

/// The directory `apps/` in stage2, for its whole life.
pub(crate) const APPS_FD: RawFd = 3;
/// The directory `status/` in stage2.
pub(crate) const STATUS_FD: RawFd = 4;
/// A pipe that hangs up when the keeper is gone.
const KEEPER_FD: RawFd = 5;

/// Becomes stage2. A terminal becomes the standard streams.
pub(crate) fn to_stage2(
    plan: &Plan,
    handed: &Handed,
    keeper: &OwnedFd,
    terminal: Option<&OwnedFd>,
) -> Result<Infallible, Error> {
    let argv = arguments(plan)?;
    let failed = |e| Error::Handover(e);
    sys::close_at_exec_from(3).map_err(failed)?;
    if let Some(slave) = terminal {
        for number in 0..3 {
            sys::place(slave.as_fd(), number).map_err(failed)?;
        }
    }
    sys::default_action(libc::SIGPIPE);
    let program = place_all(handed, keeper).map_err(failed)?;
    let error = sys::execute(program.as_fd(), &argv, &[]);
    Err(Error::ExecStage2(error))
}

/// The sources are first lifted above the numbers they must go to, so that none is closed before it is placed.
fn place_all(handed: &Handed, keeper: &OwnedFd) -> std::io::Result<OwnedFd> {
    let lift = |from: &OwnedFd| sys::lift(from.as_fd(), KEEPER_FD + 1);
    let (apps, status) = (lift(&handed.apps)?, lift(&handed.status)?);
    let (keeper, program) = (lift(keeper)?, lift(&handed.stage2)?);
    sys::place(apps.as_fd(), APPS_FD)?;
    sys::place(status.as_fd(), STATUS_FD)?;
    sys::place(keeper.as_fd(), KEEPER_FD)?;
    Ok(program)
}

fn arguments(plan: &Plan) -> Result<Vec<CString>, Error> {
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
    let all = fixed.into_iter().chain(apps).map(CString::new);
    all.collect::<Result<_, _>>()
        .map_err(|e| Error::Handover(e.into()))
}
