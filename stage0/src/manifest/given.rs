//! What apps claim of what the unit gives.

use pod::App;

use crate::error::Error;

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
