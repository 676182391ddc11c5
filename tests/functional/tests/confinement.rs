//! What an app holds, sees and can do to what is outside of it: asked and tried from inside, for every kind of caller.

use std::path::Path;

use functional::{Entry, Env, Image, Kind, Layer, Run, User, scopes_abstract_sockets};
use serde_json::{Value, json};

fn image(env: &Env, tag: &str, image: &Image) -> String {
    let layout = env.scratch("layout");
    image.build().write_layout(&layout, tag);
    env.give(&layout);
    format!("oci:{}:{tag}", layout.display())
}

fn run(env: &Env, name: &str, flags: &[&str], question: &[&str]) -> Run {
    let start = ["--insecure-options=image", "run", "--net=none", name];
    env.skua(&[&start, flags, &["--"], question].concat())
}

/// The conventional set without `CAP_MKNOD` and `CAP_NET_RAW`.
const DEFAULT_SET: &str = "00000000800405fb";
const NONE: &str = "0000000000000000";

#[test]
fn user_0_holds_the_default_set_and_nothing_inheritable_or_ambient() {
    for user in User::all() {
        let env = Env::new(user);
        let name = image(&env, "1", &Image::inspect());
        let status = run(&env, &name, &[], &["status"]).success().json();
        for (set, expected) in [
            ("CapBnd", DEFAULT_SET),
            ("CapPrm", DEFAULT_SET),
            ("CapEff", DEFAULT_SET),
            ("CapInh", NONE),
            ("CapAmb", NONE),
        ] {
            assert_eq!(status[set], expected, "{user:?} {set}");
        }
        assert_eq!(status["NoNewPrivs"], "1", "{user:?}");
        assert_eq!(status["Umask"], "0022", "{user:?}");
    }
}

#[test]
fn another_user_holds_nothing_unless_ambient_is_asked_for() {
    let env = Env::new(User::ordinary());
    let name = image(&env, "1", &Image::inspect());
    let status = run(&env, &name, &["--user=app"], &["status"])
        .success()
        .json();
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(status[set], NONE, "{set}");
    }
    let flags = [
        "--user=app",
        "--ambient",
        "--cap-retain=CAP_NET_BIND_SERVICE",
    ];
    let status = run(&env, &name, &flags, &["status"]).success().json();
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb", "CapBnd"] {
        assert_eq!(status[set], "0000000000000400", "{set}");
    }
}

#[test]
fn capabilities_can_be_dropped_to_none() {
    let env = Env::new(User::ordinary());
    let name = image(&env, "1", &Image::inspect());
    let status = run(&env, &name, &["--cap-retain=none"], &["status"])
        .success()
        .json();
    for set in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(status[set], NONE, "{set}");
    }
}

#[test]
fn an_app_has_three_descriptors_and_a_session_of_its_own() {
    for user in User::all() {
        let env = Env::new(user);
        let name = image(&env, "1", &Image::inspect());
        let answers = run(&env, &name, &[], &["all", "fds", "session", "tty"])
            .success()
            .json();
        let fds = answers["fds"].as_object().expect("descriptors");
        let numbers: Vec<&String> = fds.keys().collect();
        assert_eq!(numbers, ["0", "1", "2"], "{user:?}: {fds:?}");
        assert_eq!(fds["0"], "/dev/null");
        assert_eq!(
            answers["session"]["session"], answers["session"]["pid"],
            "{user:?}"
        );
        assert_eq!(answers["tty"]["controlling"], false);
    }
}

#[test]
fn pid_1_cannot_be_traced_read_or_ended_from_inside() {
    let env = Env::new(User::ordinary());
    let name = image(&env, "1", &Image::inspect());
    for question in [
        vec!["read", "/proc/1/environ"],
        vec!["read", "/proc/1/mem"],
        vec!["read", "/proc/1/maps"],
        vec!["read", "/proc/1/fd/7"],
        vec!["list", "/proc/1/root"],
        vec!["read", "/proc/1/exe"],
    ] {
        let answer = run(&env, &name, &[], &question);
        assert!(
            answer.stdout.contains("EACCES")
                || answer.stdout.contains("EPERM")
                || answer.code() == Some(99),
            "{}",
            answer.report()
        );
    }
    // PTRACE_SEIZE
    let ptrace = libc::SYS_ptrace.to_string();
    run(&env, &name, &[], &["syscall", &ptrace, "0x4206", "1"])
        .success()
        .says("EPERM");
    for signal in ["9", "15", "19"] {
        run(&env, &name, &[], &["kill", "1", signal]).success();
    }
}

#[test]
fn a_working_directory_never_leads_out_of_the_root() {
    let env = Env::new(User::ordinary());
    let layer = Layer::new().entry(Entry::new("out", Kind::Symlink("/proc/1/root".to_owned())));
    let name = image(&env, "1", &Image::inspect().layer(layer));
    for directory in [
        "/proc/self/fd/3",
        "/proc/self/fd/0",
        "/proc/1/root",
        "/proc/1/cwd",
        "/out",
        "/inspect",
    ] {
        let flag = format!("--working-dir={directory}");
        run(&env, &name, &[&flag], &["cwd"]).fails(&["working directory", directory]);
    }
    for (directory, expected) in [
        ("/made/for/us", "/made/for/us"),
        ("/../../etc", "/etc"),
        ("/proc/self/cwd/..", "/"),
    ] {
        let flag = format!("--working-dir={directory}");
        let answer = run(&env, &name, &[&flag], &["cwd"]);
        if directory.contains("self/cwd") {
            answer.fails(&["working directory"]);
        } else {
            assert_eq!(answer.success().json(), json!(expected));
        }
    }
}

#[test]
fn programs_are_found_in_the_image_s_path_and_not_through_proc() {
    let env = Env::new(User::ordinary());
    let layer =
        Layer::new()
            .directory("tools")
            .file("tools/deep", 0o755, functional::inspect_bytes());
    let plain = Image::inspect().layer(layer);
    let with_path = |path: &str| plain.clone().set("Env", json!([format!("PATH={path}")]));
    let name = image(&env, "good", &with_path("/nowhere:/tools"));
    run(&env, &name, &["--exec=deep"], &["exit", "4"]).exits(4);
    for (tag, path, program, part) in [
        ("relative", ".:tools", "deep", "no program 'deep'"),
        ("empty", "", "deep", "no program 'deep'"),
        (
            "proc",
            "/proc/self",
            "exe",
            "cannot execute '/proc/self/exe': Too many symbolic links",
        ),
        (
            "descriptor",
            "/proc/self/fd",
            "3",
            "cannot execute '/proc/self/fd/3': Too many symbolic links",
        ),
    ] {
        let name = image(&env, tag, &with_path(path));
        let flag = format!("--exec={program}");
        run(&env, &name, &[&flag, "--working-dir=/"], &["exit", "0"]).fails(&[part]);
    }
}

#[test]
fn a_limit_that_cannot_be_had_is_an_error_before_any_app_runs() {
    let env = Env::new(User::ordinary());
    let name = image(&env, "1", &Image::inspect());
    let limits = run(&env, &name, &["--rlimit=nofile=100:200"], &["limits"])
        .success()
        .json();
    assert_eq!(limits["RLIMIT_NOFILE"], json!([100, 200]));
    let start = [
        "--insecure-options=image",
        "run",
        "--net=none",
        name.as_str(),
        "--name=first",
        "--",
        "print",
        "executed",
    ];
    let second = [
        "---",
        name.as_str(),
        "--name=second",
        "--rlimit=nofile=unlimited",
    ];
    let failed = env
        .skua(&[&start[..], &second].concat())
        .fails(&["second", "RLIMIT_NOFILE"]);
    assert!(!failed.stdout.contains("executed"), "{}", failed.report());
}

/// What was inherited and cannot be undone is not what was planned: here it is no_new_privs, which the caller has set.
#[test]
fn privileged_what_the_caller_has_given_up_for_ever_is_noticed_before_exec() {
    let test = "privileged_what_the_caller_has_given_up_for_ever_is_noticed_before_exec";
    let Some(root) = User::root(test) else { return };
    // Others need newuidmap, which is setuid.
    for user in [root, User::Single] {
        let env = Env::new(user);
        let name = image(&env, "1", &Image::inspect());
        let ask = |flags: &[&str]| {
            let start = ["--insecure-options=image", "run", &name];
            let command = env.command(&[&start[..], flags, &["--", "exit", "7"]].concat());
            let mut given_up = env.program("setpriv");
            given_up.arg("--no-new-privs").arg(command.get_program());
            Run::of({
                given_up.args(command.get_args());
                given_up
            })
        };
        ask(&[]).exits(7);
        ask(&["--no-new-privileges=false"]).fails(&["not confined as planned", "NoNewPrivs"]);
    }
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach_even_on_its_network_unless_that_is_given_up() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let socket = format!("skua-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&socket).expect("a name");
    let _listener = UnixListener::bind_addr(&address).expect("a socket");
    for user in User::all() {
        let env = Env::new(user);
        let name = image(&env, "1", &Image::inspect());
        let run = |options: &str, network: &str, flags: &[&str]| {
            let start = [options, "run", network, &name];
            let question = ["--", "abstract", "connect", &socket];
            env.skua(&[&start[..], flags, &question].concat())
        };
        let ask = |network: &str, flags: &[&str]| {
            let run = run("--insecure-options=image", network, flags);
            run.success().json()["errno"].clone()
        };
        assert_eq!(ask("--net=none", &[]), "ECONNREFUSED", "{user:?}");
        let given_up = run("--insecure-options=image,landlock", "--net=host", &[]);
        assert_eq!(given_up.success().json()["ok"], true, "{user:?}");
        if !scopes_abstract_sockets() {
            run("--insecure-options=image", "--net=host", &[])
                .fails(&["Linux 6.12"])
                .complains("--insecure-options=landlock");
            continue;
        }
        assert_eq!(ask("--net=host", &[]), "EPERM", "{user:?}");
        // Also when the app may gain privileges: then it is CAP_SYS_ADMIN that lets stage2 scope it.
        let flags = ["--no-new-privileges=false"];
        assert_eq!(ask("--net=host", &flags), "EPERM", "{user:?}");
    }
}

/// A run whose standard input is this file or directory of the host.
fn with_input(env: &Env, name: &str, input: &Path, options: &str, question: &[&str]) -> Value {
    let start = [options, "run", "--net=none", name, "--"];
    let mut command = env.command(&[&start[..], question].concat());
    command.stdin(std::fs::File::open(input).expect("an input"));
    Run::of(command).success().json()
}

#[test]
fn files_that_are_standard_streams_can_be_opened_again_no_further_than_they_are_open() {
    let env = Env::new(User::ordinary());
    let name = image(&env, "1", &Image::inspect());
    let input = env.write("input", "from the caller");
    let options = "--insecure-options=image";
    let ask = |question: &[&str]| with_input(&env, &name, &input, options, question);
    assert_eq!(ask(&["read", "/dev/stdin"])["text"], "from the caller");
    assert_eq!(ask(&["append", "/dev/stdin", "x"])["errno"], "EACCES");
    let output = env.write("output", "");
    let words = [
        options,
        "run",
        &name,
        "--",
        "write",
        "/dev/stdout",
        "logged",
    ];
    let mut command = env.command(&words);
    let file = std::fs::OpenOptions::new().append(true).open(&output);
    command.stdout(file.expect("an output"));
    let ended = command.status().expect("skua");
    assert!(ended.success());
    let logged = std::fs::read_to_string(&output).expect("the output");
    assert!(logged.starts_with("logged"), "{logged}");
}

#[test]
fn programs_rename_link_and_truncate_as_anywhere() {
    for user in User::all() {
        let env = Env::new(user);
        let name = image(
            &env,
            "1",
            &Image::inspect().layer(Layer::new().directory("a").directory("b")),
        );
        for flags in [&[][..], &["--no-new-privileges=false"]] {
            let ask = |question: &[&str]| run(&env, &name, flags, question).success().json();
            assert_eq!(
                ask(&["rename", "/etc/passwd", "/b/passwd"])["ok"],
                true,
                "{user:?}"
            );
            assert_eq!(ask(&["write", "/etc/passwd", "x"])["ok"], true, "{user:?}");
            assert_eq!(ask(&["symlink", "/a", "/b/link"])["ok"], true, "{user:?}");
        }
    }
}

#[test]
fn with_a_read_only_root_an_app_writes_to_its_volumes_and_dev() {
    for user in User::all() {
        let env = Env::new(user);
        let name = image(&env, "1", &Image::inspect());
        let ask = |question: &[&str]| {
            let pod = ["--volume=v,kind=tmpfs,mode=1777", &name];
            let flags = ["--readonly-rootfs", "--mount=volume=v,target=/v"];
            let start = ["--insecure-options=image", "run"];
            let words = [&start[..], &pod, &flags, &["--"], question].concat();
            env.skua(&words).success().json()
        };
        assert_eq!(ask(&["write", "/v/x", "x"])["ok"], true, "{user:?}");
        assert_eq!(ask(&["write", "/dev/shm/x", "x"])["ok"], true, "{user:?}");
        assert_eq!(ask(&["append", "/dev/null", "x"])["ok"], true, "{user:?}");
        assert_eq!(
            ask(&["write", "/proc/self/comm", "x"])["ok"],
            true,
            "{user:?}"
        );
        assert_eq!(ask(&["write", "/etc/hosts", "x"])["ok"], true, "{user:?}");
        assert_eq!(ask(&["write", "/new", "x"])["ok"], false, "{user:?}");
    }
}
