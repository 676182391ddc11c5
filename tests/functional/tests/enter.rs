//! `skua enter`: one further program in a pod, with the confinement of the app it enters and nothing less.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use functional::{
    Background, Env, Image, Run, User, eventually, missing_program, scopes_abstract_sockets, skip,
    trace,
};
use serde_json::{Value, json};

/// A pod named `p` that runs until it is told to end.
struct Lab {
    env: Env,
    pod: Option<Background>,
}

impl Lab {
    fn new(user: User, flags: &[&str]) -> Self {
        Self::on(user, "--net=none", flags)
    }

    fn on(user: User, network: &str, flags: &[&str]) -> Self {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        let start = [
            "--insecure-options=image",
            "run",
            network,
            "--name=p",
            name.as_str(),
        ];
        let words = ["--", "trap", "SIGTERM", "0"];
        let mut pod = env.spawn(&[&start[..], flags, &words].concat());
        pod.prints("ready");
        Self {
            env,
            pod: Some(pod),
        }
    }

    fn enter(&self, words: &[&str]) -> Run {
        self.env
            .skua(&[&["enter", "p", "--", "/inspect"], words].concat())
    }

    fn ask(&self, question: &str) -> Value {
        self.enter(&[question]).success().json()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Some(pod) = self.pod.take() {
            pod.signal(nix::sys::signal::Signal::SIGTERM);
            if !std::thread::panicking() {
                pod.wait().success();
            }
        }
    }
}

#[test]
fn what_enters_is_confined_like_the_app_for_every_caller() {
    for user in User::all() {
        for flags in [&[][..], &["--user=app"], &["--cap-retain=none"]] {
            let lab = Lab::new(user, flags);
            let own = lab.ask("status");
            // Pid 1 is stage2, pid 2 was the builder of the root, pid 3 is the app.
            let app = lab.enter(&["read", "/proc/3/status"]).success().json();
            let app = app["text"].as_str().expect("the app's status");
            for field in [
                "CapInh",
                "CapPrm",
                "CapEff",
                "CapBnd",
                "CapAmb",
                "NoNewPrivs",
                "Seccomp",
                "Uid",
                "Gid",
                "Groups",
            ] {
                let line = app
                    .lines()
                    .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'));
                let line = line.map(str::trim).map(|l| json!(l));
                assert_eq!(line.as_ref(), own.get(field), "{user:?} {flags:?} {field}");
            }
        }
    }
}

#[test]
fn what_enters_shares_the_namespaces_that_apps_share() {
    for user in User::all() {
        let lab = Lab::new(user, &[]);
        let own = lab.ask("namespaces");
        // The links of another process may not be read, so the numbers are compared with a second visit.
        let again = lab.ask("namespaces");
        for namespace in ["user", "pid", "net", "ipc", "uts", "cgroup"] {
            assert_eq!(own[namespace], again[namespace], "{user:?}");
            let ours = std::fs::read_link(format!("/proc/self/ns/{namespace}")).expect("a link");
            assert_ne!(
                own[namespace],
                json!(ours.display().to_string()),
                "{user:?} {namespace}"
            );
        }
        let processes = lab.ask("processes");
        assert_eq!(processes["1"], "skua-stage2", "{user:?}: {processes}");
        assert_eq!(processes["3"], "inspect", "{user:?}: {processes}");
    }
}

#[test]
fn a_directory_of_the_caller_does_not_come_along_as_a_stream() {
    for user in User::all() {
        let lab = Lab::new(user, &[]);
        let skua = lab.env.command(&["enter", "p", "--", "/inspect", "cwd"]);
        let mut shell = lab.env.program("sh");
        shell.args(["-c", "exec \"$@\" < /etc", "sh"]);
        shell.arg(skua.get_program()).args(skua.get_args());
        Run::of(shell).fails(&["cannot hand standard input to apps: it is a directory"]);
    }
}

#[test]
fn its_exit_status_is_passed_on() {
    let lab = Lab::new(User::ordinary(), &[]);
    lab.enter(&["exit", "7"]).exits(7);
    lab.enter(&["raise", "SIGKILL"]).exits(137);
    // Of real time, to its own process group.
    let (kill, number) = (libc::SYS_kill.to_string(), libc::SIGRTMIN() + 3);
    let words = ["syscall", &kill, "0", &number.to_string()];
    lab.enter(&words).exits(128 + number);
    lab.env
        .skua(&["enter", "p", "--", "/missing"])
        .fails(&["enter app", "/missing"]);
}

#[test]
fn nothing_of_the_caller_comes_along() {
    let lab = Lab::new(User::ordinary(), &[]);
    let fds = lab.ask("fds");
    let numbers: Vec<&String> = fds.as_object().expect("descriptors").keys().collect();
    assert_eq!(numbers, ["0", "1", "2"]);
    let variables = lab.ask("env").to_string();
    for name in ["XDG_RUNTIME_DIR", "SKUA_", "RUST_"] {
        assert!(!variables.contains(name), "{variables}");
    }
    let syscall = libc::SYS_mount.to_string();
    lab.enter(&["syscall", &syscall]).success().says("EPERM");
}

#[test]
fn a_terminal_is_one_of_the_pod_s_own() {
    for user in User::all() {
        let lab = Lab::new(user, &[]);
        let typed = lab.env.command(&["enter", "p", "--", "/inspect", "tty"]);
        let words: Vec<String> = std::iter::once(typed.get_program())
            .chain(typed.get_args())
            .map(|word| format!("'{}'", word.to_str().expect("UTF-8")))
            .collect();
        let mut command = lab.env.program("script");
        command.args(["-qec", &words.join(" "), "/dev/null"]);
        let run = Run::of(command).success();
        for stream in ["stdin", "stdout", "stderr", "controlling"] {
            let expected = format!("\"{stream}\":true");
            assert!(run.stdout.contains(&expected), "{}", run.report());
        }
    }
}

/// Whoever is not told to end goes on, as after `podman exec`; no longer than the pod.
#[test]
fn what_has_entered_outlives_a_killed_enter_and_ends_with_the_pod() {
    for user in User::all() {
        let mut lab = Lab::new(user, &[]);
        let words = ["enter", "p", "--", "/inspect", "trap", "SIGTERM", "0"];
        let mut entered = lab.env.spawn(&words);
        entered.prints("ready");
        entered.signal(nix::sys::signal::Signal::SIGKILL);
        drop(entered);
        let programs = lab.ask("processes").to_string();
        let count = programs.matches("inspect").count();
        assert_eq!(
            count, 3,
            "the app, what has entered, and who asks: {programs}"
        );
        let mut pod = lab.pod.take().expect("it runs");
        pod.signal(nix::sys::signal::Signal::SIGTERM);
        eventually("the pod has ended", || !pod.is_running());
        pod.wait().success();
    }
}

/// Standard output and error of a shell are its keyboard too: what is typed there is for the shell, not for what enters.
#[test]
fn what_enters_without_a_terminal_cannot_read_what_is_typed() {
    let test = "what_enters_without_a_terminal_cannot_read_what_is_typed";
    if let Some(program) = missing_program(&["script"]) {
        return skip(test, program);
    }
    for user in User::all() {
        let lab = Lab::new(user, &[]);
        let on_a_terminal = |words: &[&str]| {
            let words = [&["enter", "p", "--", "/inspect"], words].concat();
            let typed = lab.env.command(&words);
            let words: Vec<String> = std::iter::once(typed.get_program())
                .chain(typed.get_args())
                .map(|word| format!("'{}'", word.to_str().expect("UTF-8")))
                .collect();
            let line = format!("exec {} </dev/null", words.join(" "));
            let mut script = lab.env.program("script");
            script.args(["-qec", &line, "/dev/null"]);
            script.stdin(Stdio::piped());
            let mut entered = Background::start(script);
            let mut keyboard = entered.stdin().expect("a pipe");
            keyboard.write_all(b"password\n").expect("typed");
            entered.wait().success()
        };
        for stream in ["1", "2"] {
            let run = on_a_terminal(&["read-from", stream]).says("EBADF");
            assert!(!run.stdout.contains("\"password"), "{}", run.report());
        }
        let run = on_a_terminal(&["tty"]).says("\"stdin\":false");
        run.says("\"stdout\":false").says("\"stderr\":false");
    }
}

/// The host's network has the host's abstract sockets: Landlock keeps the app from them, and what enters as well.
#[test]
fn what_enters_is_in_a_landlock_domain_like_the_app() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    if !scopes_abstract_sockets() {
        let why = "abstract sockets have a scope from Linux 6.12 on";
        return skip("what_enters_is_in_a_landlock_domain_like_the_app", why);
    }
    let lab = |user| Lab::on(user, "--net=host", &[]);
    let name = format!("skua-test-enter-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("a socket");
    for user in User::all() {
        let lab = lab(user);
        let found = lab.enter(&["abstract", "connect", &name]).success().json();
        assert_eq!(found["errno"], "EPERM", "{user:?}: {found}");
    }
}

#[test]
fn the_exit_status_is_that_of_the_program_and_what_cannot_be_entered_is_an_error() {
    for user in User::all() {
        let lab = Lab::new(user, &[]);
        lab.enter(&["exit", "9"]).exits(9);
        lab.env.skua(&["enter", "p"]).fails(&["/bin/sh"]);
        lab.env
            .skua(&["enter", "p", "--app=other", "--", "/inspect"])
            .fails(&["no app 'other'"]);
    }
}

/// Until its root is built, pid 1 has that of the host, and what entered would make and read files there.
#[test]
fn a_pod_that_is_still_being_started_cannot_be_entered() {
    let test = "a_pod_that_is_still_being_started_cannot_be_entered";
    if !nix::unistd::geteuid().is_root() || missing_program(&["strace"]).is_some() {
        skip(
            test,
            "needs strace, below which only root's newuidmap works",
        );
        return;
    }
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let made = Path::new("/tmp").join(format!("skua-{test}-{}", std::process::id()));
        let directory = format!("--working-dir={}", made.display());
        let run = ["--insecure-options=image", "run", "--net=none", "--name=p"];
        let app = [&image, directory.as_str(), "--", "sleep", "60"];
        let options = ["-e", "inject=pivot_root:delay_enter=4000000"];
        let words = [&run[..], &app].concat();
        let log = env.scratch("trace");
        let mut pod = Background::start(trace::below_strace(&env, &words, &options, &log));
        eventually("pid 1 can be found", || {
            let pods = std::fs::read_dir(env.data().join("pods/run"));
            let mut pods = pods.into_iter().flatten().flatten();
            pods.any(|pod| pod.path().join("pid").exists())
        });
        let enter = || env.skua(&["enter", "p", "--", "/inspect", "exit", "7"]);
        let too_early = enter();
        let leaked = std::fs::remove_dir(&made).is_ok();
        assert!(!leaked, "{user:?}: a directory of the host was made");
        too_early.fails(&["the pod is still being started"]);
        pod.prints("ready");
        enter().exits(7);
        env.skua(&["stop", "--force", "p"]).success();
        pod.wait();
    }
}

/// Pid 1 writes down who an app is while the app is executed.
#[test]
fn an_app_that_is_faster_than_its_record_can_be_entered() {
    let test = "an_app_that_is_faster_than_its_record_can_be_entered";
    if !nix::unistd::geteuid().is_root() || missing_program(&["strace"]).is_some() {
        return skip(
            test,
            "needs strace, below which only root's newuidmap works",
        );
    }
    let env = Env::new(User::Caller);
    let image = env.layout(&Image::inspect().build());
    let run = ["--insecure-options=image", "run", "--net=none", "--name=p"];
    let words = [&run[..], &[&image, "--", "sleep", "60"]].concat();
    let options = ["-e", "inject=renameat:delay_enter=400000:when=1"];
    let log = env.scratch("trace");
    let mut pod = Background::start(trace::below_strace(&env, &words, &options, &log));
    pod.prints("ready");
    env.skua(&["enter", "p", "--", "/inspect", "exit", "7"])
        .exits(7);
    env.skua(&["stop", "--force", "p"]).success();
    pod.wait();
}

#[test]
fn which_app_is_entered_must_be_said_in_a_pod_of_several() {
    let env = Env::new(User::ordinary());
    let image = env.layout(&Image::inspect().build());
    let waits = ["--", "trap", "SIGTERM", "0"];
    let one = [
        "--insecure-options=image",
        "run",
        "--name=pair",
        &image,
        "--name=one",
    ];
    let two = ["---", image.as_str(), "--name=two"];
    let mut pod = env.spawn(&[&one[..], &waits, &two, &waits].concat());
    pod.prints("ready");
    let enter = |words: &[&str]| env.skua(&[&["enter", "pair"], words].concat());
    enter(&["--", "/inspect", "exit", "0"])
        .fails(&["several apps"])
        .complains("one, two");
    enter(&["--app=two", "--", "/inspect", "exit", "3"]).exits(3);
}

/// What has the caller's memory and environment is stage1 in the pod, until it is stage2. An app that may trace what others may
/// not finds it closed too.
#[test]
fn stage1_is_closed_in_the_pod_to_who_may_trace() {
    for user in User::all() {
        let env = Env::new(user);
        let name = env.layout(&Image::inspect().build());
        let words = [
            "--insecure-options=image,landlock",
            "run",
            "--net=none",
            "--name=p",
            &name,
            "--cap-add=CAP_SYS_PTRACE",
            "--",
            "hunt",
            "/stop",
            "skua-stage1",
        ];
        let mut pod = env.spawn(&words);
        pod.prints("ready");
        for _ in 0..30 {
            env.skua(&["enter", "p", "--", "/inspect", "exit", "0"])
                .success();
        }
        // The pod may end before what entered has.
        env.skua(&["enter", "p", "--", "/inspect", "write", "/stop", ""]);
        let run = pod.wait().success();
        let answer = run.stdout.lines().last().expect("an answer");
        let found: Value = serde_json::from_str(answer).expect("JSON");
        assert_ne!(found["seen"], 0, "{user:?}: nothing was hunted: {found}");
        assert_eq!(found["caught"], json!({}), "{user:?}");
    }
}
