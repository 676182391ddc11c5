//! What a manifest must not ask for, whoever wrote it: checked before anything is done.

use pod::{
    App, CREDENTIALS_PATH, Device, InsecureOption, Mount, Network, PodManifest, SeccompChoice,
    Sysctl, VolumeSource,
};

use super::insecure;
use crate::error::Error;

/// Where stage1 itself mounts: no volume may be there or below.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// What every app has in `/dev`.
const OWN_DEVICES: [&str; 15] = [
    "null",
    "zero",
    "full",
    "random",
    "urandom",
    "tty",
    "fd",
    "stdin",
    "stdout",
    "stderr",
    "ptmx",
    "pts",
    "mqueue",
    "shm",
    "skua-notify",
];

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
    let of_host = |sysctl: &&Sysctl| sysctl.name.as_str().starts_with("net.");
    if manifest.network == Network::Host
        && let Some(sysctl) = manifest.sysctls.iter().find(of_host)
    {
        return Err(Error::HostSysctl(sysctl.name.clone()));
    }
    let paths = manifest
        .volumes
        .iter()
        .flat_map(|volume| match &volume.source {
            VolumeSource::Host(host) => vec![&host.path],
            VolumeSource::Image { layers, .. } => layers.iter().map(|layer| &layer.path).collect(),
            VolumeSource::Empty { .. } | VolumeSource::Tmpfs { .. } => Vec::new(),
        });
    absolute(paths)
}

fn absolute<'a>(mut paths: impl Iterator<Item = &'a String>) -> Result<(), Error> {
    match paths.find(|path| !path.starts_with('/')) {
        Some(path) => Err(Error::RelativePath(path.escape_debug().to_string())),
        None => Ok(()),
    }
}

fn one_app(manifest: &PodManifest, app: &App) -> Result<(), Error> {
    if app.argv.is_empty() {
        return Err(Error::NoProgram(app.name.clone()));
    }
    if app.seccomp == SeccompChoice::Unconfined && !insecure(manifest, InsecureOption::Seccomp) {
        return Err(Error::NotInsecure(app.name.clone(), "seccomp"));
    }
    let claimed = manifest.apps.iter().flat_map(|app| &app.sockets);
    for name in &app.sockets {
        if claimed.clone().filter(|other| *other == name).count() > 1 {
            return Err(Error::SocketTwice(name.clone()));
        }
    }
    for (at, credential) in app.credentials.iter().enumerate() {
        let name = &credential.name;
        if app.credentials[..at]
            .iter()
            .any(|other| other.name == *name)
        {
            return Err(Error::CredentialTwice(app.name.clone(), name.clone()));
        }
    }
    absolute(app.layers.iter().map(|layer| &layer.path))?;
    absolute(app.devices.iter().map(|device| &device.host))?;
    app.devices
        .iter()
        .try_for_each(|device| one_device(app, device))?;
    app.mounts
        .iter()
        .try_for_each(|mount| one_mount(app, mount))
}

fn one_device(app: &App, device: &Device) -> Result<(), Error> {
    let refuse = |why| {
        let path = device.path.escape_debug().to_string();
        Err(Error::DevicePath {
            app: app.name.clone(),
            path,
            why,
        })
    };
    let Some(below) = device.path.strip_prefix("/dev/") else {
        return refuse("it is not below /dev");
    };
    let mut parts = below.split('/');
    if parts.clone().any(|part| matches!(part, "" | "." | "..")) {
        return refuse("it is not a plain path");
    }
    match parts.next() {
        Some(first) if OWN_DEVICES.contains(&first) => refuse("that is the pod's own"),
        _ => Ok(()),
    }
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
    let own = CREDENTIALS_PATH.split('/').skip(1).collect::<Vec<_>>();
    if !app.credentials.is_empty() && parts.clone().take(own.len()).eq(own) {
        return refuse("the app's credentials are there");
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
            no_exec: false,
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
    fn a_volume_cannot_hide_credentials_and_no_two_have_one_name() {
        let name = |name| pod::CredentialName::parse(name).unwrap();
        let mut pod = sample();
        pod.apps[0].credentials = vec![pod::Credential {
            source: name("a"),
            name: name("b"),
        }];
        for (path, good) in [
            ("/run", true),
            ("/run/credentials.d", true),
            ("/run/credentials", false),
            ("//run/./credentials/b", false),
        ] {
            pod.apps[0].mounts = vec![Mount {
                volume: pod::VolumeName::parse("data").unwrap(),
                path: path.to_owned(),
                read_only: false,
                no_exec: false,
            }];
            assert_eq!(manifest(&pod).is_ok(), good, "{path}");
        }
        pod.apps[0].mounts.clear();
        let again = pod.apps[0].credentials[0].clone();
        pod.apps[0].credentials.push(again);
        assert!(matches!(manifest(&pod), Err(Error::CredentialTwice(..))));
    }

    #[test]
    fn a_device_is_below_dev_and_covers_none_of_the_pod_s_own() {
        for (path, good) in [
            ("/dev/fuse", true),
            ("/dev/dri/card0", true),
            ("/dev", false),
            ("/dev/", false),
            ("/dev/../etc/x", false),
            ("/dev//x", false),
            ("/etc/x", false),
            ("/dev/null", false),
            ("/dev/pts/0", false),
            ("/dev/shm/x", false),
        ] {
            let mut pod = sample();
            pod.apps[0].devices = vec![Device {
                host: "/dev/fuse".to_owned(),
                path: path.to_owned(),
                kind: pod::DeviceKind::Character,
                major: 10,
                minor: 229,
                read: true,
                write: true,
            }];
            assert_eq!(manifest(&pod).is_ok(), good, "{path}");
        }
    }

    #[test]
    fn a_kernel_parameter_of_the_host_s_network_is_refused() {
        let mut pod = sample();
        pod.sysctls.push(Sysctl {
            name: pod::SysctlName::parse("net.ipv4.ip_forward").unwrap(),
            value: "1".to_owned(),
        });
        assert!(manifest(&pod).is_ok());
        pod.network = Network::Host;
        assert!(matches!(manifest(&pod), Err(Error::HostSysctl(_))));
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
    fn a_socket_is_claimed_once() {
        let mut pod = sample();
        let name = |name| pod::SocketName::parse(name).unwrap();
        pod.apps[0].sockets = vec![name("web"), name("tls")];
        assert!(manifest(&pod).is_ok());
        pod.apps[0].sockets.push(name("web"));
        assert!(matches!(manifest(&pod), Err(Error::SocketTwice(_))));
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
