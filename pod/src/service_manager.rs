//! The service manager that started skua: both stages tell it how their part goes, in one process after the other.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process;
use std::time::Duration;

use crate::NOTIFY_VARIABLE;

/// A manager that does not read for so long is not waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nor for so long, when that was known before.
const LESS_PATIENCE: Duration = Duration::from_millis(100);

/// Within how many microseconds the manager wants a sign of life (`sd_watchdog_enabled(3)`).
pub const WATCHDOG_VARIABLE: &str = "WATCHDOG_USEC";
/// Of which process; absent: of whoever has the other variable.
pub const WATCHDOG_PID_VARIABLE: &str = "WATCHDOG_PID";

/// Within how many microseconds the manager of our environment wants a sign of life of this process; `None`: it wants none.
#[must_use]
pub fn watchdog() -> Option<u64> {
    let number = |name| Some(std::env::var_os(name)?.to_str()?.parse::<u64>().ok());
    // The variables of a unit are inherited by what its main process starts.
    let ours = match number(WATCHDOG_PID_VARIABLE) {
        None => true,
        Some(pid) => pid == Some(process::id().into()),
    };
    let pause = number(WATCHDOG_VARIABLE).flatten();
    pause.filter(|pause| ours && *pause > 0)
}

/// Where a service manager listens: `sd_notify(3)`.
#[derive(Debug)]
pub struct ServiceManager {
    socket: UnixDatagram,
    address: SocketAddr,
    /// As it was given.
    pub typed: OsString,
}

impl ServiceManager {
    /// The one of our environment; `None`: nobody wants to know.
    ///
    /// # Errors
    /// What was given, and why nothing can be sent there.
    pub fn of_environment() -> Option<Result<Self, (OsString, io::Error)>> {
        let typed = std::env::var_os(NOTIFY_VARIABLE)?;
        Some(match open(&typed) {
            Ok((socket, address)) => Ok(Self {
                socket,
                address,
                typed,
            }),
            Err(error) => Err((typed, error)),
        })
    }

    /// Waits less from now on: it does not read, or not soon.
    ///
    /// # Errors
    /// When the kernel does not let us.
    pub fn wait_less(&self) -> io::Result<()> {
        self.socket.set_write_timeout(Some(LESS_PATIENCE))
    }

    /// Tells it assignments, one on a line.
    ///
    /// # Errors
    /// When it is not there, or does not read in time (`WouldBlock`).
    pub fn tell(&self, state: &str) -> io::Result<()> {
        let sent = self.socket.send_to_addr(state.as_bytes(), &self.address);
        sent.map(drop)
    }
}

fn open(typed: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match typed.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(typed)?,
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => {
            let why = "it is neither a path nor @ and a name";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok((socket, address))
}
