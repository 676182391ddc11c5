//! What was typed + what the images say → `pod.json`. Pure: nothing is looked up here.

mod app;
mod given;
mod mounts;
mod origins;
mod sandbox;

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;
use pod::{
    AppName, DeviceKind, IdMapChoice, InsecureOption, Limits, Network, Origins, PodId, PodManifest,
};

use crate::error::Error;
use crate::run_line::{AppLine, PodFlags};
use crate::typed::LimitFlags;
use mounts::Volumes;

/// Bytes of `/dev/shm` unless told otherwise.
const SHM_SIZE: u64 = 64 << 20;

/// A device node: what it is, and its major and minor number.
pub(crate) type Node = (DeviceKind, u32, u32);

/// The host's side of the decision: what the caller is and has.
pub(crate) struct Caller<'a> {
    /// The working directory: relative paths of the command line begin here.
    pub(crate) directory: PathBuf,
    /// Looks a variable of the environment up.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// Looks a device of the host up: what it is, and its numbers.
    pub(crate) device: &'a dyn Fn(&str) -> Result<Node, Error>,
    /// Whether somebody sits there.
    pub(crate) terminal: Terminal,
}

/// Whether the caller's standard input is a terminal, and its standard output is one too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    /// Standard input is none.
    None,
    /// Standard input is one, and what apps print goes elsewhere.
    ToType,
    /// Both are.
    ToTypeAndShow,
    /// The streams will be those of whoever runs the pod.
    Later,
}

impl Terminal {
    /// The caller's.
    pub(crate) fn of_caller() -> Self {
        match (io::stdin().is_terminal(), io::stdout().is_terminal()) {
            (false, _) => Self::None,
            (true, false) => Self::ToType,
            (true, true) => Self::ToTypeAndShow,
        }
    }

    /// The caller's, when apps will print elsewhere than we do now.
    pub(crate) fn of_later() -> Self {
        match io::stdin().is_terminal() {
            false => Self::None,
            true => Self::ToTypeAndShow,
        }
    }
}

/// One app as typed, with the image that was found for it.
pub(crate) struct Wanted {
    /// Its part of the command line.
    pub(crate) line: AppLine,
    /// What the manifest will say about the image.
    pub(crate) image: pod::Image,
    /// The part of the image's name from which the app's name is made.
    pub(crate) stem: String,
    /// The image's configuration.
    pub(crate) config: ImageConfiguration,
    /// Its layers, lowest first.
    pub(crate) layers: Vec<pod::Layer>,
}

/// A pod as typed, with everything that had to be looked up.
pub(crate) struct Draft<'a> {
    /// Its identity.
    pub(crate) id: PodId,
    /// When it is made, RFC 3339.
    pub(crate) created: String,
    /// The pod's flags.
    pub(crate) flags: &'a PodFlags,
    /// Seconds from the stop signal to `SIGKILL`.
    pub(crate) stop_timeout: u32,
    /// The network, with the paths of its conflists.
    pub(crate) network: Network,
    /// Where the ids come from.
    pub(crate) id_map: IdMapChoice,
    /// The exceptions asked for.
    pub(crate) insecure: &'a [InsecureOption],
    /// The images that are volumes, in the order of the command line.
    pub(crate) volume_images: Vec<(pod::Image, Vec<pod::Layer>)>,
    /// Who asked for what was looked up: `network` and `stop_timeout`.
    pub(crate) origins: Origins,
    /// The apps, in the order of the command line.
    pub(crate) apps: Vec<Wanted>,
}

/// The manifest of the pod that `draft` describes.
pub(crate) fn new(draft: Draft<'_>, caller: &Caller<'_>) -> Result<PodManifest, Error> {
    let flags = draft.flags;
    let names = app_names(&draft.apps)?;
    let stdin = standard_input(flags.interactive, draft.apps.len(), caller.terminal)?;
    let mut volumes = Volumes::declared(&flags.volume, draft.volume_images, &caller.directory)?;
    let mut apps = Vec::with_capacity(draft.apps.len());
    for (wanted, name) in draft.apps.into_iter().zip(names) {
        let mounts = volumes.mounts_of(&wanted, &caller.directory)?;
        let app = app::new(wanted, name, mounts, stdin, draft.insecure, caller)?;
        sandbox::devices_possible(&app, &draft.id_map)?;
        apps.push(app);
    }
    given::once(&apps)?;
    Ok(PodManifest {
        version: pod::CONTRACT_VERSION,
        hostname: host_name(flags, &draft.id),
        id: draft.id,
        name: flags.name.clone(),
        created: draft.created,
        id_map: draft.id_map,
        ports: ports(flags, &draft.network)?,
        network: draft.network,
        volumes: volumes.used()?,
        shm_size: flags.shm_size.map_or(SHM_SIZE, |size| size.0),
        sysctls: sandbox::sysctls(&flags.sysctl)?,
        origins: origins::of_pod(flags, &apps, draft.origins),
        apps,
        limits: limits(&flags.limits)?,
        stop_timeout: draft.stop_timeout,
        remove: flags.rm,
        insecure_options: draft.insecure.to_vec(),
    })
}

/// As the manifest says them.
pub(crate) fn limits(flags: &LimitFlags) -> Result<Limits, Error> {
    flags.limits().map_err(|why| Error::usage(why, None))
}

/// Whether the apps have standard input, and whether it is a terminal of their own; or what is wished, for later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StandardInput {
    kept: bool,
    terminal: bool,
    later: bool,
    typed: bool,
}

fn standard_input(
    interactive: bool,
    apps: usize,
    terminal: Terminal,
) -> Result<StandardInput, Error> {
    if interactive && apps > 1 {
        let hint = "start the pod without it, then use 'skua enter'";
        return Err(Error::usage(
            "--interactive is for a pod of one app",
            Some(hint),
        ));
    }
    Ok(StandardInput {
        kept: apps == 1 && (interactive || matches!(terminal, Terminal::None | Terminal::Later)),
        terminal: interactive && matches!(terminal, Terminal::ToTypeAndShow | Terminal::Later),
        later: apps == 1 && terminal == Terminal::Later,
        typed: interactive,
    })
}

fn host_name(flags: &PodFlags, id: &PodId) -> String {
    match (&flags.hostname, &flags.name) {
        (Some(typed), _) => typed.0.clone(),
        (None, Some(name)) => name.to_string(),
        (None, None) => format!("skua-{}", &id.as_str()[..8]),
    }
}

fn ports(flags: &PodFlags, network: &Network) -> Result<Vec<pod::PortMapping>, Error> {
    if !flags.publish.is_empty() && !matches!(network, Network::Cni { .. }) {
        let hint =
            "with --net=host the pod's ports are the host's; with --net=none nothing reaches it";
        return Err(Error::usage(
            "--publish needs a network of --net=NAME",
            Some(hint),
        ));
    }
    let mut ports: Vec<pod::PortMapping> = Vec::new();
    for typed in &flags.publish {
        let clash = ports.iter().any(|other| {
            (other.host_port, other.protocol) == (typed.0.host_port, typed.0.protocol)
                && (other.host_ip.is_none()
                    || typed.0.host_ip.is_none()
                    || other.host_ip == typed.0.host_ip)
        });
        if clash {
            let port = typed.0.host_port;
            return Err(Error::usage(
                format!("port {port} of the host is published twice"),
                None,
            ));
        }
        ports.push(typed.0.clone());
    }
    Ok(ports)
}

/// A name for each app: the one typed, else one made from the image's, with a number where that is taken.
fn app_names(apps: &[Wanted]) -> Result<Vec<AppName>, Error> {
    let mut taken: Vec<AppName> = Vec::new();
    for name in apps.iter().filter_map(|app| app.line.flags.name.as_ref()) {
        if taken.contains(name) {
            return Err(Error::usage(format!("two apps are named '{name}'"), None));
        }
        taken.push(name.clone());
    }
    let mut names = Vec::with_capacity(apps.len());
    for app in apps {
        let name = match &app.line.flags.name {
            Some(typed) => typed.clone(),
            None => {
                let free = free_name(&label(&app.stem), &taken)?;
                taken.push(free.clone());
                free
            }
        };
        names.push(name);
    }
    Ok(names)
}

fn free_name(label: &str, taken: &[AppName]) -> Result<AppName, Error> {
    let mut name = AppName::parse(label)?;
    let mut number = 2u32;
    while taken.contains(&name) {
        let suffix = format!("-{number}");
        let kept = label[..label.len().min(63 - suffix.len())].trim_end_matches('-');
        name = AppName::parse(&format!("{kept}{suffix}"))?;
        number += 1;
    }
    Ok(name)
}

/// `text` as a label: lower case, everything else a hyphen, 63 characters at most.
fn label(text: &str) -> String {
    let hyphenated: String = text
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_lowercase() || c.is_ascii_digit() {
                c
            } else {
                '-'
            }
        })
        .take(63)
        .collect();
    match hyphenated.trim_matches('-') {
        "" => "app".to_owned(),
        label => label.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
