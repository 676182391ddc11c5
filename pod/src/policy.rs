//! `policy.toml`: bounds that no command line can exceed. Both stages check a manifest against them.
//!
//! ```text
//! /usr/lib/skua/policy.toml   the vendor's
//! /etc/skua/policy.toml       the administrator's: replaces the vendor's key by key
//! <a user's>/policy.toml      further bounds, which must hold too
//! ```
//!
//! A key that is absent sets no bound; an empty list allows nothing. Unknown keys are errors, so that a misspelt bound does
//! not pass for one.
//!
//! ```toml
//! networks = ["none", "pasta"]                  # what --net may name
//! capabilities = ["CAP_NET_BIND_SERVICE"]       # the most that an app may hold
//! insecure-options = []                         # the exceptions that may be made
//! seccomp = ["default", "/etc/skua/job.json"]   # the filters that may be chosen
//! host-volumes = [{ path = "/srv" }, { path = "/usr/share", read-only = true }]
//! devices = ["/dev/kvm"]                        # what --device may name
//! readonly-rootfs = true                        # required
//! no-new-privileges = true                      # required
//! stage1 = []                                   # further programs that --stage1 may name
//! memory = "2G"                                 # every pod must ask for --memory, and for no more; so each flag of limits
//! ```

mod limits;
mod load;
mod show;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    App, Capability, Device, InsecureOption, Limits, Network, PodManifest, SeccompChoice,
    VolumeSource,
};

/// The vendor's and the administrator's directory: no command line replaces them.
pub const SYSTEM: [&str; 2] = ["/usr/lib/skua", "/etc/skua"];

pub use limits::Whose;
use limits::{Bytes, Disks, Processes, Processors, Set, Weight};
pub use load::PolicyError;
use show::Show;
pub use show::Shown;

/// All bounds that are in force.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Each must hold.
    layers: Vec<Bounds>,
}

/// A bound, and the file that sets it.
#[derive(Clone, Debug)]
struct Bound<T> {
    value: T,
    file: PathBuf,
}

macro_rules! bounds {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $key:literal,)*) => {
        /// One file, as written.
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written { $(#[serde(rename = $key)] $field: Option<$type>,)* }

        /// The bounds of one layer.
        #[derive(Clone, Debug, Default)]
        struct Bounds { $($(#[$doc])* $field: Option<Bound<$type>>,)* }

        impl Bounds {
            /// Replaces those that the file sets.
            fn apply(&mut self, written: Written, file: &Path) {
                $(if let Some(value) = written.$field {
                    self.$field = Some(Bound { value, file: file.to_owned() });
                })*
            }

            /// For people.
            fn shown(&self) -> Vec<Shown> {
                let mut all = Vec::new();
                $(if let Some(bound) = &self.$field {
                    all.push(Shown { key: $key, value: Show::show(&bound.value), file: bound.file.clone() });
                })*
                all
            }
        }
    };
}

bounds! {
    /// What `--net` may name.
    networks: Vec<String> = "networks",
    /// The most that an app may hold.
    capabilities: Vec<Capability> = "capabilities",
    /// The exceptions that may be made.
    insecure_options: Vec<InsecureOption> = "insecure-options",
    /// `default` and paths of profiles.
    seccomp: Vec<String> = "seccomp",
    /// What of the host may be a volume.
    host_volumes: Vec<HostVolumes> = "host-volumes",
    /// Devices of the host that apps may have.
    devices: Vec<PathBuf> = "devices",
    /// Every app must have a read-only root.
    readonly_rootfs: bool = "readonly-rootfs",
    /// Every app must have `no_new_privs`.
    no_new_privileges: bool = "no-new-privileges",
    /// Programs that `--stage1` may name.
    stage1: Vec<PathBuf> = "stage1",
    /// Bytes of memory of a pod.
    memory: Bytes = "memory",
    /// Bytes from which on it is slowed down.
    memory_high: Bytes = "memory-high",
    /// Bytes of swap.
    memory_swap: Bytes = "memory-swap-max",
    /// Processor time.
    cpus: Processors = "cpus",
    /// Share of contended processors.
    cpu_weight: Weight = "cpu-weight",
    /// Processors to run on.
    cpuset_cpus: Set = "cpuset-cpus",
    /// Memory nodes to use.
    cpuset_mems: Set = "cpuset-mems",
    /// Processes and threads.
    processes: Processes = "pids-limit",
    /// Rates of disks.
    disks: Disks = "io-max",
    /// Share of contended disks.
    io_weight: Weight = "io-weight",
}

/// A directory of the host that may be a volume, with all below it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HostVolumes {
    path: PathBuf,
    #[serde(default)]
    read_only: bool,
}

/// What exceeds a bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was asked for, and for what.
    pub what: String,
    /// The key of the bound.
    pub key: &'static str,
    /// The file that sets it.
    pub file: PathBuf,
    /// What it says about it, and what to do.
    pub rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            key,
            file,
            rule,
        } = self;
        write!(f, "{what}: '{key}' of {} {rule}", file.display())
    }
}

impl std::error::Error for Violation {}

impl Policy {
    /// The host's policy: what only root can have written.
    ///
    /// # Errors
    /// [`PolicyError`]: a policy that cannot be understood is never taken for none.
    pub fn of_host() -> Result<Self, PolicyError> {
        let mut bounds = Bounds::default();
        for directory in SYSTEM {
            bounds.load(Path::new(directory), &[0])?;
        }
        Ok(Self {
            layers: vec![bounds],
        })
    }

    /// With the bounds of further directories, which may belong to `user`. They cannot take any away.
    ///
    /// # Errors
    /// As [`Policy::of_host`].
    pub fn tightened(mut self, directories: &[PathBuf], user: u32) -> Result<Self, PolicyError> {
        for directory in directories {
            let mut bounds = Bounds::default();
            bounds.load(directory, &[0, user])?;
            self.layers.push(bounds);
        }
        Ok(self)
    }

    /// Every bound in force, for people.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        self.layers.iter().flat_map(Bounds::shown).collect()
    }

    /// Whether everything that the pod asks for is within the bounds.
    ///
    /// # Errors
    /// [`Violation`]: the first that is not.
    pub fn check(&self, pod: &PodManifest) -> Result<(), Violation> {
        self.check_insecure(&pod.insecure_options)?;
        self.check_limits(Whose::Pod, &pod.limits)?;
        for app in &pod.apps {
            self.check_limits(Whose::App(app.name.as_str()), &app.limits)?;
        }
        self.check_enforced(&pod.insecure_options)?;
        for bounds in &self.layers {
            bounds.network(&pod.network)?;
            pod.apps.iter().try_for_each(|app| bounds.app(app))?;
        }
        for volume in &pod.volumes {
            if let VolumeSource::Host(host) = &volume.source {
                let mounts = pod.apps.iter().flat_map(|app| &app.mounts);
                let mut mounts = mounts.filter(|mount| mount.volume == volume.name);
                let read_only = host.read_only || mounts.all(|mount| mount.read_only);
                self.check_host_volume(&resolved(Path::new(&host.path)), read_only)?;
            }
        }
        Ok(())
    }

    /// Whether these exceptions may be made.
    ///
    /// # Errors
    /// [`Violation`]: the first that may not.
    pub fn check_insecure(&self, options: &[InsecureOption]) -> Result<(), Violation> {
        let bounds = self
            .layers
            .iter()
            .filter_map(|b| b.insecure_options.as_ref());
        for bound in bounds {
            if let Some(option) = options.iter().find(|option| !bound.value.contains(option)) {
                let name = format!("{option:?}").to_ascii_lowercase();
                return Err(bound.violated("insecure-options", format!("insecure option {name}")));
            }
        }
        Ok(())
    }

    /// Whether what a pod, or an app of one, may use is within the bounds, and says so where there is one.
    ///
    /// # Errors
    /// [`Violation`]: the first limit that is too high, or missing.
    pub fn check_limits(&self, whose: Whose<'_>, asked: &Limits) -> Result<(), Violation> {
        let mut layers = self.layers.iter();
        layers.try_for_each(|bounds| bounds.limits(whose, asked))
    }

    /// Whether limits may be given up where they cannot be had: not those that a bound is for.
    ///
    /// # Errors
    /// [`Violation`]: the first bound that would be lost.
    pub fn check_enforced(&self, options: &[InsecureOption]) -> Result<(), Violation> {
        match options.contains(&InsecureOption::Limits) {
            true => self.layers.iter().try_for_each(Bounds::enforced),
            false => Ok(()),
        }
    }

    /// Whether what is really at `path`, a path without symbolic links, may be a volume.
    ///
    /// # Errors
    /// [`Violation`]: it may not, or not writable.
    pub fn check_host_volume(&self, path: &Path, read_only: bool) -> Result<(), Violation> {
        let bounds = self.layers.iter().filter_map(|b| b.host_volumes.as_ref());
        for bound in bounds {
            let below = |allowed: &&HostVolumes| path.starts_with(resolved(&allowed.path));
            let mut allowed = bound.value.iter().filter(below);
            if allowed
                .clone()
                .any(|allowed| read_only || !allowed.read_only)
            {
                continue;
            }
            let what = match allowed.next() {
                None => format!("host volume {}", path.display()),
                Some(_) => format!("writable host volume {}", path.display()),
            };
            return Err(bound.violated("host-volumes", what));
        }
        Ok(())
    }

    /// Whether a program other than skua's own may be stage1.
    ///
    /// # Errors
    /// [`Violation`]: it may not.
    pub fn check_stage1(&self, program: &Path) -> Result<(), Violation> {
        let program = resolved(program);
        let bounds = self.layers.iter().filter_map(|b| b.stage1.as_ref());
        for bound in bounds {
            if !bound
                .value
                .iter()
                .any(|allowed| resolved(allowed) == program)
            {
                let what = format!("stage1 {}", program.display());
                return Err(bound.violated("stage1", what));
            }
        }
        Ok(())
    }
}

/// The path without symbolic links; as it is, when it cannot be resolved.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl<T> Bound<T> {
    fn violated(&self, key: &'static str, what: String) -> Violation {
        self.refused(key, what, "does not allow it".to_owned())
    }

    fn refused(&self, key: &'static str, what: String, rule: String) -> Violation {
        let file = self.file.clone();
        Violation {
            what,
            key,
            file,
            rule,
        }
    }
}

impl Bounds {
    fn network(&self, network: &Network) -> Result<(), Violation> {
        let Some(bound) = &self.networks else {
            return Ok(());
        };
        let names: Vec<&str> = match network {
            Network::None => vec!["none"],
            Network::Host => vec!["host"],
            Network::Cni { networks, .. } => networks.iter().map(|n| n.name.as_str()).collect(),
        };
        let allowed = |name: &str| bound.value.iter().any(|allowed| allowed == name);
        match names.iter().find(|name| !allowed(name)) {
            Some(name) => Err(bound.violated("networks", format!("network {name}"))),
            None => Ok(()),
        }
    }

    fn app(&self, app: &App) -> Result<(), Violation> {
        let name = &app.name;
        if let Some(bound) = &self.capabilities {
            let mut beyond = app.capabilities.iter().filter(|c| !bound.value.contains(c));
            if let Some(capability) = beyond.next() {
                let what = format!("{} for app {name}", capability.name());
                return Err(bound.violated("capabilities", what));
            }
        }
        if let Some(bound) = &self.seccomp {
            let chosen = match &app.seccomp {
                SeccompChoice::Default => "default",
                SeccompChoice::Profile { path } => path,
                SeccompChoice::Unconfined => "unconfined",
            };
            if !bound.value.iter().any(|allowed| allowed == chosen) {
                let what = format!("seccomp {} for app {name}", chosen.escape_debug());
                return Err(bound.violated("seccomp", what));
            }
        }
        if let Some(bound) = &self.devices {
            let beyond = |device: &&Device| !bound.value.contains(&PathBuf::from(&device.host));
            if let Some(device) = app.devices.iter().find(beyond) {
                let what = format!("device {} for app {name}", device.host.escape_debug());
                return Err(bound.violated("devices", what));
            }
        }
        let required = |bound: &Option<Bound<bool>>| bound.clone().filter(|bound| bound.value);
        if let Some(bound) = required(&self.readonly_rootfs).filter(|_| !app.readonly_rootfs) {
            let what = format!("a writable root for app {name}");
            return Err(bound.violated("readonly-rootfs", what));
        }
        if let Some(bound) = required(&self.no_new_privileges).filter(|_| !app.no_new_privileges) {
            let what = format!("new privileges for app {name}");
            return Err(bound.violated("no-new-privileges", what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
