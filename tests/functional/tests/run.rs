//! What the flags of `run` do, as an app sees it.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use functional::{Background, Env, Image, Layer, Registry, Run, User};
use serde_json::{Value, json};

/// An environment with one image in its store.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new() -> Self {
        Self::with(User::ordinary(), &Image::inspect())
    }

    fn with(user: User, image: &Image) -> Self {
        let registry = Registry::start();
        let image = registry.push("demo/inspect", "1", &image.build());
        let lab = Self {
            env: Env::new(user),
            image,
        };
        lab.skua(&["fetch", &lab.image]).success();
        lab
    }

    fn skua(&self, words: &[&str]) -> Run {
        self.env
            .skua(&[&["--insecure-options=image"], words].concat())
    }

    /// A pod of one app, with flags before and after the image, that asks `words`.
    fn run(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Run {
        self.skua(&[&["run"], pod, &[&self.image], app, &["--"], words].concat())
    }

    /// The answer to a question asked from inside.
    fn ask(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Value {
        self.run(pod, app, words).success().json()
    }
}

#[test]
fn arguments_reach_the_app_as_they_are_and_the_separator_can_be_escaped() {
    let lab = Lab::new();
    let words = ["args", "", "--name=x", "two words", "--", "\\---", "ä\n"];
    let expected = ["", "--name=x", "two words", "--", "---", "ä\n"];
    assert_eq!(lab.ask(&[], &[], &words), json!(expected));
}

#[test]
fn exec_takes_the_place_of_the_entrypoint_and_drops_the_images_arguments() {
    let image = Image::inspect().cmd(&["exit", "5"]);
    let lab = Lab::with(User::ordinary(), &image);
    lab.skua(&["run", &lab.image]).exits(5);
    lab.run(&[], &[], &["exit", "6"]).exits(6);
    lab.run(&[], &["--exec=/inspect"], &["exit", "7"]).exits(7);
    lab.skua(&["run", &lab.image, "--exec=/no/such/program"])
        .fails(&["/no/such/program"]);
}

#[test]
fn the_only_app_has_standard_input_and_apps_of_a_larger_pod_have_none() {
    let lab = Lab::new();
    let feed = |words: &[&str]| {
        let mut command = lab
            .env
            .command(&[&["--insecure-options=image", "run"], words].concat());
        command.stdin(Stdio::piped());
        let mut run = Background::start(command);
        let mut stdin = run.stdin().expect("a pipe");
        // A pod that does not read is not an error of this test.
        let _ = stdin.write_all(b"fed");
        drop(stdin);
        run.wait().success().stdout
    };
    assert_eq!(feed(&[&lab.image, "--", "cat"]), "fed");
    assert_eq!(feed(&["--interactive", &lab.image, "--", "cat"]), "fed");
    let two = [
        &lab.image, "--name=a", "--", "cat", "---", &lab.image, "--name=b", "--", "cat",
    ];
    assert_eq!(feed(&two), "");
}

#[test]
fn variables_are_typed_or_taken_from_the_caller() {
    let lab = Lab::new();
    let words = [
        "--insecure-options=image",
        "run",
        &lab.image,
        "-e",
        "A=b=c",
        "-e",
        "TAKEN",
        "--",
        "env",
    ];
    let mut command = lab.env.command(&words);
    command
        .env("TAKEN", "from the caller")
        .env("SECRET", "not for the app");
    let variables = Run::of(command).success().json();
    let variables = variables.as_array().expect("variables").clone();
    assert!(
        variables.contains(&json!(["A", "b=c"]))
            && variables.contains(&json!(["TAKEN", "from the caller"]))
    );
    assert!(
        variables.iter().all(|variable| variable[0] != "SECRET"),
        "{variables:?}"
    );
    lab.run(&[], &["-e", "ABSENT"], &["env"]).fails(&["ABSENT"]);
}

#[test]
fn the_host_name_is_typed_or_the_pods_name() {
    let lab = Lab::new();
    assert_eq!(
        lab.ask(&["--hostname=h.example"], &[], &["hostname"]),
        "h.example"
    );
    assert_eq!(lab.ask(&["--name=web"], &[], &["hostname"]), "web");
}

#[test]
fn a_directory_of_the_host_is_mounted_writable_or_read_only() {
    for user in User::all() {
        let lab = Lab::with(user, &Image::inspect());
        let file = lab.env.write("shared", "from the host");
        let directory = file
            .parent()
            .and_then(|path| path.to_str())
            .expect("UTF-8")
            .to_owned();
        let volume = format!("--volume=data,kind=host,source={directory},readonly=true");
        let mount = ["--mount=volume=data,target=/data"];
        assert_eq!(
            lab.ask(&[&volume], &mount, &["read", "/data/shared"])["text"],
            "from the host"
        );
        let refused = lab.ask(&[&volume], &mount, &["write", "/data/shared", "x"]);
        assert_eq!(refused["errno"], "EROFS");
        let wish = ["--insecure-options=image", "run", &volume, &lab.image];
        let writable = ["--mount=volume=data,target=/data,readonly=false"];
        lab.env
            .skua(&[&wish[..], &writable, &["--", "id"]].concat())
            .fails(&["/data cannot be writable", "volume 'data' is read-only"]);
        let bind = format!("--volume={directory}:/data:ro");
        assert_eq!(
            lab.ask(&[], &[&bind], &["write", "/data/new", "x"])["errno"],
            "EROFS"
        );
    }
}

#[test]
fn an_ordinary_users_own_files_can_be_written_through_a_volume() {
    let lab = Lab::new();
    let file = lab.env.write("shared", "before");
    let bind = format!("-v{}:/file", file.display());
    assert_eq!(
        lab.ask(&[], &[&bind], &["write", "/file", "after"])["ok"],
        true
    );
    assert_eq!(fs::read_to_string(file).expect("the file"), "after");
}

#[test]
fn an_empty_volume_is_shared_by_the_apps_and_gone_with_the_pod() {
    let lab = Lab::new();
    let mount = "--mount=volume=shared,target=/shared";
    let words = [
        &[
            "run",
            "--volume=shared,kind=empty,mode=1777",
            &lab.image,
            "--name=writer",
            mount,
        ][..],
        &["--", "write", "/shared/file", "x"],
        &[
            "---",
            &lab.image,
            "--name=reader",
            "--mount=volume=shared,target=/other,readonly=true",
        ],
        &["--", "write", "/other/denied", "x"],
    ];
    let run = lab.skua(&words.concat()).success();
    assert!(
        run.stdout.contains("true") && run.stdout.contains("EROFS"),
        "{}",
        run.report()
    );
    assert_eq!(
        lab.ask(
            &["--volume=shared,kind=empty"],
            &[mount],
            &["list", "/shared"]
        ),
        json!([])
    );
}

#[test]
fn a_tmpfs_has_the_size_that_was_asked_for() {
    let lab = Lab::new();
    let volume = ["--volume=t,kind=tmpfs,size=64K,mode=1777"];
    let mounts = lab.ask(&volume, &["--mount=volume=t,target=/t"], &["mounts"]);
    let found = mounts
        .as_array()
        .into_iter()
        .flatten()
        .find(|mount| mount["target"] == "/t");
    let found = found.expect("a mount on /t");
    assert_eq!(found["type"], "tmpfs");
    assert!(
        found["super"]
            .as_array()
            .is_some_and(|options| options.contains(&json!("size=64k"))),
        "{found}"
    );
}

#[test]
fn a_volume_that_is_not_there_is_told_before_anything_is_made() {
    let lab = Lab::new();
    lab.run(&[], &["-v/no/such/path:/data"], &["exit", "0"])
        .fails(&["/no/such/path"]);
    let left = fs::read_dir(lab.env.data().join("pods/exited-garbage"))
        .into_iter()
        .flatten()
        .count();
    assert_eq!(left, 0);
}

#[test]
fn a_read_only_root_leaves_the_images_volumes_writable() {
    let image = Image::inspect().set("Volumes", json!({"/var/data": {}}));
    let lab = Lab::with(User::ordinary(), &image);
    let write = |app: &[&str], path: &str| lab.ask(&[], app, &["write", path, "x"]);
    assert_eq!(write(&["--readonly-rootfs"], "/file")["errno"], "EROFS");
    assert_eq!(write(&["--readonly-rootfs"], "/var/data/file")["ok"], true);
    assert_eq!(write(&[], "/file")["ok"], true);
}

#[test]
fn capabilities_are_what_the_flags_say() {
    let lab = Lab::new();
    let bounding = |flags: &[&str]| {
        let status = lab.ask(&[], flags, &["status"]);
        u64::from_str_radix(status["CapBnd"].as_str().expect("CapBnd"), 16).expect("hexadecimal")
    };
    let default = bounding(&[]);
    assert_eq!(bounding(&["--cap-retain=none"]), 0);
    assert_eq!(bounding(&["--cap-retain=CAP_KILL,chown"]), (1 << 5) | 1);
    assert_eq!(bounding(&["--cap-remove=kill"]), default & !(1 << 5));
    assert_eq!(bounding(&["--cap-add=net_raw"]), default | (1 << 13));
}

#[test]
fn limits_and_new_privileges_are_what_the_flags_say() {
    let lab = Lab::new();
    let limits = lab.ask(
        &[],
        &["--rlimit=nofile=64:128", "--ulimit=core=0"],
        &["limits"],
    );
    assert_eq!(
        (&limits["RLIMIT_NOFILE"], &limits["RLIMIT_CORE"]),
        (&json!([64, 128]), &json!([0, 0]))
    );
    assert_eq!(lab.ask(&[], &[], &["status"])["NoNewPrivs"], "1");
    assert_eq!(
        lab.ask(&[], &["--no-new-privileges=false"], &["status"])["NoNewPrivs"],
        "0"
    );
}

#[test]
fn no_system_call_filter_only_as_an_exception() {
    let lab = Lab::new();
    assert_eq!(lab.ask(&[], &[], &["status"])["Seccomp"], "2");
    lab.run(&[], &["--seccomp=unconfined"], &["status"])
        .fails(&["--seccomp=unconfined"]);
    let options = "--insecure-options=image,seccomp";
    let words = [
        options,
        "run",
        &lab.image,
        "--seccomp=unconfined",
        "--",
        "status",
    ];
    let status = lab.env.skua(&words).success().json();
    assert_eq!(status["Seccomp"], "0");
}

#[test]
fn the_stop_signal_is_the_images_or_the_one_typed() {
    let image = Image::inspect().set("StopSignal", json!("SIGUSR1"));
    let lab = Lab::with(User::ordinary(), &image);
    for (flags, signal) in [
        (&[][..], "SIGUSR1"),
        (&["--stop-signal=10"], "SIGUSR1"),
        (&["--stop-signal=hup"], "SIGHUP"),
    ] {
        let words = [
            &["--insecure-options=image", "run", &lab.image],
            flags,
            &["--", "trap", signal, "3"],
        ];
        let mut pod = lab.env.spawn(&words.concat());
        pod.prints("ready");
        pod.signal(nix::sys::signal::Signal::SIGTERM);
        pod.wait().exits(3).says(signal);
    }
}

#[test]
fn an_app_that_ignores_its_stop_signal_is_killed_after_the_stop_timeout() {
    let lab = Lab::new();
    let words = [
        "--insecure-options=image",
        "run",
        "--stop-timeout=1",
        &lab.image,
        "--",
        "ignore",
        "SIGTERM",
    ];
    let mut pod = lab.env.spawn(&words);
    pod.prints("ready");
    pod.signal(nix::sys::signal::Signal::SIGTERM);
    let run = pod.wait().exits(137);
    assert!(run.elapsed.as_secs() < 10, "{}", run.report());
}

#[test]
fn nothing_is_fetched_when_that_is_forbidden() {
    let lab = Lab::new();
    lab.run(&["--pull=never"], &[], &["exit", "4"]).exits(4);
    let other = lab
        .image
        .replace(":1", ":2")
        .replace("inspect:2", "inspect:absent");
    lab.skua(&["run", "--pull=never", &other])
        .fails(&["is not in the store"])
        .complains("hint: skua fetch");
}

#[test]
fn a_program_that_cannot_be_executed_is_named_with_what_to_look_for() {
    let files = Layer::new()
        .file("script", 0o755, "#!/no/such/interpreter\n")
        .file("text", 0o644, "no program\n")
        .file("garbage", 0o755, [0x7f; 64].to_vec());
    let lab = Lab::with(User::ordinary(), &Image::inspect().layer(files));
    for (program, cause, hint) in [
        (
            "/script",
            "No such file",
            "the interpreter ('#!') that it needs is not",
        ),
        (
            "/text",
            "Permission denied",
            "it is no program, or this user may not",
        ),
        ("/garbage", "Exec format error", "architecture"),
    ] {
        let what = format!("cannot start app inspect: cannot execute '{program}': {cause}");
        let flag = format!("--exec={program}");
        lab.run(&[], &[&flag], &[]).fails(&[&what]).complains(hint);
    }
    lab.run(&[], &["--user=70000"], &["exit", "0"])
        .fails(&["user 70000 is not in the id map of the pod"])
        .complains("/etc/subuid");
}
