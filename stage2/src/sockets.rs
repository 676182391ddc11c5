//! Sockets of the unit that runs the pod: an app's descriptors from 3 on, with the variables that say so (`sd_listen_fds(3)`).
//!
//! **Runs as** pid 1, then the app's process. **Needs** what stage1 handed over. **Leaves** each socket in one app, and in no other
//! process. **Undone by** the end of the app.

use std::os::fd::OwnedFd;

use nix::sys::stat::{SFlag, fstat};
use pod::{AppFile, AppName, LISTEN_VARIABLES, SocketName};

use crate::error::Error;
use crate::sys;

/// The first descriptor of an app after its standard streams.
pub(crate) const FIRST: i32 = 3;

/// A socket, or the FIFO that a unit has instead.
pub(crate) struct Socket {
    /// Whose it is.
    pub(crate) app: AppName,
    /// What the unit calls it.
    pub(crate) name: SocketName,
    /// The only hold on it that this process has.
    pub(crate) descriptor: OwnedFd,
}

/// Takes those of an app out of `all`: what its file names must be there.
pub(crate) fn of_app(app: &AppFile, all: &mut Vec<Socket>) -> Result<Vec<Socket>, Error> {
    let mut own = Vec::new();
    for name in &app.sockets {
        let found = all.extract_if(.., |socket| socket.app == app.name && socket.name == *name);
        let before = own.len();
        own.extend(found);
        if own.len() == before {
            return Err(Error::NoSocket(app.name.clone(), name.clone()));
        }
    }
    for socket in &own {
        accepted(socket)?;
    }
    Ok(own)
}

/// Whatever gave it to us: a directory, or a file, would be a way out of the pod.
fn accepted(socket: &Socket) -> Result<(), Error> {
    let found = fstat(&socket.descriptor).map_err(|e| Error::Socket(socket.name.clone(), e))?;
    match SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFSOCK | SFlag::S_IFIFO => Ok(()),
        _ => Err(Error::NotASocket(socket.name.clone())),
    }
}

/// In the app's process: puts them from [`FIRST`] on, where they stay open; what lay there is above `least` by then. The first
/// free number.
pub(crate) fn place(sockets: &[Socket], least: i32) -> Result<i32, nix::errno::Errno> {
    let lifted = sockets.iter();
    let lifted = lifted.map(|socket| sys::duplicate_above(&socket.descriptor, least));
    let lifted = lifted.collect::<Result<Vec<_>, _>>()?;
    let mut number = FIRST;
    for socket in lifted {
        sys::keep_as(&socket, number)?;
        number += 1;
    }
    Ok(number)
}

/// How the app's environment tells of them, in the process that is the app: its pid is that of the pod's own namespace.
pub(crate) fn tell(sockets: &[Socket], environment: &mut Vec<String>) {
    if sockets.is_empty() {
        return;
    }
    let names: Vec<_> = sockets.iter().map(|socket| socket.name.as_str()).collect();
    // Those of the image, or of the caller, are about other sockets.
    environment.retain(|entry| {
        let name = entry.split('=').next().unwrap_or_default();
        !LISTEN_VARIABLES.contains(&name)
    });
    for (name, value) in [
        ("LISTEN_PID", std::process::id().to_string()),
        ("LISTEN_FDS", sockets.len().to_string()),
        ("LISTEN_FDNAMES", names.join(":")),
    ] {
        environment.push(format!("{name}={value}"));
    }
}
