//! `pod.json`: all that stage1 is told about a pod. Written by stage0, immutable once the pod is prepared.
//!
//! Everything is resolved: digests, numbers, absolute paths. Nothing here is looked up in a configuration again.

use serde::{Deserialize, Serialize};

use crate::{
    AppName, Capability, CredentialName, Device, IdMapChoice, Limits, Mount, NetworkName, Origins,
    PodId, PodName, ProcessAttributes, SecurityLabels, SocketName, Sysctl, Volume, VolumeSource,
};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodManifest {
    /// [`crate::CONTRACT_VERSION`] of the writer.
    pub version: u32,
    /// The pod's identity.
    pub id: PodId,
    /// The name given with `--name`.
    pub name: Option<PodName>,
    /// When stage0 wrote this file, RFC 3339, UTC.
    pub created: String,
    /// Host name inside the pod.
    pub hostname: String,
    /// Where the user and group ids come from.
    pub id_map: IdMapChoice,
    /// The pod's network.
    pub network: Network,
    /// Ports of the pod to be reached through the host; only with a CNI network.
    pub ports: Vec<PortMapping>,
    /// Directories or files that apps mount.
    pub volumes: Vec<Volume>,
    /// Bytes of `/dev/shm`, which the apps share.
    pub shm_size: u64,
    /// Kernel parameters of the pod's namespaces.
    pub sysctls: Vec<Sysctl>,
    /// The apps, in the order of the command line; at least one.
    pub apps: Vec<App>,
    /// What all apps together may use.
    pub limits: Limits,
    /// Seconds from the stop signal to `SIGKILL`.
    pub stop_timeout: u32,
    /// Remove the pod's directory when it has ended.
    pub remove: bool,
    /// What `--insecure-options` named: part of the pod's record for ever.
    pub insecure_options: Vec<InsecureOption>,
    /// Who asked for `hostname`, `network`, `stop_timeout` and each of `volumes`.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
}

impl PodManifest {
    /// Every image whose files the pod sees, with its layers: those of its apps, then those that are volumes.
    pub fn images(&self) -> impl Iterator<Item = (&Image, &[Layer])> {
        let apps = self
            .apps
            .iter()
            .map(|app| (&app.image, app.layers.as_slice()));
        let volumes = self.volumes.iter().filter_map(|v| match &v.source {
            VolumeSource::Image { image, layers } => Some((image, layers.as_slice())),
            VolumeSource::Host(_) | VolumeSource::Empty { .. } | VolumeSource::Tmpfs { .. } => None,
        });
        apps.chain(volumes)
    }
}

/// An exception from a rule of skua, asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InsecureOption {
    /// Run an image that no trust policy accepts.
    Image,
    /// Accept any TLS certificate of a registry.
    Tls,
    /// Speak plain HTTP to a registry that is not on the loopback interface.
    Http,
    /// No seccomp filter.
    Seccomp,
    /// All capabilities inside the pod's user namespace.
    Capabilities,
    /// No masked and no read-only paths.
    Paths,
    /// No Landlock domain.
    Landlock,
    /// Run without the limits that the host cannot enforce.
    Limits,
}

/// One app of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// Unique in the pod.
    pub name: AppName,
    /// Which image, and why it was trusted.
    pub image: Image,
    /// The image's layers, lowest first.
    pub layers: Vec<Layer>,
    /// The program and its arguments; not empty. A program without `/` is searched in the app's `PATH` inside its root.
    pub argv: Vec<String>,
    /// The whole environment, in order, names unique.
    pub environment: Vec<EnvironmentVariable>,
    /// User as the image or the command line gave it: a name of the app's `/etc/passwd` or a number; empty is 0.
    pub user: String,
    /// Group likewise; absent: the user's own.
    pub group: Option<String>,
    /// Further groups, names or numbers.
    pub supplementary_groups: Vec<String>,
    /// Absolute path inside the app's root, made if it is missing.
    pub working_directory: String,
    /// Signal number that asks the app to end.
    pub stop_signal: i32,
    /// Mount the root read-only.
    pub readonly_rootfs: bool,
    /// Give the app a terminal: the caller's, through a pseudo terminal of the pod.
    pub terminal: bool,
    /// Keep the caller's standard input; otherwise it is `/dev/null`.
    pub stdin: bool,
    /// Whoever runs the pod later has the streams: `terminal` is a wish then, fulfilled where standard input and output are
    /// terminals, and without that wish a standard input that is a terminal is not kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub streams_later: bool,
    /// What is mounted where; in mount order.
    pub mounts: Vec<Mount>,
    /// Capabilities that the app may hold, inside the pod's user namespace.
    pub capabilities: Vec<Capability>,
    /// Raise those capabilities as ambient for an app that does not run as user 0.
    pub ambient: bool,
    /// Set `no_new_privs`.
    pub no_new_privileges: bool,
    /// The seccomp filter.
    pub seccomp: SeccompChoice,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// What its process begins with.
    pub process: ProcessAttributes,
    /// Labels of security modules.
    pub labels: SecurityLabels,
    /// Devices of the host.
    pub devices: Vec<Device>,
    /// Paths that are masked or read-only by default, and not for this app.
    pub unmasked: Vec<String>,
    /// What this app may use, within the pod's limits.
    pub limits: Limits,
    /// Sockets of the unit that runs the pod, by the names that it gives them: the app's descriptors from 3 on, in this
    /// order. No two apps have the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sockets: Vec<SocketName>,
    /// Credentials of whoever runs the pod. Their contents are nowhere in its directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// It tells when it is ready and how it goes: the pod is not ready before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub notify: bool,
    /// Who asked for the fields above.
    #[serde(default, skip_serializing_if = "Origins::is_empty")]
    pub origins: Origins,
}

/// The image of an app and the evidence of its trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The reference as resolved: `host/repository:tag`, or the path of a layout or archive.
    pub reference: String,
    /// Digest of the image manifest, `sha256:…`.
    pub manifest: String,
    /// Digest of the image config.
    pub config: String,
    /// Why it was allowed to run.
    pub trust: Trust,
}

/// Why an image was allowed to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Trust {
    /// Signatures by keys of the policy.
    Signed {
        /// The prefix of the scope that decided.
        prefix: String,
        /// Fingerprints of the keys whose signatures were verified.
        keys: Vec<String>,
        /// The policy file.
        policy: String,
    },
    /// The scope asked for a digest in the reference, and there was one.
    DigestPinned {
        /// The prefix of the scope that decided.
        prefix: String,
        /// The policy file.
        policy: String,
    },
    /// The scope accepts anything.
    InsecureAcceptAnything {
        /// The prefix of the scope that decided.
        prefix: String,
        /// The policy file.
        policy: String,
    },
    /// `--insecure-options=image` on the command line.
    InsecureOption,
}

/// One unpacked layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layer {
    /// `sha256:…` of the uncompressed layer.
    pub diff_id: String,
    /// Absolute path of its tree.
    pub path: String,
}

/// A variable of an app's environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentVariable {
    /// Not empty, without `=` and NUL.
    pub name: String,
    /// Without NUL.
    pub value: String,
}

/// A credential that an app gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// What it is called where it comes from.
    pub source: CredentialName,
    /// What the app knows it as; unique in the app.
    pub name: CredentialName,
}

/// The network of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Network {
    /// A network namespace with a loopback interface only.
    None,
    /// The host's network namespace.
    Host,
    /// A network namespace connected by CNI plugins.
    Cni {
        /// In the order of the command line; at least one.
        networks: Vec<NetworkRequest>,
        /// Directories in which plugins are searched, first match wins.
        plugin_path: Vec<String>,
    },
}

/// One network that a pod joins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkRequest {
    /// The conflist's name.
    pub name: NetworkName,
    /// Absolute path of the conflist; absent: the built-in conflist `default`.
    pub conflist: Option<String>,
    /// `K=V` pairs of the command line (`IP=10.1.2.3`, `MAC=…`).
    pub arguments: Vec<(String, String)>,
}

/// A port of the pod that is reached through the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortMapping {
    /// Address of the host; absent: all.
    pub host_ip: Option<std::net::IpAddr>,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the pod.
    pub pod_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Which seccomp filter an app gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SeccompChoice {
    /// The built-in allow-list.
    Default,
    /// A profile in the containers' JSON format at an absolute path.
    Profile {
        /// The path.
        path: String,
    },
    /// None: only with [`InsecureOption::Seccomp`].
    Unconfined,
}

/// A resource limit (`setrlimit(2)`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// The kernel's name, such as `RLIMIT_NOFILE`.
    pub resource: String,
    /// Soft limit; absent: unlimited.
    pub soft: Option<u64>,
    /// Hard limit; absent: unlimited.
    pub hard: Option<u64>,
}
