//! `Env`: one test's own data directory, configuration directory and home, and the user whose they are.
//!
//! ```text
//! /var/tmp/skua-test-XXXXXX/   0755, removed at the end
//!   data/                      --data-dir
//!   config/                    --config-dir
//!   home/                      $HOME; $XDG_* are below it
//!   scratch/                   files of the test, as its user
//! ```

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Background, Built, Key, Run, User, binaries};

/// The surroundings of one test.
#[derive(Debug)]
pub struct Env {
    user: User,
    root: PathBuf,
}

impl Env {
    /// Fresh directories, owned by `user`.
    ///
    /// # Panics
    /// When they cannot be made.
    #[must_use]
    pub fn new(user: User) -> Self {
        // Not /tmp: it may be a tmpfs, whose overlays lack extended attributes on older kernels.
        let root = tempfile::Builder::new()
            .prefix("skua-test-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in("/var/tmp")
            .expect("a directory in /var/tmp")
            .keep();
        let env = Self { user, root };
        for name in ["config", "home", "home/run", "scratch"] {
            let path = env.root.join(name);
            fs::create_dir(&path).expect("make a directory");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("chmod");
            env.give(&path);
        }
        // `data` is left to skua; its parent must then belong to the user.
        env.give(&env.root);
        env
    }

    /// As whom its commands run.
    #[must_use]
    pub fn user(&self) -> User {
        self.user
    }

    /// The data directory; skua makes it.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The configuration directory.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// A path for a file of the test.
    #[must_use]
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.root.join("scratch").join(name)
    }

    /// Writes a file of the test, owned by its user.
    ///
    /// # Panics
    /// When that fails.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.scratch(name);
        fs::write(&path, content).expect("write a scratch file");
        // Whatever the mask of who runs the tests is.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        self.give(&path);
        path
    }

    /// Writes `image` into a layout directory of the user's; the name that it has for skua then.
    ///
    /// # Panics
    /// When that fails.
    #[must_use]
    pub fn layout(&self, image: &Built) -> String {
        let layout = self.scratch("layout");
        image.write_layout(&layout, "1");
        self.give(&layout);
        format!("oci:{}:1", layout.display())
    }

    /// Makes `path`, and what is below it, the user's.
    ///
    /// # Panics
    /// When that fails.
    pub fn give(&self, path: &Path) {
        let (uid, gid) = self.user.ids();
        chown(path, Some(uid), Some(gid)).expect("chown");
        if path != self.root && fs::symlink_metadata(path).is_ok_and(|m| m.is_dir()) {
            for entry in fs::read_dir(path).expect("read a directory") {
                self.give(&entry.expect("read a directory").path());
            }
        }
    }

    /// Any program, as this user, with a clean environment, in its home directory.
    #[must_use]
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let home = self.home();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", &home)
            .env("XDG_DATA_HOME", home.join(".local/share"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_RUNTIME_DIR", home.join("run"))
            .current_dir(&home)
            .stdin(Stdio::null());
        self.user.apply(&mut command);
        command
    }

    /// `skua --data-dir … --config-dir … ARGUMENTS`, not yet started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(binaries().join("skua"));
        command
            .arg("--data-dir")
            .arg(self.data())
            .arg("--config-dir")
            .arg(self.config())
            .args(arguments);
        command
    }

    /// Runs skua to its end.
    pub fn skua(&self, arguments: &[&str]) -> Run {
        Run::of(self.command(arguments))
    }

    /// Starts skua; its end is awaited with [`Background::wait`], and it is killed when that is dropped.
    #[must_use]
    pub fn spawn(&self, arguments: &[&str]) -> Background {
        Background::start(self.command(arguments))
    }

    /// Writes a file of the configuration that is shared with other tools: `registries.conf`, `certs.d/HOST/ca.crt`.
    ///
    /// # Panics
    /// When that fails.
    pub fn containers(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.config().join("containers").join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("make a directory");
        fs::write(&path, content).expect("write a file of the configuration");
        self.give(&self.config());
        path
    }

    /// Writes a file of `trust.d`.
    ///
    /// # Panics
    /// When that fails.
    pub fn policy(&self, name: &str, text: &str) {
        let directory = self.config().join("trust.d");
        let file = directory.join(name);
        fs::create_dir_all(&directory).expect("make trust.d");
        fs::write(&file, text).expect("write a policy");
        for (path, mode) in [(&directory, 0o755), (&file, 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        self.give(&directory);
    }

    /// `skua trust add --prefix PREFIX KEY`.
    ///
    /// # Panics
    /// When that fails.
    pub fn trust(&self, prefix: &str, key: &Key) {
        let file = self.write(&format!("key-{}.pem", key.id()), key.public_pem());
        self.skua(&["trust", "add", "--prefix", prefix, path_str(&file)])
            .success();
    }
}

/// The path as text; test paths are.
fn path_str(path: &Path) -> &str {
    path.to_str().expect("a path of the test suite is UTF-8")
}

impl Drop for Env {
    fn drop(&mut self) {
        if fs::remove_dir_all(&self.root).is_ok() || !self.root.exists() {
            return;
        }
        // An ordinary caller's layer trees belong to subordinate ids.
        let _ = Command::new("unshare")
            .args([
                "--user",
                "--map-auto",
                "--map-root-user",
                "rm",
                "-rf",
                "--one-file-system",
            ])
            .arg(&self.root)
            .stderr(Stdio::null())
            .status();
    }
}
