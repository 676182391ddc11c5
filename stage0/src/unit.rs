//! What a unit of systemd asks of its main process and skua does not do: said before anything is done, for a manager that hears
//! no watchdog kills the pod.

use std::{env, process};

use crate::error::Error;

/// Refuses a unit with a watchdog.
pub(crate) fn check() -> Result<(), Error> {
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
