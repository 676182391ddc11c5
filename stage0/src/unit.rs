//! What a unit of systemd asks of its main process and skua does not do: said before anything is done, for nothing would come of
//! a socket that no app accepts from, and a manager that hears no watchdog kills the pod.

use std::{env, process};

use crate::error::Error;

/// Refuses a unit with sockets or a watchdog.
pub(crate) fn check() -> Result<(), Error> {
    if is_ours("LISTEN_PID") && number("LISTEN_FDS").is_some_and(|sockets| sockets > 0) {
        return Err(Error::Unit {
            what: "cannot hand the sockets of the unit to an app",
            hint: "start it without a .socket unit and without Sockets=; apps listen by themselves",
        });
    }
    if is_ours("WATCHDOG_PID") && number("WATCHDOG_USEC").is_some_and(|pause| pause > 0) {
        return Err(Error::Unit {
            what: "cannot watch apps for the unit's WatchdogSec=",
            hint: "leave WatchdogSec= out of the unit",
        });
    }
    Ok(())
}

/// Whether this variable names our process: others inherit the variables of a unit.
fn is_ours(name: &str) -> bool {
    number(name) == Some(u64::from(process::id()))
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}
