//! As whom a command runs: root, or an ordinary user of the test suite, made when it is first needed.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::is_root;

/// A user who runs skua.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// Whoever runs the tests.
    Caller,
    /// An ordinary user with subordinate ids (`skua-test-sub`); only when the tests run as root.
    Subordinate,
    /// An ordinary user without subordinate ids (`skua-test-single`); only when the tests run as root.
    Single,
    /// A user id without an entry in `/etc/passwd`; only when the tests run as root.
    Number(u32),
}

impl User {
    /// Root, or `None` when the tests do not run as root; says then that `test` is skipped.
    #[must_use]
    pub fn root(test: &str) -> Option<Self> {
        if is_root() {
            return Some(Self::Caller);
        }
        crate::skip(test, "needs root");
        None
    }

    /// An ordinary user: the caller, or when that is root, the user with subordinate ids.
    #[must_use]
    pub fn ordinary() -> Self {
        if is_root() {
            Self::Subordinate
        } else {
            Self::Caller
        }
    }

    /// Every kind of user that can be had here: as root all three, otherwise the caller. The virtual machines leave the one with
    /// subordinate ids (`SKUA_TEST_WITHOUT_SUBORDINATE`) to a further run, of which he is the caller.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Caller];
        if is_root() {
            all.extend([Self::Subordinate, Self::Single]);
        }
        let later = std::env::var_os("SKUA_TEST_WITHOUT_SUBORDINATE").is_some();
        all.retain(|user| !later || *user != Self::Subordinate);
        all
    }

    /// Whether commands of this user run as root.
    #[must_use]
    pub fn is_root(self) -> bool {
        self == Self::Caller && is_root()
    }

    /// Name to log in with.
    ///
    /// # Panics
    /// When it has none that the tests know.
    #[must_use]
    pub fn login(self) -> &'static str {
        let _ = self.ids();
        match self {
            Self::Subordinate => "skua-test-sub",
            Self::Single => "skua-test-single",
            Self::Caller | Self::Number(_) => panic!("{self:?} has no name"),
        }
    }

    /// User and group id.
    ///
    /// # Panics
    /// When the user cannot be made.
    #[must_use]
    pub fn ids(self) -> (u32, u32) {
        static SUBORDINATE: OnceLock<(u32, u32)> = OnceLock::new();
        static SINGLE: OnceLock<(u32, u32)> = OnceLock::new();
        match self {
            Self::Caller => (
                nix::unistd::geteuid().as_raw(),
                nix::unistd::getegid().as_raw(),
            ),
            Self::Number(id) => (id, id),
            Self::Subordinate => *SUBORDINATE.get_or_init(|| {
                let ids = make("skua-test-sub", &[]);
                for (file, option) in [
                    ("/etc/subuid", "--add-subuids"),
                    ("/etc/subgid", "--add-subgids"),
                ] {
                    if !has_line(file, "skua-test-sub") {
                        tool("usermod", &[option, "1000000-1065535", "skua-test-sub"]);
                    }
                }
                ids
            }),
            Self::Single => *SINGLE.get_or_init(|| {
                // A system user gets no subordinate ids.
                let ids = make("skua-test-single", &["--system"]);
                assert!(!has_line("/etc/subuid", "skua-test-single"));
                ids
            }),
        }
    }

    /// Makes `command` run as this user.
    pub fn apply(self, command: &mut Command) {
        if self != Self::Caller {
            let (uid, gid) = self.ids();
            command.gid(gid).uid(uid);
        }
    }
}

fn make(name: &str, options: &[&str]) -> (u32, u32) {
    let lock_path = PathBuf::from("/var/tmp/skua-test-users.lock");
    let lock = File::create(&lock_path).expect("a lock file in /var/tmp");
    lock.lock().expect("lock");
    if find(name).is_none() {
        let mut arguments = options.to_vec();
        arguments.extend(["--create-home", "--shell", "/bin/sh", name]);
        tool("useradd", &arguments);
    }
    find(name).unwrap_or_else(|| panic!("useradd {name} made no user"))
}

fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap_or_else(|e| panic!("cannot execute {program}: {e}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn has_line(file: &str, name: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| {
        text.lines()
            .any(|line| line.split(':').next() == Some(name))
    })
}

/// Read here, for static programs must not load modules of the name service switch.
fn find(name: &str) -> Option<(u32, u32)> {
    let text = fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<&str> = text
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}
