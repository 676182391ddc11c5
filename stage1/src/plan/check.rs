//! What a manifest must not ask for, whoever wrote it: checked before anything is done.

use pod::{App, InsecureOption, Mount, PodManifest, SeccompChoice, VolumeSource};

use super::insecure;
use crate::error::Error;

/// Where stage1 itself mounts: no volume may be there or below.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Checks everything that does not depend on the host.
pub(super) fn manifest(manifest: &PodManifest) -> Result<(), Error> {
    if manifest.apps.is_empty() {
        return Err(Error::NoApps);
    }
    if manifest.apps.iter().filter(|app| app.terminal).count() > 1 {
        return Err(Error::Terminals);
    }
    for (at, app) in manifest.apps.iter().enumerate() {
        if manifest.apps[..at]
            .iter()
            .any(|other| other.name == app.name)
        {
            return Err(Error::AppTwice(app.name.clone()));
        }
        one_app(manifest, app)?;
    }
    manifest
        .volumes
        .iter()
        .try_for_each(|volume| match &volume.source {
            VolumeSource::Host(host) if !host.path.starts_with('/') => {
                Err(Error::RelativePath(host.path.escape_debug().to_string()))
            }
            _ => Ok(()),
        })
}

fn one_app(manifest: &PodManifest, app: &App) -> Result<(), Error> {
    if app.argv.is_empty() {
        return Err(Error::NoProgram(app.name.clone()));
    }
    if app.seccomp == SeccompChoice::Unconfined && !insecure(manifest, InsecureOption::Seccomp) {
        return Err(Error::NotInsecure(app.name.clone(), "seccomp"));
    }
    if let Some(layer) = app.layers.iter().find(|layer| !layer.path.starts_with('/')) {
        return Err(Error::RelativePath(layer.path.escape_debug().to_string()));
    }
    app.mounts
        .iter()
        .try_for_each(|mount| one_mount(app, mount))
}

fn one_mount(app: &App, mount: &Mount) -> Result<(), Error> {
    let refuse = |why| {
        let path = mount.path.escape_debug().to_string();
        Err(Error::MountPath {
            app: app.name.clone(),
            path,
            why,
        })
    };
    if !mount.path.starts_with('/') {
        return refuse("it is not absolute");
    }
    let mut parts = mount
        .path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".");
    if parts.clone().any(|part| part == "..") {
        return refuse("it has '..' in it");
    }
    let Some(first) = parts.next() else {
        return refuse("it is the root");
    };
    if RESERVED.iter().any(|reserved| &reserved[1..] == first) {
        return refuse("/proc, /sys and /dev are the pod's own");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::manifest as sample;

    fn with_mount(path: &str) -> Result<(), Error> {
        let mut pod = sample();
        let volume = pod::VolumeName::parse("data").unwrap();
        pod.apps[0].mounts = vec![Mount {
            volume,
            path: path.to_owned(),
            read_only: false,
        }];
        manifest(&pod)
    }

    #[test]
    fn a_volume_cannot_cover_what_the_pod_mounts_itself() {
        for bad in [
            "",
            "data",
            "/",
            "//",
            "/.",
            "/proc",
            "/proc/sys",
            "//sys",
            "/./dev/shm",
            "/a/../proc",
        ] {
            assert!(with_mount(bad).is_err(), "{bad:?}");
        }
        for good in ["/data", "/process", "/a/proc", "/device/"] {
            assert!(with_mount(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn an_unconfined_app_needs_the_insecure_option() {
        let mut pod = sample();
        pod.apps[0].seccomp = SeccompChoice::Unconfined;
        assert!(manifest(&pod).is_err());
        pod.insecure_options.push(InsecureOption::Seccomp);
        assert!(manifest(&pod).is_ok());
    }

    #[test]
    fn two_apps_of_one_name_and_two_terminals_are_refused() {
        let mut pod = sample();
        pod.apps.push(pod.apps[0].clone());
        assert!(matches!(manifest(&pod), Err(Error::AppTwice(_))));
        for app in &mut pod.apps {
            app.terminal = true;
        }
        assert!(matches!(manifest(&pod), Err(Error::Terminals)));
    }
}
