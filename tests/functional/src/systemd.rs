//! A real systemd, in the virtual machines of `vm/lane`: transient services, login sessions, and the cgroups of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{Background, Env, Image, Run, User, eventually, skip};

/// An emulated machine on a busy one is slow.
const PATIENCE: Duration = Duration::from_secs(600);

/// Pid 1 is systemd and we are root. Says that `test` is skipped where it is not so.
#[must_use]
pub fn under_systemd(test: &str) -> bool {
    let systemd = fs::read_to_string("/proc/1/comm").is_ok_and(|name| name.trim() == "systemd");
    if !systemd {
        let reason = "systemd is not pid 1 here; see tests/functional/vm/lane";
        skip(test, reason);
    }
    systemd && User::root(test).is_some()
}

/// A data directory and an image from which its pods are run.
#[derive(Debug)]
pub struct Lab {
    /// The surroundings.
    pub env: Env,
    image: String,
}

impl Lab {
    /// For `user`, with the image of `inspect`.
    #[must_use]
    pub fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        Self { env, image }
    }

    /// The words after `skua` that run one app.
    #[must_use]
    pub fn run_words(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Vec<String> {
        let start = ["--insecure-options=image", "run", "--net=none"];
        let image = [self.image.as_str()];
        let all = [&start[..], pod, &image, app, &["--"], words].concat();
        all.into_iter().map(str::to_owned).collect()
    }

    /// Runs one app from where the tests were started.
    pub fn run(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Run {
        let words = self.run_words(pod, app, words);
        self.env.skua(&borrowed(&words))
    }

    /// The whole command line, for a unit or a shell.
    #[must_use]
    pub fn line(&self, words: &[String]) -> Vec<String> {
        line(&self.env, &borrowed(words))
    }

    /// Runs one app in a transient unit that is `properties`, with its output; as an ordinary user in a scope of the login
    /// session's own manager.
    pub fn in_unit(&self, properties: &[&str], words: &[String]) -> Run {
        Run::within(PATIENCE, self.unit_command(properties, words))
    }

    /// Starts one app likewise.
    #[must_use]
    pub fn start_in_unit(&self, properties: &[&str], words: &[String]) -> Background {
        Background::start(self.unit_command(properties, words)).may_take(PATIENCE)
    }

    fn unit_command(&self, properties: &[&str], words: &[String]) -> Command {
        let mut before = vec!["systemd-run", "--quiet"];
        before.extend(match self.env.user().is_root() {
            true => ["--wait", "--pipe"],
            false => ["--user", "--scope"],
        });
        for property in properties {
            before.extend(["--property", property]);
        }
        before.push("--");
        let words = self.line(words);
        let words = before.into_iter().map(str::to_owned).chain(words);
        let words: Vec<String> = words.collect();
        if self.env.user().is_root() {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        } else {
            self.login(&words)
        }
    }

    /// Runs a pod whose app has these flags, and gives `act` what enters it with the words of `inspect`.
    pub fn entered(&self, app: &[&str], act: impl FnOnce(&dyn Fn(&[&str]) -> Run)) {
        let words = self.run_words(&["--name=p"], app, &["sleep", "600"]);
        let mut pod = self.env.spawn(&borrowed(&words));
        pod.prints("ready");
        act(&|words| {
            let all = [&["enter", "p", "--", "/inspect"][..], words].concat();
            self.env.skua(&all)
        });
        self.env.skua(&["stop", "--force", "p"]).success();
        pod.wait();
    }

    /// A command in a login session of the ordinary user.
    #[must_use]
    pub fn login(&self, words: &[String]) -> Command {
        login(&self.env, words)
    }

    /// `skua status NAME` as JSON.
    #[must_use]
    pub fn status(&self, name: &str) -> serde_json::Value {
        let words = ["status", name, "--format=json"];
        self.env.skua(&words).success().json()
    }

    /// The cgroup of a running pod, when it is there.
    ///
    /// # Panics
    /// When it is not within two minutes.
    #[must_use]
    pub fn cgroup(&self, name: &str) -> PathBuf {
        let find = || {
            let run = self.env.skua(&["status", name, "--format=json"]);
            let status = (run.code() == Some(0)).then(|| run.json())?;
            status["cgroup"].as_str().map(PathBuf::from)
        };
        eventually("the pod is in a cgroup", || find().is_some());
        find().expect("found before")
    }
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// A command in a login session of the ordinary user whose `env` is.
#[must_use]
pub fn login(env: &Env, words: &[String]) -> Command {
    let mut command = Command::new("su");
    let line = words.join(" ");
    command.args(["--login", env.user().login(), "--command", &line]);
    command
}

/// `skua … ARGUMENTS` as words.
#[must_use]
pub fn line(env: &Env, arguments: &[&str]) -> Vec<String> {
    let command = env.command(arguments);
    let program = std::iter::once(command.get_program());
    program
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// `systemctl ARGUMENTS`.
pub fn systemctl(arguments: &[&str]) -> Run {
    let mut command = Command::new("systemctl");
    command.args(arguments);
    Run::of(command)
}

/// Unit files of a test, which systemd has read; stopped and removed when dropped.
#[derive(Debug)]
pub struct UnitFiles(Vec<String>);

impl UnitFiles {
    /// Of these names and texts.
    ///
    /// # Panics
    /// When they cannot be written.
    #[must_use]
    pub fn write(units: &[(&str, &str)]) -> Self {
        for (name, text) in units {
            fs::write(Path::new(RUNTIME_UNITS).join(name), text).expect("write a unit");
        }
        systemctl(&["daemon-reload"]).success();
        let names = units.iter().map(|(name, _)| (*name).to_owned());
        Self(names.collect())
    }
}

impl Drop for UnitFiles {
    fn drop(&mut self) {
        for name in &self.0 {
            systemctl(&["stop", name]);
            let _ = fs::remove_file(Path::new(RUNTIME_UNITS).join(name));
        }
        systemctl(&["daemon-reload"]);
    }
}

/// Where units are until the next boot.
const RUNTIME_UNITS: &str = "/run/systemd/system";

/// One property of a unit.
#[must_use]
pub fn property(unit: &str, name: &str) -> String {
    let words = ["show", "--value", "--property", name, unit];
    systemctl(&words).success().stdout.trim().to_owned()
}

/// A transient service that runs `words`, started.
///
/// # Panics
/// When it did not start; with its journal.
#[track_caller]
pub fn service(unit: &str, properties: &[&str], words: &[String]) {
    let run = begin_service(unit, properties, words);
    let report = run.report();
    assert!(
        run.code() == Some(0),
        "{report}\n--- journal\n{}",
        journal(unit)
    );
}

/// Starts a transient service that runs `words`, and waits until systemd says that it has started, or why not.
pub fn begin_service(unit: &str, properties: &[&str], words: &[String]) -> Run {
    let mut command = Command::new("systemd-run");
    command.arg("--unit").arg(unit);
    for property in ["Type=exec", "Delegate=yes"].iter().chain(properties) {
        command.arg("--property").arg(property);
    }
    command.arg("--").args(words);
    Run::within(PATIENCE, command)
}

/// What a unit has written to the journal.
#[must_use]
pub fn journal(unit: &str) -> String {
    let mut command = Command::new("journalctl");
    command.args(["--no-pager", "--output=cat", "--unit", unit]);
    Run::of(command).stdout
}

/// The cgroup of a unit; a unit that has ended has none.
#[must_use]
pub fn control_group(unit: &str) -> PathBuf {
    PathBuf::from(format!("/sys/fs/cgroup{}", property(unit, "ControlGroup")))
}

/// The processes of a cgroup and of those below it, by the kernel's count; one that is gone has none.
#[must_use]
pub fn processes(group: &Path) -> usize {
    let listed = fs::read_to_string(group.join("cgroup.procs"));
    let own = listed.map_or(0, |text| text.lines().count());
    let below: usize = groups_below(group).iter().map(|path| processes(path)).sum();
    own + below
}

/// The cgroups in a cgroup.
#[must_use]
pub fn groups_below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    paths.filter(|path| path.is_dir()).collect()
}

/// What a file of a cgroup says.
///
/// # Panics
/// When it cannot be read.
#[must_use]
#[track_caller]
pub fn says(group: &Path, file: &str) -> String {
    let path = group.join(file);
    let text = fs::read_to_string(&path);
    let text = text.unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    text.trim().to_owned()
}
