//! Credentials that a unit gives to the apps of a pod (`systemd.exec(5)`, `LoadCredential=`). A real systemd gives them in `units.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use functional::{Background, Env, Image, Layer, Run, User};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const SECRET: &str = "a secret that is nowhere else";

/// An image, and a directory of credentials as systemd makes it.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        Self::of(user, Image::inspect())
    }

    fn of(user: User, image: Image) -> Self {
        let env = Env::new(user);
        let image = env.layout(&image.build());
        let directory = env.scratch("given");
        fs::create_dir(&directory).expect("a directory");
        let lab = Self { env, image };
        lab.give("db", SECRET);
        lab.give("token", "a token");
        lab
    }

    fn give(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.env.scratch("given").join(name);
        fs::write(&path, content).expect("a credential");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("chmod");
        self.env.give(&self.env.scratch("given"));
    }

    /// `skua WORDS…` with these credentials.
    fn given(&self, words: &[&str]) -> Command {
        let mut command = self.env.command(words);
        command.env("CREDENTIALS_DIRECTORY", self.env.scratch("given"));
        command
    }

    /// `run FLAGS… IMAGE APP…`
    fn words<'a>(&'a self, flags: &[&'a str], app: &[&'a str]) -> Vec<&'a str> {
        let run = ["--insecure-options=image", "run", "--net=none"];
        [&run[..], flags, &[self.image.as_str()], app].concat()
    }

    fn run(&self, app: &[&str]) -> Run {
        Run::of(self.given(&self.words(&[], app)))
    }

    fn ask(&self, flags: &[&str], words: &[&str]) -> Value {
        let run = self.run(&[flags, &["--"], words].concat());
        run.success().json()
    }
}

/// Files below `directory` that have the secret in them.
fn with_secret(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
        if kind.is_dir() {
            found.extend(with_secret(&path));
        } else if kind.is_file() {
            let content = fs::read(&path).unwrap_or_default();
            let secret = SECRET.as_bytes();
            if content.windows(secret.len()).any(|part| part == secret) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

/// Names of processes that have this file open.
fn open_in(file: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").expect("/proc").flatten() {
        let descriptors = fs::read_dir(process.path().join("fd"));
        let mut descriptors = descriptors.into_iter().flatten().flatten();
        if descriptors.any(|one| fs::read_link(one.path()).is_ok_and(|to| to == file)) {
            let name = fs::read_to_string(process.path().join("comm"));
            found.push(name.unwrap_or_default());
        }
    }
    found
}

#[test]
fn an_app_finds_its_credentials_as_files_that_its_user_alone_can_read() {
    for user in User::all() {
        let lab = Lab::new(user);
        for (app, uid) in [("--user=0", 0), ("--user=1000", 1000)] {
            let flags = [app, "--credential=db:database", "--credential=token"];
            let read = lab.ask(&flags, &["read", "/run/credentials/database"]);
            assert_eq!(read["text"], SECRET, "{user:?} {app}");
            let listed = lab.ask(&flags, &["list", "/run/credentials"]);
            assert_eq!(listed, json!(["database", "token"]));
            let environment = lab.ask(&flags, &["env"]);
            let variable = json!(["CREDENTIALS_DIRECTORY", "/run/credentials"]);
            let all = environment.as_array().expect("an environment");
            assert!(all.contains(&variable), "{environment}");
            for (path, mode) in [
                ("/run/credentials", "0500"),
                ("/run/credentials/token", "0400"),
            ] {
                let stat = lab.ask(&flags, &["stat", path]);
                let found = (&stat["uid"], &stat["mode"]);
                assert_eq!(found, (&json!(uid), &json!(mode)), "{user:?} {app} {path}");
            }
        }
    }
}

#[test]
fn nobody_changes_a_credential_and_it_is_in_memory_that_is_not_swapped() {
    for user in User::all() {
        let lab = Lab::new(user);
        let flags = ["--credential=db"];
        for words in [
            ["write", "/run/credentials/db", "x"],
            ["write", "/run/credentials/new", "x"],
            ["chmod", "/run/credentials/db", "0o666"],
        ] {
            let answer = lab.ask(&flags, &words);
            assert_eq!(answer["errno"], "EROFS", "{user:?} {words:?}");
        }
        let mounts = lab.ask(&flags, &["mounts"]);
        let mounts = mounts.as_array().expect("mounts");
        let ours = mounts
            .iter()
            .find(|mount| mount["target"] == "/run/credentials");
        let ours = ours.expect("a mount");
        assert_eq!(ours["type"], "ramfs");
        let options = ours["options"].to_string();
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            assert!(options.contains(&format!("\"{option}\"")), "{options}");
        }
    }
}

#[test]
fn each_app_sees_its_own_and_so_does_what_enters_it() {
    for user in User::all() {
        let lab = Lab::new(user);
        let first = [
            "--name=a",
            "--user=1000",
            "--credential=db",
            "--",
            "sleep",
            "60",
        ];
        let second = [
            "--name=b",
            "--credential=db:copy",
            "--credential=token",
            "--",
            "sleep",
            "60",
        ];
        let third = ["--name=c", "--", "sleep", "60"];
        let next = ["---", lab.image.as_str()];
        let app = [&first[..], &next, &second, &next, &third].concat();
        let words = lab.words(&["--name=p"], &app);
        let mut pod = Background::start(lab.given(&words));
        pod.prints("ready\nready\nready");
        let enter = |app: &str, words: &[&str]| {
            let all = [&["enter", "p", app, "--", "/inspect"], words].concat();
            lab.env.skua(&all).success().json()
        };
        let path = ["list", "/run/credentials"];
        assert_eq!(enter("--app=a", &path), json!(["db"]), "{user:?}");
        assert_eq!(enter("--app=b", &path), json!(["copy", "token"]));
        assert_eq!(enter("--app=c", &path)["errno"], "ENOENT");
        for (app, name) in [("--app=a", "db"), ("--app=b", "copy")] {
            let path = format!("/run/credentials/{name}");
            assert_eq!(enter(app, &["read", &path])["text"], SECRET);
            assert_eq!(enter(app, &["chmod", &path, "0o666"])["errno"], "EROFS");
        }
        assert_eq!(open_in(&lab.env.scratch("given/db")), [""; 0], "{user:?}");
        let environment = enter("--app=a", &["env"]).to_string();
        assert!(environment.contains("[\"CREDENTIALS_DIRECTORY\",\"/run/credentials\"]"));
        assert_eq!(with_secret(&lab.env.data()), [""; 0], "{user:?}");
        pod.signal(Signal::SIGTERM);
        pod.wait();
        assert_eq!(with_secret(&lab.env.data()), [""; 0], "{user:?}");
    }
}

#[test]
fn a_pod_that_is_entered_has_one_app_and_its_credentials() {
    for user in User::all() {
        let lab = Lab::new(user);
        let app = ["--user=1000", "--credential=db", "--", "sleep", "60"];
        let mut pod = Background::start(lab.given(&lab.words(&["--name=p"], &app)));
        pod.prints("ready");
        let read = [
            "enter",
            "p",
            "--",
            "/inspect",
            "read",
            "/run/credentials/db",
        ];
        let read = lab.env.skua(&read).success().json();
        assert_eq!(read["text"], SECRET, "{user:?}");
        pod.signal(Signal::SIGTERM);
        pod.wait();
    }
}

#[test]
fn a_prepared_pod_has_the_names_and_gets_the_contents_when_it_is_run() {
    for user in User::all() {
        let lab = Lab::new(user);
        let app = ["--credential=db:x", "--", "read", "/run/credentials/x"];
        let mut words = lab.words(&[], &app);
        words[1] = "prepare";
        let id = Run::of(lab.given(&words))
            .success()
            .stdout
            .trim()
            .to_owned();
        assert_eq!(with_secret(&lab.env.data()), [""; 0]);
        let manifest = lab.env.skua(&["cat-manifest", &id]).success().json();
        let claimed = json!([{"source": "db", "name": "x"}]);
        assert_eq!(manifest["apps"][0]["credentials"], claimed);
        let explained = lab.env.skua(&["explain", &id]).success();
        let explained = explained
            .says("take over the open files of credentials, for the inside: db [command line]");
        let explained =
            explained.says("mount a new ramfs with credentials db as x on /run/credentials of app");
        explained.says("give /run/credentials to its user alone, read-only: x [command line]");
        let start = ["--insecure-options=image", "run-prepared", &id];
        lab.env
            .skua(&start)
            .fails(&["claims credential 'db', and we were given none"]);
        let run = Run::of(lab.given(&start)).success();
        assert_eq!(run.json()["text"], SECRET, "{user:?}");
    }
}

#[test]
fn what_cannot_be_given_is_said_before_anything_is_done() {
    let lab = Lab::new(User::ordinary());
    lab.give("large", vec![b'x'; (1 << 20) + 1]);
    fs::create_dir(lab.env.scratch("given").join("directory")).expect("a directory");
    let fifo = lab.env.scratch("given").join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    lab.env.give(&lab.env.scratch("given"));
    let refused = |flag: &str, says: &str, hint: &str| {
        let run = lab.run(&[flag, "--", "exit", "7"]);
        run.fails(&[says]).complains(hint);
    };
    refused(
        "--credential=none",
        "cannot open credential 'none' in /",
        "hint: LoadCredential=none:PATH",
    );
    refused(
        "--credential=large",
        "has 1048577 bytes, more than 1048576",
        "volume",
    );
    refused("--credential=directory", "'directory' in /", "hint: ");
    refused("--credential=fifo", "is not a file", "hint: ");
    for name in [
        "../given/db",
        "/etc/passwd",
        "..",
        "db:a/b",
        "db:",
        "db:a:b",
        "",
    ] {
        let flag = format!("--credential={name}");
        refused(&flag, "credential", "");
    }
    let words = lab.words(&[], &["--credential=db", "--", "exit", "7"]);
    for directory in [None, Some("given")] {
        let mut command = lab.env.command(&words);
        command.current_dir(lab.env.scratch(""));
        if let Some(directory) = directory {
            command.env("CREDENTIALS_DIRECTORY", directory);
        }
        Run::of(command)
            .fails(&["claims credential 'db', and we were given none"])
            .complains("hint: LoadCredential=db:PATH or SetCredential=db:TEXT");
    }
    let fetched = lab.env.data().join("store/refs");
    assert!(!fetched.exists(), "an image was fetched");
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    let lab = Lab::new(User::ordinary());
    let twice = [
        "--credential=db",
        "--credential=token:db",
        "--",
        "exit",
        "7",
    ];
    lab.run(&twice).fails(&["the app has another of that name"]);
    let variable = ["--credential=db", "--environment=CREDENTIALS_DIRECTORY=/x"];
    lab.run(&variable).fails(&["--credential sets it"]);
    let volume = format!("--volume={}:/run/credentials", lab.env.home().display());
    let run = lab.run(&["--credential=db", &volume, "--", "exit", "7"]);
    run.fails(&["/run/credentials", "the app's credentials are there"]);
}

#[test]
fn credentials_are_there_whatever_is_on_run() {
    let lab = Lab::new(User::ordinary());
    lab.give("large", vec![b'x'; 1 << 20]);
    let stat = lab.ask(
        &["--credential=large", "--readonly-rootfs"],
        &["stat", "/run/credentials/large"],
    );
    assert_eq!(stat["size"], 1 << 20);
    let pod = ["--volume=run,kind=tmpfs"];
    let app = ["--credential=db", "--mount=volume=run,target=/run", "--"];
    let words = [&app[..], &["read", "/run/credentials/db"]].concat();
    let run = Run::of(lab.given(&lab.words(&pod, &words))).success();
    assert_eq!(run.json()["text"], SECRET);
}

#[test]
fn an_image_can_neither_lead_credentials_elsewhere_nor_say_where_they_are() {
    let user = User::ordinary();
    let link = Layer::new().directory("run");
    let link = link.symlink("run/credentials", "../proc/self");
    let lab = Lab::of(user, Image::inspect().layer(link));
    let run = lab.run(&["--credential=db", "--", "exit", "7"]);
    run.fails(&["/run/credentials", "cross-device"]);
    let lab = Lab::of(
        user,
        Image::inspect().set("Env", json!(["CREDENTIALS_DIRECTORY=/etc"])),
    );
    let environment = lab.ask(&["--credential=db"], &["env"]).to_string();
    assert_eq!(
        environment.matches("CREDENTIALS_DIRECTORY").count(),
        1,
        "{environment}"
    );
    assert!(
        environment.contains("\"/run/credentials\""),
        "{environment}"
    );
}
