//! Every path of a data directory and of a pod directory, in one place.

use std::path::{Path, PathBuf};

use crate::{AppName, NetworkName, PodId, State};

/// Environment variable that tells stage1 the number of the inherited descriptor that holds the pod's lock.
pub const LOCK_FD_VARIABLE: &str = "SKUA_LOCK_FD";

/// Environment variable that tells stage1 which sockets of the unit it has inherited, for the apps that claim them:
/// [`crate::list_descriptors`].
pub const SOCKETS_VARIABLE: &str = "SKUA_SOCKETS";

/// Environment variable that tells stage1 which open files it has inherited as credentials of apps:
/// [`crate::list_descriptors`].
pub const CREDENTIALS_VARIABLE: &str = "SKUA_CREDENTIALS";

/// The directory of an app's root in which it finds its credentials, and the variable that tells it so; to whoever runs the
/// pod, systemd tells with the same where they come from.
pub const CREDENTIALS_PATH: &str = "/run/credentials";
/// See [`CREDENTIALS_PATH`].
pub const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What tells a process which sockets it got (`sd_listen_fds(3)`): of the process, of its pidfd, how many, and their names. Who
/// sets some of them lets none of the others stand.
pub const LISTEN_VARIABLES: [&str; 4] = [
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// The most bytes of a credential; systemd's bound for all of a unit.
pub const MAX_CREDENTIAL: u64 = 1 << 20;

/// Environment variable that is set, to anything, when the stages are asked to say more: `--debug`.
pub const DEBUG_VARIABLE: &str = "SKUA_DEBUG";

/// Environment variable that is `json` when the stages are asked to print errors so: `--error-format=json`.
pub const ERROR_FORMAT_VARIABLE: &str = "SKUA_ERROR_FORMAT";

/// Where the service manager that started us listens (`sd_notify(3)`). No process gets it but skua and the keeper; an app that
/// tells how it goes has a socket of its own under the same name.
pub const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// The hint of an error "no such system call" (`ENOSYS`), whichever stage gets it.
pub const FILTERED_HINT: &str = "a filter of system calls around skua, or an old kernel, has not all that it needs: the options \
    RestrictSUIDSGID= (part of DynamicUser=) and RestrictNamespaces= of a unit are such filters";

/// The file below `apps/` with the names of system calls by number, a JSON object; with [`DEBUG_VARIABLE`] only. No app has a
/// name with a dot.
pub const SYSTEM_CALLS: &str = "system-calls.json";

/// A data directory: `/var/lib/skua` or `$XDG_DATA_HOME/skua`.
///
/// ```text
/// store/                       images, see crate images
/// pods/<state>/<id>/           pods, see PodDir
/// skeleton/                    the lowest layer of every app, made by stage1
/// scratch-<pid>-<number>/      what is not finished: in use ⇔ somebody holds the directory's flock
/// ```
#[derive(Clone, Debug)]
pub struct DataDir(pub PathBuf);

impl DataDir {
    /// The image store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// All pods.
    #[must_use]
    pub fn pods(&self) -> PathBuf {
        self.0.join("pods")
    }

    /// The pods in one state.
    #[must_use]
    pub fn pods_in(&self, state: State) -> PathBuf {
        self.pods().join(state.directory())
    }

    /// One pod in one state.
    #[must_use]
    pub fn pod(&self, state: State, id: &PodId) -> PathBuf {
        self.pods_in(state).join(id.as_str())
    }
}

/// The paths below one pod directory. stage1 has it as its working directory, so there it is `PodDir::here()` and stays
/// right when the pod moves to another state.
#[derive(Clone, Debug)]
pub struct PodDir(PathBuf);

impl PodDir {
    /// The pod directory at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The working directory.
    #[must_use]
    pub fn here() -> Self {
        Self(PathBuf::from("."))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `pod.json`: [`crate::PodManifest`].
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.0.join("pod.json")
    }

    /// `apps/`: what stage2 may read.
    #[must_use]
    pub fn apps(&self) -> PathBuf {
        self.0.join("apps")
    }

    /// `apps/<app>/app.json`: [`crate::AppFile`]. Below stage2's descriptor of `apps/` it is `<app>/app.json`.
    #[must_use]
    pub fn app(&self, app: &AppName) -> PathBuf {
        self.apps().join(app.as_str()).join("app.json")
    }

    /// `rootfs/<app>/`: `upper/` and `work/` of the app's overlay.
    #[must_use]
    pub fn rootfs(&self, app: &AppName) -> PathBuf {
        self.0.join("rootfs").join(app.as_str())
    }

    /// `volumes/`: one directory per empty volume.
    #[must_use]
    pub fn volumes(&self) -> PathBuf {
        self.0.join("volumes")
    }

    /// `devices/<app>/`: nodes that the keeper made for an app, named by their place in its manifest.
    #[must_use]
    pub fn devices(&self, app: &AppName) -> PathBuf {
        self.0.join("devices").join(app.as_str())
    }

    /// `net/`: one file per network.
    #[must_use]
    pub fn net(&self) -> PathBuf {
        self.0.join("net")
    }

    /// `net/<name>.json`: [`crate::NetworkFile`]; it stays until DEL has succeeded.
    #[must_use]
    pub fn network(&self, name: &NetworkName) -> PathBuf {
        self.net().join(format!("{name}.json"))
    }

    /// `pid`: [`crate::Running`].
    #[must_use]
    pub fn pid(&self) -> PathBuf {
        self.0.join("pid")
    }

    /// `cgroup`: one line, the path of the pod's cgroup below the cgroup2 mount.
    #[must_use]
    pub fn cgroup(&self) -> PathBuf {
        self.0.join("cgroup")
    }

    /// `status/`: what stage2 may write.
    #[must_use]
    pub fn status_dir(&self) -> PathBuf {
        self.0.join("status")
    }

    /// `status/<app>.json`: [`crate::AppStatus`].
    #[must_use]
    pub fn status(&self, app: &AppName) -> PathBuf {
        self.status_dir().join(format!("{app}.json"))
    }

    /// `status/<app>.ids.json`: [`crate::AppIds`].
    #[must_use]
    pub fn ids(&self, app: &AppName) -> PathBuf {
        self.status_dir().join(format!("{app}.ids.json"))
    }

    /// `result.json`: [`crate::PodResult`].
    #[must_use]
    pub fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }

    /// `ended`: when `gc` first saw that it had ended.
    #[must_use]
    pub fn ended(&self) -> PathBuf {
        self.0.join("ended")
    }

    /// `waiting`: how long `gc` knows it to have been prepared.
    #[must_use]
    pub fn waiting(&self) -> PathBuf {
        self.0.join("waiting")
    }

    /// `expired`: when `gc` took it from the prepared ones.
    #[must_use]
    pub fn expired(&self) -> PathBuf {
        self.0.join("expired")
    }
}
