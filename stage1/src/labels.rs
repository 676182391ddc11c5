//! Whether the security modules whose labels apps ask for are in force here. Stage2 sets the labels; where a module is not in
//! force its files may still be there, and a label would be lost.
//!
//! **Runs as** the keeper. **Needs** the host's `/sys`. **Leaves** nothing. **Undone by** nothing.

use std::fs;
use std::path::Path;

use pod::PodManifest;

use crate::error::Error;

/// Says `Y` where `AppArmor` is in force.
const APPARMOR: &str = "/sys/module/apparmor/parameters/enabled";
/// Is there where a policy of `SELinux` is loaded.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Refuses a label that nothing would enforce.
pub(crate) fn check(manifest: &PodManifest) -> Result<(), Error> {
    for app in &manifest.apps {
        let refuse = |module, label: &String| {
            Err(Error::NoSecurityModule {
                app: app.name.clone(),
                module,
                label: label.escape_debug().to_string(),
            })
        };
        match (&app.labels.apparmor, &app.labels.selinux) {
            (Some(label), _) if !apparmor() => return refuse("AppArmor", label),
            (_, Some(label)) if !Path::new(SELINUX).exists() => return refuse("SELinux", label),
            _ => {}
        }
    }
    Ok(())
}

fn apparmor() -> bool {
    fs::read_to_string(APPARMOR).is_ok_and(|text| text.trim_end() == "Y")
}
