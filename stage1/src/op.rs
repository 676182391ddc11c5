//! What stage1 does to the kernel, as data: the steps of a [`crate::plan::Plan`], each printable and each with its origin.

use std::fmt;

pub(crate) use pod::Origin;
use pod::{AppName, Credential, DeviceKind};
use serde::Serialize;

/// One step, and why it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// What is done.
    pub(crate) op: Op,
    /// Who asked for it.
    pub(crate) origin: Origin,
}

/// One step of the inside. Places that begin without `/` are below the staging directory, which is gone before stage2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "op", content = "args", rename_all = "kebab-case")]
pub(crate) enum Op {
    /// Cuts this mount namespace off from the host's.
    PrivateMounts,
    /// Brings the loopback interface up.
    LoopbackUp,
    /// Sets the host name.
    Hostname(String),
    /// Mounts the staging directory over the pod directory.
    Staging,
    /// Mounts a part of the staging directory as the private root, in which several apps have their roots.
    PrivateRoot,
    /// Attaches what stage2 gets as descriptors to the staging directory.
    StageHanded,
    /// Makes a directory for staging.
    StageDirectory(String),
    /// Makes an empty file for staging; it gets its content when the network is known.
    StageFile(HostFile),
    /// Attaches a tree to a staging directory.
    StageTree {
        /// Index in [`crate::plan::Plan::trees`].
        tree: usize,
        /// The staging directory.
        at: String,
    },
    /// Mounts a new file system on a staging directory, to be shared by apps.
    StageMount {
        /// What is mounted.
        mount: NewMount,
        /// The staging directory.
        at: String,
    },
    /// Gives a staging directory to a user and a group of the pod.
    SetOwner {
        /// The staging directory.
        at: String,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
    },
    /// Mounts the root of an app.
    Overlay {
        /// The app.
        app: App,
        /// Where, in the staging directory.
        at: String,
        /// Staging directories of the layers, uppermost first.
        lower: Vec<String>,
        /// Staging directory that takes the app's changes.
        upper: String,
        /// Staging directory that overlayfs needs beside it.
        work: String,
    },
    /// Mounts something in the root of an app.
    Mount {
        /// What.
        source: Source,
        /// Where.
        target: Target,
    },
    /// Makes a symbolic link in an app's `/dev`.
    Link {
        /// Where.
        target: Target,
        /// What it says.
        to: String,
    },
    /// Covers a file or directory, if it is there, with an empty one.
    Mask(Target),
    /// Makes a file or directory, if it is there, read-only.
    ReadOnly(Target),
    /// Sets a kernel parameter of the pod's namespaces through the `/proc` of an app, and reads it back.
    Sysctl {
        /// The app.
        app: App,
        /// Its name, with dots.
        name: String,
        /// Its value.
        value: String,
    },
    /// Mounts the layers of an image on a staging directory, read-only.
    StageImage {
        /// Staging directories of the layers, uppermost first.
        lower: Vec<String>,
        /// The staging directory.
        at: String,
    },
    /// Opens a terminal in an app's `/dev/pts` and makes it the standard streams of the pod.
    Terminal(App),
    /// Makes the root of an app read-only.
    ReadOnlyRoot(App),
    /// Makes this the root of pid 1; detaches the host's, and the staging directory with it.
    Pivot(Root),
}

/// The staging directory in which the root of pid 1 is mounted.
pub(crate) const ROOT: &str = "root";

/// The root of pid 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Root {
    /// The private root, made read-only: nothing is in it but the roots of the apps, each of which leaves it for its own.
    Private,
    /// The root of the only app: there is nobody to be kept from it, so pid 1 and the app share it and its mounts.
    Of(App),
}

/// An app of the pod, by its place in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct App {
    /// Index in the manifest.
    pub(crate) index: usize,
    /// Its name.
    pub(crate) name: AppName,
}

/// A place in the root of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Target {
    /// Which app.
    pub(crate) app: App,
    /// Absolute path, resolved inside the app's root and nowhere else.
    pub(crate) path: String,
    /// How it is found.
    pub(crate) find: Find,
}

/// How the target of a mount is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Find {
    /// A directory, made if it is missing; a symbolic link is refused.
    Plain,
    /// Whatever the source is, made if it is missing; symbolic links are resolved inside the root.
    Resolved,
    /// Must be there, without symbolic links.
    Existing,
    /// Made in the app's own `/dev`, which is new: it is not there, and nothing in it leads anywhere else.
    Own,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Source {
    /// A new file system.
    New(NewMount),
    /// A new file system with copies of these.
    Credentials(Vec<Credential>),
    /// A tree of the plan.
    Tree(usize),
    /// Another mount of a staged file or directory.
    Staged {
        /// The staging file or directory.
        path: String,
        /// Read-only.
        read_only: bool,
        /// Nothing in it can be executed.
        no_exec: bool,
    },
    /// A device of the host, checked by its numbers.
    Device {
        /// Where it is found.
        from: Node,
        /// What it must be.
        device: Device,
    },
}

/// Where a device is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Node {
    /// The host's own node, at this absolute path.
    Host(String),
    /// The same, and the pod's root must be allowed to read and write it.
    HostUsable(String),
    /// A node that the keeper made for the pod: a tree of the plan.
    Tree(usize),
}

/// A device, by its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Device {
    /// Block or character.
    pub(crate) kind: DeviceKind,
    /// Major and minor number.
    pub(crate) numbers: (u32, u32),
}

/// A file system to be mounted for the first time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NewMount {
    /// Its type.
    pub(crate) kind: FileSystem,
    /// Its options.
    pub(crate) options: Vec<(&'static str, String)>,
    /// Read-only.
    pub(crate) read_only: bool,
}

/// The file systems of which stage1 makes new mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FileSystem {
    /// `proc`, of the pod's pid namespace.
    Proc,
    /// `sysfs`, of the pod's network namespace.
    Sysfs,
    /// `cgroup2`, from the pod's cgroup down.
    Cgroup2,
    /// `tmpfs`.
    Tmpfs,
    /// `devpts`, an instance of its own.
    Devpts,
    /// `mqueue`, of the pod's IPC namespace.
    Mqueue,
}

impl FileSystem {
    /// The kernel's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
            Self::Cgroup2 => "cgroup2",
            Self::Tmpfs => "tmpfs",
            Self::Devpts => "devpts",
            Self::Mqueue => "mqueue",
        }
    }
}

/// A file below `/etc` that the host gives to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HostFile {
    /// `/etc/hostname`.
    Hostname,
    /// `/etc/hosts`.
    Hosts,
    /// `/etc/resolv.conf`.
    ResolvConf,
}

impl HostFile {
    /// Its name below `/etc`, and below the staging directory.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hostname => "hostname",
            Self::Hosts => "hosts",
            Self::ResolvConf => "resolv.conf",
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrivateMounts => f.write_str("make all mounts private"),
            Self::LoopbackUp => f.write_str("bring the loopback interface up"),
            Self::Hostname(name) => write!(f, "set the host name to {}", name.escape_debug()),
            Self::Staging => f.write_str("mount the staging directory"),
            Self::PrivateRoot => f.write_str("mount the private root"),
            Self::StageHanded => f.write_str("attach the descriptors of stage2"),
            Self::StageDirectory(path) => write!(f, "make staging directory {path}"),
            Self::StageFile(file) => write!(f, "make staging file {}", file.name()),
            Self::StageTree { tree, at } => {
                write!(f, "attach tree {tree} to staging directory {at}")
            }
            Self::StageMount { mount, at } => write!(f, "mount {mount} on staging directory {at}"),
            Self::SetOwner { at, uid, gid } => {
                write!(
                    f,
                    "give staging directory {at} to user {uid} and group {gid}"
                )
            }
            Self::Overlay {
                app, lower, upper, ..
            } => {
                let (name, lower) = (&app.name, lower.join(", "));
                write!(f, "mount the root of app {name} from {lower} below {upper}")
            }
            Self::Mount { source, target } => write!(f, "mount {source} on {target}"),
            Self::Link { target, to } => write!(f, "link {target} to {to}"),
            Self::Mask(target) => write!(f, "mask {target}"),
            Self::ReadOnly(target) => write!(f, "make {target} read-only"),
            Self::Sysctl { name, value, .. } => {
                write!(
                    f,
                    "set kernel parameter {name} to '{}'",
                    value.escape_debug()
                )
            }
            Self::StageImage { lower, at } => write!(
                f,
                "mount {} read-only on staging directory {at}",
                lower.join(", ")
            ),
            Self::Terminal(app) => write!(f, "open a terminal for app {}", app.name),
            Self::ReadOnlyRoot(app) => write!(f, "make the root of app {} read-only", app.name),
            Self::Pivot(Root::Private) => {
                f.write_str("make the private root the root and detach the host's")
            }
            Self::Pivot(Root::Of(app)) => {
                write!(
                    f,
                    "make the root of app {} the root and detach the host's",
                    app.name
                )
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of app {}", self.path.escape_debug(), self.app.name)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rights = |read_only: &bool| if *read_only { " read-only" } else { "" };
        match self {
            Self::New(mount) => mount.fmt(f),
            Self::Credentials(all) => {
                let one = |credential: &Credential| match &credential.source {
                    source if *source == credential.name => source.to_string(),
                    source => format!("{source} as {}", credential.name),
                };
                let all: Vec<_> = all.iter().map(one).collect();
                write!(f, "a new ramfs with credentials {}", all.join(", "))
            }
            Self::Tree(tree) => write!(f, "tree {tree}"),
            Self::Staged {
                path,
                read_only,
                no_exec,
            } => {
                let exec = if *no_exec { " without exec" } else { "" };
                write!(f, "staged {path}{}{exec}", rights(read_only))
            }
            Self::Device {
                from,
                device:
                    Device {
                        numbers: (major, minor),
                        ..
                    },
            } => write!(f, "{from} ({major}:{minor})"),
        }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(path) | Self::HostUsable(path) => {
                write!(f, "device {}", path.escape_debug())
            }
            Self::Tree(tree) => write!(f, "device of tree {tree}"),
        }
    }
}

impl fmt::Display for NewMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a new {}", self.kind.name())?;
        for (at, (key, value)) in self.options.iter().enumerate() {
            write!(f, "{}{key}={value}", if at == 0 { " " } else { "," })?;
        }
        f.write_str(if self.read_only { " read-only" } else { "" })
    }
}
