//! What the sandbox of a pod or app has beyond the defaults.

use pod::{App, Device, IdMapChoice, ProcessAttributes, SecurityLabels, Sysctl};

use super::Caller;
use crate::error::Error;
use crate::run_line::AppFlags;
use crate::typed::{DeviceArg, SysctlArg};

/// Kernel parameters, each once.
pub(super) fn sysctls(typed: &[SysctlArg]) -> Result<Vec<Sysctl>, Error> {
    let mut sysctls: Vec<Sysctl> = Vec::new();
    for SysctlArg(sysctl) in typed {
        if sysctls.iter().any(|other| other.name == sysctl.name) {
            let name = &sysctl.name;
            return Err(Error::usage(format!("{name} is set twice"), None));
        }
        sysctls.push(sysctl.clone());
    }
    Ok(sysctls)
}

/// What the app's process begins with.
pub(super) fn process(flags: &AppFlags) -> ProcessAttributes {
    ProcessAttributes {
        umask: flags.umask.0,
        nice: flags.nice,
        oom_score_adj: flags.oom_score_adj,
    }
}

/// Its labels.
pub(super) fn labels(flags: &AppFlags) -> SecurityLabels {
    SecurityLabels {
        apparmor: flags.apparmor.clone(),
        selinux: flags.selinux_label.clone(),
    }
}

/// The devices as they are now: what their paths mean later does not matter.
pub(super) fn devices(typed: &[DeviceArg], caller: &Caller<'_>) -> Result<Vec<Device>, Error> {
    let mut devices: Vec<Device> = Vec::new();
    for asked in typed {
        let (kind, major, minor) = (caller.device)(&asked.host)?;
        if devices.iter().any(|other| other.path == asked.path) {
            let path = &asked.path;
            return Err(Error::usage(format!("two devices are on {path}"), None));
        }
        devices.push(Device {
            host: asked.host.clone(),
            path: asked.path.clone(),
            kind,
            major,
            minor,
            read: asked.read,
            write: asked.write,
        });
    }
    Ok(devices)
}

/// An ordinary user's pod gets the host's own node, whose mode is the host's; only root can make one for the pod.
pub(super) fn devices_possible(app: &App, id_map: &IdMapChoice) -> Result<(), Error> {
    let root = matches!(id_map, IdMapChoice::Range { .. });
    let partly = |device: &&Device| !(device.read && device.write);
    match app.devices.iter().find(partly) {
        Some(device) if !root => Err(Error::usage(
            format!(
                "--device {}: an ordinary user cannot give a part of the access that the device's node gives",
                device.host
            ),
            Some("give the device without :r or :w, or run the pod as root"),
        )),
        _ => Ok(()),
    }
}

/// Paths that are not hidden, each once. Which paths are hidden, stage1 knows.
pub(super) fn unmasked(typed: &[String]) -> Result<Vec<String>, Error> {
    let mut paths: Vec<String> = Vec::new();
    for path in typed {
        if !path.starts_with('/') {
            return Err(Error::usage(
                format!("--unmask={path} is not an absolute path"),
                None,
            ));
        }
        let path = path.trim_end_matches('/');
        if !paths.iter().any(|other| other == path) {
            paths.push(path.to_owned());
        }
    }
    Ok(paths)
}
