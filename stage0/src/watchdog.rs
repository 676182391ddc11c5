//! The watchdog of a unit of systemd (`WatchdogSec=`): a manager that hears no sign of life kills the pod, so one must be
//! expected of an app.

use crate::error::Error;

/// Refuses a unit with a watchdog for a pod of which no app tells how it goes.
pub(crate) fn check(apps_that_tell: impl IntoIterator<Item = bool>) -> Result<(), Error> {
    match pod::watchdog() {
        Some(_) if !apps_that_tell.into_iter().any(|tells| tells) => Err(Error::Unit {
            what: "cannot watch apps for the unit's WatchdogSec=: no app tells how it goes",
            hint: "give an app that sends WATCHDOG=1 the flag --notify, after its image, or leave WatchdogSec= out of the unit",
        }),
        Some(_) | None => Ok(()),
    }
}
