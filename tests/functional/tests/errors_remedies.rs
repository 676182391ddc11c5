//! What a user is told to do about an image, a pod or a disk that is not as a command needs it.

use std::fs::{self, File};
use std::io::Write as _;

use functional::{Env, Image, Run, User, eventually, mount_data, private_mounts};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const INSECURE: &str = "--insecure-options=image";

fn env() -> Env {
    Env::new(User::ordinary())
}

#[test]
fn a_local_image_that_is_none_is_told_with_what_it_could_be() {
    let env = env();
    let text = env.write(
        "text",
        "no archive, and not as short as half of a block of one",
    );
    let padded = env.write("padded", "no archive ".repeat(200));
    let [text, padded] = [text, padded].map(|path| path.display().to_string());
    let directory = env.scratch("").display().to_string();
    let directory = directory.trim_end_matches('/');
    for (name, parts, hint) in [
        (
            "oci:/nowhere/layout:1".to_owned(),
            &["cannot open image layout /nowhere/layout: No such file"][..],
            "",
        ),
        (
            format!("oci:{text}"),
            &["cannot open image layout ", "Not a directory"],
            "hint: a directory is oci:DIRECTORY; a file is oci-archive:FILE",
        ),
        (
            format!("oci-archive:{directory}"),
            &["image archive ", "is not a regular file"],
            &format!("hint: a directory is oci:{directory}"),
        ),
        (
            "docker-archive:/nowhere/file".to_owned(),
            &["cannot open image archive /nowhere/file: No such file"],
            "",
        ),
        (
            format!("oci-archive:{padded}"),
            &["it is no tar archive: a number in its header"],
            "",
        ),
        (
            format!("docker-archive:{padded}"),
            &["it is no tar archive: a number in its header"],
            "",
        ),
    ] {
        let run = env.skua(&[INSECURE, "fetch", &name]).fails(parts);
        let run = run.complains(hint);
        assert!(!run.stderr.contains("layer"), "{}", run.report());
    }
}

#[test]
fn a_place_that_cannot_take_an_image_is_told_with_what_it_must_be() {
    let env = env();
    let image = env.layout(&Image::inspect().build());
    env.skua(&[INSECURE, "fetch", &image]).success();
    let full = env.scratch("full");
    fs::create_dir(&full).expect("mkdir");
    fs::write(full.join("file"), "").expect("write");
    env.give(&full);
    let full = full.to_str().unwrap();
    for (words, part, hint) in [
        (
            ["image", "extract", &image, full],
            "Directory not empty",
            "hint: it must be empty, or not there yet",
        ),
        (
            ["image", "extract", &image, "/nowhere/a/b"],
            "/nowhere/a/b: No such file",
            "hint: the directory in which it is to be made must be there",
        ),
        (
            ["image", "export", &image, full],
            "File exists",
            "hint: nothing is replaced: remove it first, or name another",
        ),
    ] {
        env.skua(&words).fails(&[part]).complains(hint);
    }
    env.skua(&["trust", "add", "--prefix=example.org/a", "/nowhere/key"])
        .fails(&["cannot read key /nowhere/key"]);
}

#[test]
fn a_pod_that_does_not_run_is_told_with_what_it_does_instead() {
    let env = env();
    let image = env.layout(&Image::inspect().build());
    let id = env.skua(&[INSECURE, "prepare", "--name=p", &image]);
    let id = id.success().stdout.trim().to_owned();
    for command in ["enter", "stop", "kill"] {
        env.skua(&[command, "p"])
            .fails(&["is not running: it is prepared"])
            .complains(&format!("hint: skua run-prepared {id}\n"));
    }
    env.skua(&[INSECURE, "run", "--name=p", &image])
        .fails(&["the name 'p' is taken"])
        .complains(&format!("'skua status {id}' shows"));
    env.skua(&[INSECURE, "run-prepared", "p"]);
    for command in ["enter", "stop", "kill"] {
        env.skua(&[command, &id])
            .fails(&["is not running: it has ended"]);
    }
}

/// Pid 1 has ended, and the keeper has not noticed.
#[test]
fn a_pod_that_is_being_undone_is_not_running_for_who_enters() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let words = [
            INSECURE, "run", "--name=p", &image, "--", "trap", "SIGTERM", "0",
        ];
        let mut pod = env.spawn(&words);
        pod.prints("ready");
        let id = env.skua(&["list", "--format=json"]).success().json();
        let id = id["pods"][0]["uuid"].as_str().expect("a UUID").to_owned();
        let file = env.data().join("pods/run").join(id).join("pid");
        let text = fs::read_to_string(file).expect("the file pid");
        let first: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let first = first["pod"]["pid"].as_i64().expect("a pid");
        pod.signal(Signal::SIGSTOP);
        kill(
            Pid::from_raw(i32::try_from(first).unwrap()),
            Signal::SIGKILL,
        )
        .expect("kill");
        eventually("pid 1 has ended", || {
            fs::read_to_string(format!("/proc/{first}/status"))
                .is_ok_and(|status| status.contains("State:\tZ"))
        });
        let entered = env.skua(&["enter", "p", "--", "/inspect"]);
        pod.signal(Signal::SIGCONT);
        entered.fails(&["the pod is not running"]);
        pod.wait();
    }
}

#[test]
fn privileged_a_full_disk_is_told_before_the_record_that_cannot_be_written_either() {
    let test = "privileged_a_full_disk_is_told_before_the_record";
    let Some(root) = private_mounts(test) else {
        return;
    };
    let env = Env::new(root);
    let image = env.layout(&Image::inspect().build());
    mount_data(&env, "size=32m");
    let prepare = |name: &str| -> Run {
        let name = format!("--name={name}");
        env.skua(&[INSECURE, "prepare", &name, &image])
    };
    let id = prepare("p").success().stdout.trim().to_owned();
    let mut filler = File::create(env.data().join("filler")).expect("a file");
    while filler.write(&[0; 65536]).is_ok() {}
    let room = "gc` make room in the data directory";
    let run = env.skua(&[INSECURE, "run-prepared", "p"]).exits(254);
    let lines: Vec<&str> = run.stderr.lines().collect();
    let [first, _, second, hint] = lines[..] else {
        panic!("{}", run.report());
    };
    assert!(
        first.contains("in the pod directory: No space left"),
        "{first}"
    );
    let recorded = format!("cannot record how pod {id} ended: ");
    assert!(second.contains(&recorded), "{}", run.report());
    assert!(hint.starts_with("hint: ") && hint.contains(room), "{hint}");
    prepare("q")
        .fails(&["pod.json: No space left"])
        .complains("'skua image gc' make room");
}

#[test]
fn a_pod_whose_record_is_lost_is_told_to_be_removed() {
    let env = env();
    let image = env.layout(&Image::inspect().build());
    let id = env.skua(&[INSECURE, "prepare", &image]).success().stdout;
    let id = id.trim();
    let record = env.data().join("pods/prepared").join(id).join("pod.json");
    fs::write(&record, "{").expect("write");
    for command in ["run-prepared", "cat-manifest"] {
        env.skua(&[INSECURE, command, id])
            .fails(&["cannot parse ", "pod.json"])
            .complains("'skua rm' removes the pod");
    }
    env.skua(&["rm", id]).success();
}

#[test]
fn an_installation_without_stage2_is_told_where_it_belongs() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        env.skua(&[INSECURE, "fetch", &image]).success();
        let alone = env.scratch("alone");
        fs::create_dir(&alone).expect("mkdir");
        for program in ["skua", "skua-stage1"] {
            fs::copy(functional::binaries().join(program), alone.join(program)).expect("copy");
        }
        env.give(&alone);
        let mut command = env.program(alone.join("skua"));
        command.args(env.command(&[INSECURE, "run", &image]).get_args());
        Run::of(command)
            .fails(&["/alone/skua-stage2: No such file"])
            .complains("hint: it belongs beside skua-stage1");
    }
}

/// What can be mounted below a volume, and what a volume then needs.
#[test]
fn privileged_a_volume_with_others_below_it_is_told_with_what_helps() {
    let test = "privileged_a_volume_with_others_below_it_is_told_with_what_helps";
    let Some(root) = private_mounts(test) else {
        return;
    };
    for (user, below, fails, hint, helps) in [
        // Whose ids are mapped, of what cannot be.
        (
            root,
            "proc",
            "",
            "which `recursive=false` leaves out",
            ",recursive=false",
        ),
        // Who has not mounted what is below.
        (
            User::ordinary(),
            "tmpfs",
            ",recursive=false",
            "by default they come along",
            "",
        ),
    ] {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let shared = env.scratch("shared");
        fs::create_dir_all(shared.join("below")).expect("directories");
        env.give(&shared);
        let (place, none) = (shared.join("below"), None::<&str>);
        mount(Some(below), &place, Some(below), MsFlags::empty(), none).expect("mount");
        let run = |options: &str| {
            let volume = format!("--volume=v,kind=host,source={}{options}", shared.display());
            let app = [&image, "--mount=volume=v,target=/v", "--", "exit", "0"];
            env.skua(&[&[INSECURE, "run", &volume], &app[..]].concat())
        };
        run(fails).fails(&["Invalid argument"]).complains(hint);
        run(helps).success();
    }
}

#[test]
fn what_no_plugin_of_a_network_can_is_told_with_another_way() {
    let env = env();
    let image = env.layout(&Image::inspect().build());
    for (arguments, part, remedy) in [
        (
            "DNS=192.0.2.53",
            "the capability 'dns'",
            "--volume ./resolv.conf:/etc/resolv.conf:ro",
        ),
        (
            "INGRESS_RATE=1000",
            "the capability 'bandwidth'",
            "to the conflist",
        ),
    ] {
        let net = format!("--net=pasta:{arguments}");
        let words = [
            "--insecure-options=image",
            "run",
            &net,
            &image,
            "--",
            "exit",
        ];
        env.skua(&words).fails(&[part]).complains(remedy);
    }
}
