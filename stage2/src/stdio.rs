//! Session, standard input and controlling terminal of an app.
//!
//! **Runs as** the pod's user 0. **Needs** the app's root entered and 0, 1, 2 open.
//! **Leaves** a new session; standard input is kept, or the root's own `/dev/null`. **Undone by** nothing: exec follows.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, major, minor};
use nix::unistd::{Uid, dup2_stdin, fchown, setsid};
use pod::AppFile;

use crate::error::Error;
use crate::root::Root;
use crate::sys;
use crate::user::{self, Identity};

/// Attaches the standard streams as the app file says.
pub(crate) fn attach(app: &AppFile, root: &Root) -> Result<(), Error> {
    session().map_err(Error::Session)?;
    if app.terminal {
        return sys::set_controlling_terminal().map_err(Error::ControllingTerminal);
    }
    if app.stdin {
        return Ok(());
    }
    let null = root
        .open(
            "/dev/null",
            OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK,
        )
        .map_err(Error::Stdin)?;
    let found = fstat(&null).map_err(Error::Stdin)?;
    let device = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
    if device != SFlag::S_IFCHR || (major(found.st_rdev), minor(found.st_rdev)) != (1, 3) {
        return Err(Error::NotNullDevice);
    }
    dup2_stdin(null).map_err(Error::Stdin)
}

/// Gives the terminal to the app's user, who may open it again then, as `/dev/tty` may anybody who it controls. Its group stays.
pub(crate) fn own(app: &AppFile, user: &Identity) -> Result<(), Error> {
    // A map of one id has no other owner.
    if !app.terminal || user::single(&app.id_map) {
        return Ok(());
    }
    let owner = Uid::from_raw(user.uid);
    fchown(sys::standard(0), Some(owner), None).map_err(Error::OwnTerminal)
}

/// A new session: no controlling terminal, so nothing can be typed into one. EPERM: we lead one already (`enter`).
fn session() -> Result<(), Errno> {
    match setsid() {
        Ok(_) | Err(Errno::EPERM) => Ok(()),
        Err(error) => Err(error),
    }
}
