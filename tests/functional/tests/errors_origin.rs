//! What a user is told about a thing that the command line does not show: which flag, which file has asked for it, and what
//! would help.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use functional::{Env, Image, User, mount_data, private_mounts};

const INSECURE: &str = "--insecure-options=image";
const OTHER_DATA: &str = "hint: --data-dir names another directory for images and pods\n";

fn env() -> Env {
    Env::new(User::ordinary())
}

#[test]
fn what_is_wrong_with_a_file_of_a_uuid_names_the_file() {
    let env = env();
    let unknown = "3f2a0b1c-0000-4000-8000-0123456789ab\n";
    let long = "x".repeat(1000);
    for (content, part) in [
        ("not a uuid\n", "'not a uuid' is not a lower-case UUID"),
        ("", "'' is not a lower-case UUID"),
        (unknown, "there is no pod 3f2a0b1c-"),
        (&long, "64 bytes"),
    ] {
        let file = env.write("uuid", content);
        let flag = format!("--uuid-file={}", file.display());
        for command in ["status", "stop", "rm"] {
            env.skua(&[command, &flag])
                .fails(&[file.to_str().unwrap(), part]);
        }
    }
}

#[test]
fn a_file_of_the_host_that_is_not_there_is_told_with_its_flag() {
    let env = env();
    let image = env.layout(&Image::inspect().build());
    for (before, after, flag) in [
        (
            &["--volume=v,kind=host,source=/nowhere/file"][..],
            &["--mount=volume=v,target=/x"][..],
            "--volume",
        ),
        (&[], &["-v", "/nowhere/file:/x"], "--volume"),
        (&[], &["--seccomp=/nowhere/file"], "--seccomp"),
        (&[], &["--device=/dev/nowhere/file"], "--device"),
    ] {
        let words = [&[INSECURE, "run"], before, &[image.as_str()], after].concat();
        let run = env.skua(&words).fails(&[
            "nowhere/file, which ",
            &format!("{flag} names: No such file"),
        ]);
        let made = "hint: make it first: skua makes no file or directory of the host";
        assert_eq!(
            run.stderr.contains(made),
            flag == "--volume",
            "{}",
            run.report()
        );
    }
    let empty = "--volume=v,kind=host,source=";
    let mounted = "--mount=volume=v,target=/x";
    env.skua(&[INSECURE, "run", empty, &image, mounted])
        .fails(&["--volume: the path of the host is empty"]);
    env.skua(&[INSECURE, "run", &image, "--device=/dev/shm"])
        .fails(&["/dev/shm, which --device names, is not a device"]);
    env.skua(&[INSECURE, "run", "--signature=/nowhere/file", &image])
        .fails(&["cannot read signature /nowhere/file"]);
}

#[test]
fn a_network_of_config_toml_is_told_with_that_file() {
    for user in User::all() {
        let env = Env::new(user);
        let file = env.config().join("config.toml");
        fs::write(&file, "net = \"nowhere\"\n").expect("write config.toml");
        env.give(&env.config());
        let named = format!("cannot use the network that {} names: ", file.display());
        let (cause, hint) = match user.is_root() {
            true => ("there is no network 'nowhere'", "hint: there are "),
            false => ("only root can connect", "hint: an ordinary user has "),
        };
        env.skua(&["run", "example.org/a"])
            .fails(&[&named, cause])
            .complains(hint);
        // Whoever types it knows where it comes from.
        let typed = env.skua(&["run", "--net=nowhere", "example.org/a"]);
        let typed = typed.fails(&[cause]);
        assert!(!typed.stderr.contains("config.toml"), "{}", typed.report());
    }
}

#[test]
fn a_data_directory_that_cannot_be_written_is_told_with_the_flag_that_names_another() {
    let env = env();
    let data = env.data();
    fs::create_dir(&data).expect("mkdir");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).expect("chmod");
    env.give(&data);
    if env.user().is_root() {
        return functional::skip("a_data_directory_that_cannot_be_written", "root writes it");
    }
    env.skua(&[INSECURE, "run", "example.org/a"])
        .fails(&["cannot make the image store", "Permission denied"])
        .complains(OTHER_DATA);
    // Images are there, and pods are not.
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("chmod");
    let image = env.layout(&Image::inspect().build());
    env.skua(&[INSECURE, "fetch", &image]).success();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).expect("chmod");
    env.skua(&[INSECURE, "prepare", &image])
        .fails(&["cannot make directory", "/pods/", "Permission denied"])
        .complains(OTHER_DATA);
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).expect("chmod");
    let file = env.write("file", "");
    let mut command = env.program(functional::binaries().join("skua"));
    command.arg("--data-dir").arg(file);
    command.args([INSECURE, "run", "example.org/a"]);
    functional::Run::of(command)
        .fails(&["Not a directory"])
        .complains(OTHER_DATA);
}

#[test]
fn privileged_a_file_system_that_is_read_only_is_no_directory_that_cannot_be_opened() {
    let test = "privileged_a_file_system_that_is_read_only";
    let Some(root) = private_mounts(test) else {
        return;
    };
    let env = Env::new(root);
    let image = env.layout(&Image::inspect().build());
    mount_data(&env, "size=64m");
    env.skua(&[INSECURE, "fetch", &image]).success();
    let read_only = nix::mount::MsFlags::MS_REMOUNT | nix::mount::MsFlags::MS_RDONLY;
    let none = None::<&str>;
    nix::mount::mount(none, &env.data(), none, read_only, none).expect("remount");
    env.skua(&[INSECURE, "run", &image])
        .fails(&["cannot make directory", "/pods/", "Read-only file system"])
        .complains(OTHER_DATA);
    env.skua(&[INSECURE, "fetch", "--as=example.org/a:1", &image])
        .fails(&["cannot write", "Read-only file system"])
        .complains(OTHER_DATA);
    env.skua(&["image", "rm", &image])
        .fails(&["cannot remove", "Read-only file system"])
        .complains(OTHER_DATA);
}

/// `newuidmap` knows users by their names, whatever `/etc/subuid` has for their number.
#[test]
fn privileged_who_has_ids_and_no_name_is_sent_to_doctor_and_not_to_sysctl() {
    let test = "privileged_who_has_ids_and_no_name";
    if functional::missing_program(&["newuidmap"]).is_some() {
        return functional::skip(test, "newuidmap is not installed");
    }
    let Some(_) = private_mounts(test) else {
        return;
    };
    let env = Env::new(User::Number(54_321));
    let table = env.write("table", "54321:200000:65536\n");
    let (none, bind) = (None::<&str>, nix::mount::MsFlags::MS_BIND);
    for at in ["/etc/subuid", "/etc/subgid"] {
        nix::mount::mount(Some(&table), at, none, bind, none).expect("bind");
    }
    let image = env.layout(&Image::inspect().build());
    let run = env.skua(&[INSECURE, "fetch", &image]);
    // What it began cannot be removed for the same reason, and a note says so.
    let run = run
        .exits(254)
        .complains("skua: cannot start the unpack worker: ");
    let run = run.complains("hint: 'skua doctor' says which ids there are for you");
    assert!(!run.stderr.contains("sysctl"), "{}", run.report());
}

/// As in a container of an ordinary user: what looks like root has one id.
#[test]
fn root_of_a_user_namespace_is_told_that_it_is_not_the_host_s() {
    let env = env();
    let image = env.layout(&Image::inspect().build());
    let inside = |words: &[&str]| {
        let mut command = env.program("unshare");
        let skua = env.command(words);
        command.args(["--user", "--map-root-user"]);
        command.arg(skua.get_program()).args(skua.get_args());
        functional::Run::of(command)
    };
    inside(&[INSECURE, "fetch", &image])
        .fails(&["cannot give ", "/fs to user 2147352576: Invalid argument"])
        .complains("hint: root has not the ids of layers here");
    env.skua(&[INSECURE, "fetch", &image]).success();
    inside(&[INSECURE, "run", "--pull=never", &image])
        .fails(&["cannot lock a range of user ids: "])
        .complains("hint: this root is not the host's");
    let report = inside(&["doctor", "--format=json"]);
    let checks = report.json()["checks"].as_array().expect("checks").clone();
    let ids = checks.iter().find(|check| check["name"] == "ids").unwrap();
    assert_eq!(ids["verdict"], "missing", "{}", report.report());
}
