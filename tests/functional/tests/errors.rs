//! What a user is told when something is wrong: one line, the cause, a hint where it is known, and exit status 254.

use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::process::Stdio;

use functional::{Env, Image, Run, User, private_mounts};
use nix::mount::{MsFlags, mount};

fn env() -> Env {
    Env::new(User::ordinary())
}

#[test]
fn a_wrong_command_line_is_one_line_and_254() {
    let env = env();
    for (words, parts) in [
        (
            &["frobnicate"][..],
            &["unrecognized subcommand 'frobnicate'"][..],
        ),
        (
            &["list", "--format=xml"],
            &["invalid value 'xml'", "--format"],
        ),
        (&["status"], &["UUID"]),
        (&["run"], &["IMAGE"]),
        (&["run", "example.org/a", "--hostname=x"], &["--hostname"]),
        (&["run", "--exec=x", "example.org/a"], &["--exec"]),
        (&["run", "example.org/a", "---"], &["no image"]),
        (
            &["run", "--volume=v,kind=floppy", "example.org/a"],
            &["floppy", "--volume"],
        ),
        (
            &["run", "--insecure-options=image", "example.org/a"],
            &["--insecure-options"],
        ),
    ] {
        let run = env.skua(words).fails(parts);
        assert!(run.stdout.is_empty(), "{}", run.report());
        assert!(run.stderr.lines().count() <= 2, "{}", run.report());
    }
}

#[test]
fn no_capability_and_some_cannot_be_asked_for_at_once() {
    let env = env();
    let image = env.layout(&functional::Image::inspect().build());
    for flag in ["--cap-retain", "--cap-remove", "--cap-add"] {
        for list in ["none,chown", "kill,none"] {
            let typed = format!("{flag}={list}");
            let words = [
                "--insecure-options=image",
                "run",
                &image,
                &typed,
                "--",
                "exit",
                "0",
            ];
            env.skua(&words).fails(&[flag, "'none' cannot be combined"]);
        }
    }
}

#[test]
fn a_command_that_is_missing_is_said_to_be_and_hidden_ones_are_not_offered() {
    let env = env();
    for words in [&[][..], &["image"], &["trust"]] {
        let run = env.skua(words).fails(&["skua: a command is missing"]);
        let run = run.complains("usage: skua").complains("--help");
        assert!(!run.stderr.contains("worker"), "{}", run.report());
    }
    env.skua(&["help"])
        .fails(&["'help'"])
        .complains("--help lists the commands");
}

#[test]
fn errors_are_one_json_object_when_asked_for() {
    let env = env();
    for (words, code) in [
        (&["--error-format=json", "frobnicate"][..], "usage"),
        (&["--error-format", "json", "status", "deadbeef"], "no-pod"),
        (&["--error-format=json", "run", "nginx"], "image-name"),
    ] {
        let run = env.skua(words).exits(254);
        let error: serde_json::Value =
            serde_json::from_str(&run.stderr).expect("JSON on standard error");
        assert_eq!(error["stage"], "stage0", "{}", run.report());
        assert_eq!(error["code"], code, "{}", run.report());
        assert!(
            error["cause"]
                .as_str()
                .is_some_and(|cause| !cause.is_empty())
        );
        assert!(error.get("hint").is_some(), "{}", run.report());
    }
}

#[test]
fn a_name_without_a_registry_is_never_guessed() {
    env()
        .skua(&["run", "nginx"])
        .fails(&["'nginx' has no registry", "docker.io/nginx"]);
}

#[test]
fn an_argument_that_is_not_utf_8_is_refused() {
    let env = env();
    let mut command = env.command(&["run", "example.org/a", "--"]);
    command.arg(std::ffi::OsString::from_vec(vec![b'a', 0xff]));
    Run::of(command).fails(&["argument \"a\\xFF\" is not UTF-8"]);
}

#[test]
fn foreign_text_cannot_move_the_cursor() {
    let run = env().skua(&["status", "\x1b[2J\u{202e}x"]).exits(254);
    assert!(
        !run.stderr.contains('\x1b') && !run.stderr.contains('\u{202e}'),
        "{}",
        run.report()
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let env = env();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = env.command(&["completion", "bash"]);
    command.stdout(Stdio::from(writer)).stderr(Stdio::piped());
    let output = command
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("run skua");
    assert_eq!(output.status.code(), Some(141));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_full_disk_below_standard_output_is_an_error() {
    let env = env();
    let mut command = env.command(&["version"]);
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    command.stdout(full).stderr(Stdio::piped());
    let output = command
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .expect("run skua");
    assert_eq!(output.status.code(), Some(254));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.starts_with("skua: cannot write to standard output: "),
        "{text}"
    );
}

#[test]
fn a_data_directory_that_cannot_be_made_is_named() {
    let env = env();
    let mut command = env.program(functional::binaries().join("skua"));
    command.args([
        "--data-dir=/proc/nowhere",
        "--insecure-options=image",
        "run",
        "example.org/a",
    ]);
    Run::of(command).fails(&["/proc/nowhere"]);
}

#[test]
fn a_wrong_configuration_file_is_named_and_stops_everything_that_needs_it() {
    let env = env();
    for (text, part) in [
        (
            "net = \"none\"\nnett = 1\n",
            ": line 2: unknown field `nett`",
        ),
        ("stop-timeout = \"soon\"\n", "soon"),
        ("cni-path = [\"relative\"]\n", "relative"),
        ("net = [", "config.toml"),
    ] {
        fs::write(env.config().join("config.toml"), text).expect("write config.toml");
        env.give(&env.config());
        env.skua(&["config"]).fails(&["config.toml", part]);
        env.skua(&["run", "example.org/a"]).fails(&["config.toml"]);
    }
}

#[test]
fn an_ordinary_user_is_told_which_networks_there_are() {
    env()
        .skua(&["run", "--net=default", "example.org/a"])
        .fails(&["only root"])
        .complains("hint: ");
}

#[test]
fn a_pod_that_does_not_exist_is_an_error_everywhere() {
    let env = env();
    let unknown = "3f2a0b1c-0000-4000-8000-0123456789ab";
    for command in [
        "status",
        "cat-manifest",
        "enter",
        "stop",
        "rm",
        "run-prepared",
    ] {
        for pod in [unknown, "3f2a", "no-such-name"] {
            env.skua(&[command, pod]).fails(&["there is no pod", pod]);
        }
        env.skua(&[command, "--name=absent"])
            .fails(&["there is no pod 'absent'"]);
    }
    let file = env.write("uuid", "not a uuid\n");
    let file = format!("--uuid-file={}", file.display());
    env.skua(&["status", &file]).fails(&["not a uuid"]);
}

#[test]
fn what_only_looks_makes_nothing() {
    let env = env();
    env.skua(&["list"]).success();
    env.skua(&["gc"]).success();
    env.skua(&["config"]).success();
    assert!(!env.data().exists());
}

#[test]
fn help_names_every_flag_of_an_app_and_goes_to_standard_output() {
    let run = env().skua(&["run", "--help"]).success();
    for flag in [
        "--uuid-file-save",
        "--cap-retain",
        "--readonly-rootfs",
        "---",
    ] {
        assert!(run.stdout.contains(flag), "{}", run.report());
    }
    assert!(run.stderr.is_empty());
    env().skua(&["--help"]).success().says("254");
    env()
        .skua(&["run", "example.org/a", "--help"])
        .success()
        .says("--cap-retain");
}

#[test]
fn what_is_relative_in_the_path_of_plugins_is_told() {
    let env = env();
    let mut command = env.command(&["config"]);
    command.env("CNI_PATH", "/opt/cni/bin:plugins");
    Run::of(command).fails(&["$CNI_PATH", "relative"]);
}

#[test]
fn completion_knows_commands_and_the_flags_of_pods_and_apps() {
    for shell in ["bash", "zsh", "fish"] {
        let script = env().skua(&["completion", shell]).success().stdout;
        for word in ["run-prepared", "uuid-file-save", "cap-retain"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        for hidden in ["worker", "skua-man", "skua,man", "manual pages"] {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
}

#[test]
fn debug_tells_what_is_done_and_quiet_tells_nothing() {
    let registry = functional::Registry::start();
    let image = registry.push("demo/inspect", "1", &functional::Image::inspect().build());
    let env = env();
    let run = |flag: &str| {
        let words = [
            flag,
            "--insecure-options=image",
            "run",
            &image,
            "--",
            "exit",
            "0",
        ];
        env.skua(&words).success().stderr
    };
    run("--quiet");
    assert!(run("--debug").contains("skua: debug: "), "nothing is said");
    assert_eq!(run("--quiet"), "");
}

/// As in a container whose root is an overlay: layers can be kept there, but their owners cannot be mapped.
#[test]
fn privileged_a_data_directory_whose_file_system_cannot_map_ids_is_named() {
    let Some(root) =
        private_mounts("privileged_a_data_directory_whose_file_system_cannot_map_ids_is_named")
    else {
        return;
    };
    let env = Env::new(root);
    let image = env.layout(&Image::inspect().build());
    let parts = ["lower", "upper", "work"].map(|part| env.scratch(part));
    for part in &parts {
        fs::create_dir(part).expect("mkdir");
    }
    let [lower, upper, work] = parts.map(|part| part.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    fs::create_dir_all(env.data()).expect("mkdir");
    let (kind, none) = (Some("overlay"), MsFlags::empty());
    mount(kind, &env.data(), kind, none, Some(options.as_str())).expect("an overlay");
    let words = ["--insecure-options=image", "run", &image, "--", "exit", "0"];
    env.skua(&words)
        .fails(&["cannot set flags and id map"])
        .complains("--data-dir names another");
}
