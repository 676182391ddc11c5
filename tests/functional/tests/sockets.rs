//! Sockets that a unit gives to the apps of a pod (`sd_listen_fds(3)`), here by `inspect activate`, in `systemd.rs` by a real systemd.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use functional::{
    Background, Env, Image, Key, Registry, Run, User, binaries, eventually, private_host,
};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// An image, and sockets in the scratch directory.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        // What an image says of sockets does not count.
        let variables = json!(["LISTEN_PID=1", "LISTEN_PIDFDID=1", "LISTEN_FDNAMES=x"]);
        let image = env.layout(&Image::inspect().set("Env", variables).build());
        Self { env, image }
    }

    /// What `inspect activate` makes: of `unix:NAME`, a socket at `scratch/NAME`.
    fn socket(&self, name: &str) -> String {
        format!("unix:{name}:{}", self.path(name))
    }

    fn path(&self, name: &str) -> String {
        self.env.scratch(name).display().to_string()
    }

    /// `skua WORDS…`, started with these descriptors.
    fn activated(&self, given: &[&str], words: &[&str]) -> Command {
        let skua = self.env.command(words);
        let mut command = self.env.program(binaries().join("inspect"));
        command.arg("activate").args(given).arg("--");
        command.arg(skua.get_program()).args(skua.get_args());
        command
    }

    /// `run FLAGS… IMAGE APP…`
    fn run<'a>(&'a self, flags: &[&'a str], app: &[&'a str]) -> Vec<&'a str> {
        let run = ["--insecure-options=image", "run", "--net=none"];
        [&run[..], flags, &[self.image.as_str()], app].concat()
    }

    /// What is heard at a socket.
    fn hear(&self, name: &str) -> String {
        let mut stream = UnixStream::connect(self.path(name)).expect("somebody listens");
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("a timeout");
        let mut heard = String::new();
        stream.read_to_string(&mut heard).expect("an answer");
        heard
    }

    /// Who has the socket at `scratch/NAME` open: names of processes, each as often as it has it.
    fn holders(&self, name: &str) -> Vec<String> {
        let listed = fs::read_to_string("/proc/net/unix").expect("the list of sockets");
        let end = format!(" {}", self.path(name));
        let line = listed.lines().find(|line| line.ends_with(&end));
        let line = line.unwrap_or_else(|| panic!("no {end} in {listed}"));
        let inode = line.split_whitespace().nth(6).expect("an inode");
        holders(&format!("socket:[{inode}]"))
    }
}

fn holders(link: &str) -> Vec<String> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").expect("/proc").flatten() {
        let descriptors = fs::read_dir(process.path().join("fd"));
        for descriptor in descriptors.into_iter().flatten().flatten() {
            if fs::read_link(descriptor.path()).is_ok_and(|to| to == Path::new(link)) {
                let name = fs::read_to_string(process.path().join("comm"));
                found.push(name.unwrap_or_default().trim().to_owned());
            }
        }
    }
    found
}

fn variable(answer: &Value, name: &str) -> Option<String> {
    let all = answer["env"].as_array().into_iter().flatten();
    let found = all.filter(|pair| pair[0] == name);
    let found: Vec<_> = found.map(|pair| pair[1].as_str().expect("text")).collect();
    assert!(found.len() < 2, "{name} is there twice: {answer}");
    found.first().map(|value| (*value).to_owned())
}

#[test]
fn an_app_without_a_network_answers_a_connection_of_the_host() {
    for user in User::all() {
        let lab = Lab::new(user);
        let app = ["--socket=web", "--user=app", "--", "accept", "3", "hello"];
        let words = lab.run(&[], &app);
        let mut pod = Background::start(lab.activated(&[&lab.socket("web")], &words));
        pod.prints("ready");
        assert_eq!(lab.hear("web"), "hello", "{user:?}");
        pod.wait().success();
    }
}

#[test]
fn sockets_come_in_the_order_of_the_flags_and_the_variables_say_so_to_the_app() {
    for user in User::all() {
        let lab = Lab::new(user);
        // One name stands for two.
        let second = format!("unix:web:{}", lab.path("second"));
        let given = [lab.socket("web"), lab.socket("tls"), second];
        let given: Vec<_> = given.iter().map(String::as_str).collect();
        let app = [
            "--socket=tls",
            "--socket=web",
            "--environment=LISTEN_ADDRESS=kept",
            "--",
            "all",
            "env",
            "fds",
            "id",
            "sockets",
        ];
        let answer = Run::of(lab.activated(&given, &lab.run(&[], &app)));
        let answer = answer.success().json();
        let own = answer["id"]["pid"].to_string();
        assert_eq!(variable(&answer, "LISTEN_PID"), Some(own), "{user:?}");
        let names = variable(&answer, "LISTEN_FDNAMES");
        assert_eq!(names.as_deref(), Some("tls:web:web"));
        assert_eq!(variable(&answer, "LISTEN_FDS").as_deref(), Some("3"));
        assert_eq!(variable(&answer, "LISTEN_PIDFDID"), None, "{user:?}");
        assert_eq!(variable(&answer, "LISTEN_ADDRESS").as_deref(), Some("kept"));
        let paths = ["tls", "web", "second"].map(|name| lab.path(name));
        assert_eq!(answer["sockets"], json!(paths), "{user:?}");
        let fds = answer["fds"].as_object().expect("descriptors");
        assert!(fds.keys().eq(["0", "1", "2", "3", "4", "5"]), "{answer}");
    }
}

#[test]
fn each_app_has_its_own_sockets_and_no_other_process_has_any() {
    for (user, debug) in User::all()
        .into_iter()
        .flat_map(|u| [(u, false), (u, true)])
    {
        let lab = Lab::new(user);
        let given = [lab.socket("one"), lab.socket("two")];
        let given: Vec<_> = given.iter().map(String::as_str).collect();
        let first = ["--name=a", "--socket=one", "--", "accept", "3", "first"];
        let second = ["--name=b", "--socket=two", "--", "accept", "3", "second"];
        let third = ["--name=c", "--", "sleep", "60"];
        let next = ["---", lab.image.as_str()];
        let app = [&first[..], &next, &second, &next, &third].concat();
        let mut words = lab.run(&["--name=p"], &app);
        if debug {
            words.insert(0, "--debug");
        }
        let pod = Background::start(lab.activated(&given, &words));
        eventually("all apps run", || {
            pod.output().matches("ready").count() == 3
        });
        let entered = [
            "enter", "p", "--app=a", "--", "/inspect", "all", "fds", "env",
        ];
        let entered = lab.env.skua(&entered).success().json();
        assert_eq!(
            entered["fds"].as_object().map(serde_json::Map::len),
            Some(3)
        );
        assert_eq!(variable(&entered, "LISTEN_FDS"), None);
        for name in ["one", "two"] {
            let alone = || lab.holders(name) == ["inspect"];
            assert!(debug || alone(), "{user:?} {name}");
            eventually("no watcher has it", alone);
        }
        assert_eq!(lab.hear("one"), "first");
        assert_eq!(lab.hear("two"), "second");
        pod.signal(Signal::SIGTERM);
        pod.wait();
    }
}

/// Runs a pod that claims these, started with these, by name: it is refused.
fn refused(lab: &Lab, given: &str, claimed: &str, says: &str, hint: &str) {
    for name in ["web", "tls"] {
        let _ = fs::remove_file(lab.path(name));
    }
    let given = given.split_whitespace().map(|name| match name {
        "web" | "tls" => lab.socket(name),
        other => other.to_owned(),
    });
    let given: Vec<_> = given.collect();
    let app = claimed.split_whitespace().map(|name| match name {
        "---" => vec!["---".to_owned(), lab.image.clone()],
        name => vec![format!("--socket={name}")],
    });
    let app: Vec<_> = app.flatten().collect();
    let app: Vec<_> = app.iter().map(String::as_str).collect();
    let words = lab.run(&[], &[&app[..], &["--", "exit", "7"]].concat());
    let run = match &given[..] {
        [] => lab.env.skua(&words),
        given => {
            let given: Vec<_> = given.iter().map(String::as_str).collect();
            Run::of(lab.activated(&given, &words))
        }
    };
    run.fails(&[says]).complains(hint);
}

#[test]
fn what_is_given_and_what_is_claimed_must_agree_before_anything_is_done() {
    let lab = Lab::new(User::ordinary());
    let unclaimed = "no app claims socket 'tls'";
    let takes = "hint: an app takes it with '--socket tls'";
    refused(&lab, "web tls", "web", unclaimed, takes);
    refused(&lab, "web", "", "no app claims socket 'web'", "hint: ");
    let missing = "app claims socket 'tls', which the unit does not have";
    refused(&lab, "web", "web tls", missing, "FileDescriptorName=tls");
    let none = "app claims socket 'web', and we were given none";
    refused(
        &lab,
        "",
        "web",
        none,
        "systemd-socket-activate --fdname=web",
    );
    refused(&lab, "web set:LISTEN_PID:1", "web", none, "hint: ");
    let names = "LISTEN_FDNAMES has 2 names for 1 sockets";
    let given = "web set:LISTEN_FDNAMES:web:tls";
    refused(&lab, given, "web", names, "sd_listen_fds(3)");
    let given = "web set:LISTEN_FDS:40 set:LISTEN_FDNAMES:";
    refused(&lab, given, "web", "cannot take descriptor", "hint: ");
    refused(&lab, "web", "a:b", "'a:b'", "");
    let fetched = lab.env.data().join("store/refs");
    assert!(!fetched.exists(), "an image was fetched");
}

#[test]
fn a_socket_is_claimed_once_in_a_pod() {
    let lab = Lab::new(User::ordinary());
    let twice = "--socket web is there twice";
    refused(&lab, "web", "web web", twice, "FileDescriptorName=");
    refused(&lab, "web", "web --- web", twice, "hint: ");
    let both = lab.run(&[], &["--socket=web", "--environment=LISTEN_FDS=1"]);
    let web = lab.socket("web");
    fs::remove_file(lab.path("web")).expect("the socket");
    let run = Run::of(lab.activated(&[&web], &both));
    run.fails(&["--environment LISTEN_FDS: --socket sets it"]);
    let pods = lab.env.skua(&["list", "--format=json"]).success().json();
    assert_eq!(pods["pods"], json!([]));
}

#[test]
fn sockets_of_another_process_are_not_ours_and_those_without_a_name_are_unknown() {
    let lab = Lab::new(User::ordinary());
    let web = lab.socket("web");
    let words = lab.run(&[], &["--", "fds"]);
    let run = Run::of(lab.activated(&[&web, "set:LISTEN_PID:1"], &words)).success();
    assert_eq!(run.json().as_object().map(serde_json::Map::len), Some(3));
    fs::remove_file(lab.path("web")).expect("the socket");
    let words = lab.run(&[], &["--socket=unknown", "--", "sockets"]);
    let run = Run::of(lab.activated(&[&web, "set:LISTEN_FDNAMES:"], &words)).success();
    assert_eq!(run.json(), json!([lab.path("web")]));
}

#[test]
fn what_would_lead_to_the_host_is_no_socket_whatever_it_is_called() {
    let lab = Lab::new(User::ordinary());
    let file = lab.env.write("file", "secret");
    let unix = lab.socket("listening");
    let fifo = lab.path("fifo");
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    for (spec, what) in [
        ("dir:web:/etc".to_owned(), "a directory"),
        ("path:web:/".to_owned(), "a directory"),
        (format!("file:web:{}", file.display()), "a file"),
        ("file:web:/dev/null".to_owned(), "a device"),
        (format!("path:web:{fifo}"), "neither a socket nor a FIFO"),
        ("netlink:web".to_owned(), "messages of the host itself"),
    ] {
        let words = lab.run(&[], &["--socket=listening", "--socket=web", "--", "fds"]);
        let run = Run::of(lab.activated(&[&unix, &spec], &words));
        run.fails(&["cannot hand 'web' of the unit to an app", what])
            .complains("hint: apps get");
        fs::remove_file(lab.path("listening")).expect("the socket");
    }
}

#[test]
fn a_fifo_and_an_accepted_connection_are_given_like_sockets() {
    let lab = Lab::new(User::ordinary());
    let fifo = format!("fifo:queue:{}", lab.path("queue"));
    let words = lab.run(&[], &["--socket=queue", "--", "fds"]);
    let run = Run::of(lab.activated(&[&fifo], &words)).success();
    assert_eq!(
        run.json()["3"],
        json!(lab.path("queue")),
        "{}",
        run.report()
    );
    // As with Accept=yes, where systemd calls it so.
    let listener = std::os::unix::net::UnixListener::bind(lab.path("here")).expect("a socket");
    lab.env.give(Path::new(&lab.path("here")));
    let connection = format!("connection:connection:{}", lab.path("here"));
    let words = lab.run(&[], &["--socket=connection", "--", "fds"]);
    let run = Run::of(lab.activated(&[&connection], &words)).success();
    assert!(run.stdout.contains("\"3\":\"socket:["), "{}", run.report());
    drop(listener);
}

#[test]
fn a_prepared_pod_gets_its_sockets_when_it_is_run() {
    for user in User::all() {
        let lab = Lab::new(user);
        let app = ["--name=a", "--socket=web", "--", "accept", "3", "hello"];
        let mut words = lab.run(&[], &app);
        words[1] = "prepare";
        let id = lab.env.skua(&words).success().stdout.trim().to_owned();
        let manifest = lab.env.skua(&["cat-manifest", &id]).success().json();
        assert_eq!(manifest["apps"][0]["sockets"], json!(["web"]));
        let explained = lab.env.skua(&["explain", &id]).success();
        let explained = explained.says("take over the sockets of the unit, which must be these, for the inside: web [command line]");
        explained.says(
            "a: sockets of the unit from descriptor 3 on, as LISTEN_FDS says: web [command line]",
        );
        let start = ["--insecure-options=image", "run-prepared", &id];
        lab.env
            .skua(&start)
            .fails(&["app claims socket 'web', and we were given none"]);
        let other = lab.socket("other");
        Run::of(lab.activated(&[&other], &start)).fails(&["'web'"]);
        let mut pod = Background::start(lab.activated(&[&lab.socket("web")], &start));
        pod.prints("ready");
        assert_eq!(lab.hear("web"), "hello", "{user:?}");
        pod.wait().success();
    }
}

#[test]
fn no_credential_helper_and_no_worker_inherits_a_socket() {
    let env = Env::new(User::ordinary());
    let registry = Registry::start();
    let name = registry.push_signed("team/app", "1", &Image::inspect().build(), &Key::new(1));
    let said = env.scratch("said");
    // Its parent is skua, whose other children are workers.
    let script = format!(
        "#!/bin/sh\nfor process in $$ $(cat /proc/$PPID/task/*/children); do ls -l /proc/$process/fd; done > {}\n\
         echo credentials not found in native keychain\nexit 1\n",
        said.display()
    );
    let helper = env.write("docker-credential-test", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("chmod");
    let host = registry.name("").trim_end_matches('/').to_owned();
    let auth = json!({"credHelpers": {host: "test"}}).to_string();
    let auth = env.write("auth.json", auth);
    let lab = Lab { env, image: name };
    let web = lab.socket("web");
    let words = lab.run(&[], &["--socket=web", "--", "fds"]);
    let mut command = lab.activated(&[&web], &words);
    let path = format!("{}:/usr/bin:/bin", lab.env.scratch("").display());
    command.env("REGISTRY_AUTH_FILE", auth).env("PATH", path);
    let run = Run::of(command).success().says("socket:[");
    let socket = run.json()["3"].as_str().expect("a socket").to_owned();
    let said = fs::read_to_string(said).expect("the helper was asked");
    let others_only = said.contains("pipe:[") && !said.contains(&socket);
    assert!(others_only, "{socket} in {said}");
}

#[test]
fn privileged_no_network_plugin_inherits_a_socket() {
    let Some(root) = private_host("privileged_no_network_plugin_inherits_a_socket") else {
        return;
    };
    let lab = Lab::new(root);
    let said = lab.env.scratch("said");
    let script = format!(
        "#!/bin/sh\nls -l /proc/self/fd >> {}\necho '{{\"cniVersion\":\"1.0.0\"}}'\n",
        said.display()
    );
    let plugin = lab.env.write("teller", script);
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).expect("chmod");
    let networks = lab.env.config().join("net.d");
    fs::create_dir_all(&networks).expect("make net.d");
    let conflist = json!({"cniVersion": "1.0.0", "name": "t", "plugins": [{"type": "teller"}]});
    fs::write(networks.join("t.conflist"), conflist.to_string()).expect("write a conflist");
    let mut words = lab.run(&[], &["--socket=web", "--", "fds"]);
    words[2] = "--net=t";
    let mut command = lab.activated(&[&lab.socket("web")], &words);
    command.env("CNI_PATH", lab.env.scratch(""));
    let run = Run::of(command).success();
    let socket = run.json()["3"].as_str().expect("a socket").to_owned();
    let said = fs::read_to_string(said).expect("the plugin was called");
    let others_only = said.contains("pipe:[") && !said.contains(&socket);
    assert!(others_only, "{socket} in {said}");
}
