//! What apps claim of what the unit gives.

use pod::{
    App, CREDENTIALS_DIRECTORY, Credential, LISTEN_VARIABLES, NOTIFY_VARIABLE,
    WATCHDOG_PID_VARIABLE, WATCHDOG_VARIABLE,
};

use crate::error::Error;
use crate::run_line::AppFlags;

/// A socket is for one app: two that accept from it would take each other's connections.
pub(super) fn once(apps: &[App]) -> Result<(), Error> {
    let mut seen = Vec::new();
    for name in apps.iter().flat_map(|app| &app.sockets) {
        if seen.contains(&name) {
            return Err(Error::usage(
                format!("--socket {name} is there twice: one app gets it, once"),
                Some("a unit gives each of its sockets a name with FileDescriptorName="),
            ));
        }
        seen.push(name);
    }
    Ok(())
}

/// The credentials of an app, each of another name there.
pub(super) fn credentials(flags: &AppFlags) -> Result<Vec<Credential>, Error> {
    let mut all: Vec<Credential> = Vec::new();
    for typed in &flags.credential {
        let claimed = &typed.0;
        if all.iter().any(|other| other.name == claimed.name) {
            return Err(Error::usage(
                format!(
                    "--credential {}: the app has another of that name",
                    claimed.name
                ),
                Some("--credential NAME:OTHER gives it another name in the app"),
            ));
        }
        all.push(claimed.clone());
    }
    Ok(all)
}

/// What an app with `--notify` finds where to tell how it goes, and how often.
const NOTIFY_VARIABLES: [&str; 3] = [NOTIFY_VARIABLE, WATCHDOG_VARIABLE, WATCHDOG_PID_VARIABLE];

/// What is said about sockets, credentials and the service manager is said once, by us.
pub(super) fn variables(flags: &AppFlags) -> Result<(), Error> {
    for typed in &flags.environment {
        let name = typed.name.as_str();
        let by = match () {
            () if !flags.socket.is_empty() && LISTEN_VARIABLES.contains(&name) => "--socket",
            () if !flags.credential.is_empty() && name == CREDENTIALS_DIRECTORY => "--credential",
            () if flags.notify && NOTIFY_VARIABLES.contains(&name) => "--notify",
            () => continue,
        };
        return Err(Error::usage(
            format!("--environment {name}: {by} sets it"),
            Some("leave one of the two out"),
        ));
    }
    Ok(())
}
