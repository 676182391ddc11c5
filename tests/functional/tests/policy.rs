//! `policy.toml`: bounds that no command line exceeds, checked by stage0 and again by stage1.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use functional::policy::{host_with_policy, set_policy, stage1_by_hand};
use functional::{Env, Image, Run, User, binaries};

/// An image for one user; where its configuration directory says more than the host's, only less is allowed.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User) -> Self {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        Self { env, image }
    }

    /// The caller's own bounds.
    fn bounds(&self, text: &str) {
        let file = self.env.config().join("policy.toml");
        fs::write(&file, text).expect("write");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("chmod");
        self.env.give(&file);
    }

    fn skua(&self, command: &str, pod: &[&str], app: &[&str]) -> Run {
        let first = ["--insecure-options=image", command];
        let last = ["--", "exit", "7"];
        let image = [self.image.as_str()];
        self.env
            .skua(&[&first[..], pod, &image, app, &last].concat())
    }

    fn run(&self, pod: &[&str], app: &[&str]) -> Run {
        self.skua("run", pod, app)
    }
}

#[test]
fn each_bound_refuses_what_exceeds_it_and_names_itself_and_its_file() {
    let lab = Lab::new(User::ordinary());
    let volume = lab.env.scratch("volume");
    fs::create_dir(&volume).expect("a directory");
    lab.env.give(&volume);
    let bind = format!("--volume={}:/x", volume.display());
    let bind_ro = format!("{bind}:ro");
    let below = lab.env.scratch("");
    let below = format!("host-volumes = [{{ path = {below:?} }}]");
    let below_ro = below.replace(" }]", ", read-only = true }]");
    for (text, app, part) in [
        ("capabilities = []", "", "CAP_"),
        ("capabilities = []", "--cap-retain=none", ""),
        ("readonly-rootfs = true", "", "a writable root"),
        ("readonly-rootfs = true", "--readonly-rootfs", ""),
        (
            "no-new-privileges = true",
            "--no-new-privileges=false",
            "new privileges",
        ),
        ("seccomp = []", "", "seccomp default"),
        ("host-volumes = []", &bind_ro, "host volume"),
        (&below, &bind, ""),
        (&below_ro, &bind, "writable host volume"),
        (&below_ro, &bind_ro, ""),
        (
            "devices = []",
            "--device=/dev/zero:/dev/a",
            "device /dev/zero",
        ),
        ("devices = [\"/dev/zero\"]", "--device=/dev/zero:/dev/a", ""),
        ("insecure-options = []", "", "insecure option image"),
        ("networks = [\"host\"]", "", "network none"),
    ] {
        lab.bounds(text);
        let flags = [app];
        let flags = if app.is_empty() { &[][..] } else { &flags };
        let run = lab.run(&["--rm"], flags);
        if part.is_empty() {
            run.exits(7);
        } else {
            run.fails(&[part, "policy.toml", text.split(' ').next().expect("a key")]);
        }
        let left = lab.env.skua(&["list", "--format=json"]).success().json();
        assert_eq!(left["pods"], serde_json::json!([]), "{text}");
    }
}

#[test]
fn a_volume_is_what_its_links_lead_to() {
    let lab = Lab::new(User::ordinary());
    let inside = lab.env.scratch("inside");
    let outside = lab.env.scratch("inside-not");
    for directory in [&inside, &outside] {
        fs::create_dir(directory).expect("a directory");
    }
    symlink(&outside, inside.join("link")).expect("a link");
    lab.env.give(&outside);
    lab.bounds(&format!(
        "host-volumes = [{{ path = \"{}\" }}]",
        inside.display()
    ));
    let bind = |path: &Path| format!("--volume={}:/x", path.display());
    lab.run(&["--rm"], &[&bind(&inside)]).exits(7);
    lab.run(&["--rm"], &[&bind(&outside)])
        .fails(&["inside-not"]);
    lab.run(&["--rm"], &[&bind(&inside.join("link"))])
        .fails(&["inside-not"]);
    lab.run(&["--rm"], &[&bind(&inside.join("../inside-not"))])
        .fails(&["inside-not"]);
}

#[test]
fn what_is_not_a_policy_stops_everything_that_it_could_bound() {
    let lab = Lab::new(User::ordinary());
    for text in [
        "network = []\n",
        "networks = \"none\"\n",
        "networks = [\n",
        "\0",
    ] {
        lab.bounds(text);
        lab.run(&["--rm"], &[]).fails(&["policy.toml", "line 1"]);
    }
    lab.bounds("");
    let file = lab.env.config().join("policy.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).expect("chmod");
    lab.run(&["--rm"], &[])
        .fails(&["policy.toml", "others than its owner"]);
}

#[test]
fn config_and_explain_show_every_bound_with_its_file() {
    let lab = Lab::new(User::ordinary());
    lab.bounds("networks = [\"none\"]\nno-new-privileges = true\n");
    let config = lab.env.skua(&["config"]).success();
    for part in [
        "policy.networks",
        "policy.no-new-privileges",
        "required",
        "config/policy.toml",
    ] {
        assert!(config.stdout.contains(part), "{part}\n{}", config.report());
    }
    lab.skua("explain", &[], &[])
        .success()
        .says("bound networks: \"none\" [");
    lab.skua("explain", &["--net=host"], &[])
        .fails(&["network host"]);
}

#[test]
fn another_stage1_is_bounded_however_it_is_named() {
    let lab = Lab::new(User::ordinary());
    let own = binaries().join("skua-stage1");
    let named = format!("--stage1={}", own.display());
    lab.bounds("stage1 = []");
    lab.run(&["--rm"], &[]).exits(7);
    lab.run(&["--rm", &named], &[])
        .fails(&["stage1 ", "'stage1' of"]);
    let libexec = format!("--libexec-dir={}", binaries().display());
    let words = [
        &libexec,
        "--insecure-options=image",
        "run",
        "--rm",
        &lab.image,
    ];
    lab.env.skua(&words).fails(&["'stage1' of"]);
    lab.bounds(&format!("stage1 = [\"{}\"]", own.display()));
    lab.run(&["--rm", &named], &[]).exits(7);
}

#[test]
fn privileged_no_flag_and_no_file_of_a_user_takes_a_bound_of_the_host_away() {
    let test = "privileged_no_flag_and_no_file_of_a_user_takes_a_bound_of_the_host_away";
    let Some(_host) = host_with_policy(test, "networks = [\"none\"]\n") else {
        return;
    };
    for user in User::all() {
        let lab = Lab::new(user);
        lab.bounds("networks = [\"none\", \"host\"]");
        lab.run(&["--rm", "--net=host"], &[])
            .fails(&["network host", "/etc/skua/policy.toml"]);
        lab.run(&["--rm"], &[]).exits(7);
    }
    set_policy("insecure-options = []\n");
    let lab = Lab::new(User::ordinary());
    lab.run(&["--rm"], &[])
        .fails(&["insecure option image", "/etc/skua/policy.toml"]);
    lab.env
        .skua(&["--insecure-options=tls", "fetch", "localhost:1/x"])
        .fails(&["insecure option tls"]);
    chown("/etc/skua/policy.toml", Some(1), None).expect("chown");
    lab.run(&["--rm"], &[])
        .fails(&["/etc/skua/policy.toml", "others than its owner"]);
}

#[test]
fn privileged_a_prepared_pod_is_held_against_the_bounds_of_when_it_runs() {
    let test = "privileged_a_prepared_pod_is_held_against_the_bounds_of_when_it_runs";
    let Some(_host) = host_with_policy(test, "") else {
        return;
    };
    let lab = Lab::new(User::ordinary());
    let uuid = lab.skua("prepare", &[], &[]).success().stdout;
    set_policy("readonly-rootfs = true\n");
    lab.env
        .skua(&["--insecure-options=image", "run-prepared", uuid.trim()])
        .fails(&["a writable root", "/etc/skua/policy.toml"]);
    set_policy("");
    lab.env
        .skua(&["--insecure-options=image", "run-prepared", uuid.trim()])
        .exits(7);
}

#[test]
fn privileged_stage1_keeps_to_the_bounds_whoever_wrote_the_manifest() {
    let test = "privileged_stage1_keeps_to_the_bounds_whoever_wrote_the_manifest";
    let Some(_host) = host_with_policy(test, "") else {
        return;
    };
    for user in User::all() {
        let lab = Lab::new(user);
        let prepare = || {
            lab.skua("prepare", &[], &[])
                .success()
                .stdout
                .trim()
                .to_owned()
        };
        stage1_by_hand(&lab.env, &prepare()).exits(7);
        let uuid = prepare();
        set_policy("readonly-rootfs = true\n");
        stage1_by_hand(&lab.env, &uuid)
            .fails(&["stage1: a writable root", "/etc/skua/policy.toml"]);
        set_policy("");
    }
}

/// The path of a volume is made to mean something else between the decision and the act.
#[test]
fn privileged_a_volume_that_is_swapped_for_a_link_is_refused_by_stage1() {
    let test = "privileged_a_volume_that_is_swapped_for_a_link_is_refused_by_stage1";
    let Some(host) = host_with_policy(test, "") else {
        return;
    };
    if let Some(program) = functional::missing_program(&["strace"]) {
        return functional::skip(test, &format!("{program} is not installed"));
    }
    let lab = Lab::new(User::Caller);
    let (allowed, secret) = (host.path().join("allowed"), host.path().join("secret"));
    for directory in [&allowed, &secret] {
        fs::create_dir(directory).expect("a directory");
    }
    let volume = allowed.join("volume");
    fs::create_dir(&volume).expect("a directory");
    set_policy(&format!(
        "host-volumes = [{{ path = \"{}\" }}]\n",
        allowed.display()
    ));
    let bind = format!("--volume={}:/x", volume.display());
    lab.run(&["--rm"], &[&bind]).exits(7);
    // Whoever may write to `allowed` swaps it while stage1 waits before its first open_tree: after the check of the plan.
    let words = [
        "--insecure-options=image",
        "run",
        "--rm",
        &lab.image,
        &bind,
        "--",
        "exit",
        "7",
    ];
    let command = lab.env.command(&words);
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=open_tree",
            "-e",
            "inject=open_tree:delay_enter=1500000:when=1",
        ])
        .args(["-o", "/dev/null"])
        .arg(command.get_program())
        .args(command.get_args());
    let pod = functional::Background::start(strace);
    let running = lab.env.data().join("pods/run");
    functional::eventually("the pod is handed over", || {
        let pods = fs::read_dir(&running).into_iter().flatten().flatten();
        pods.map(|pod| pod.path().join("apps"))
            .any(|apps| apps.exists())
    });
    fs::remove_dir(&volume).expect("remove");
    symlink(&secret, &volume).expect("a link");
    pod.wait().fails(&["stage1: host volume", "secret"]);
}

#[test]
fn a_configuration_directory_that_is_not_there_bounds_nothing_and_is_refused() {
    let env = Env::new(User::ordinary());
    let image = env.layout(&Image::inspect().build());
    let absent = env.scratch("absent");
    let skua = |words: &[&str]| {
        let mut command = env.program(functional::binaries().join("skua"));
        command.arg("--data-dir").arg(env.data());
        command.arg("--config-dir").arg(&absent).args(words);
        Run::of(command)
    };
    let what = format!(
        "cannot read the configuration in {}: No such file",
        absent.display()
    );
    let start = ["--insecure-options=image", "run", &image, "--", "exit", "7"];
    skua(&start).fails(&[&what]);
    skua(&["explain", &image]).fails(&[&what]);
    skua(&["config"]).fails(&[&what]);
    // The one command that makes it.
    let key = env.write("key.pem", functional::Key::new(1).public_pem());
    let key = key.display().to_string();
    skua(&["trust", "add", "--prefix", "registry.example", &key]).success();
    skua(&start).exits(7);
}
