//! Volumes: what the host gives, where it lands, and how a hostile image cannot redirect it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use functional::{Entry, Env, Image, Kind, Layer, Run, User};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

/// An image layout for one user.
struct Lab {
    env: Env,
    image: String,
}

impl Lab {
    fn new(user: User, image: &Image) -> Self {
        let env = Env::new(user);
        let image = env.layout(&image.build());
        Self { env, image }
    }

    /// A directory of the host with one file.
    fn shared(&self) -> PathBuf {
        let directory = self.env.scratch("shared");
        fs::create_dir(&directory).unwrap();
        fs::write(directory.join("file"), "from the host").unwrap();
        self.env.give(&directory);
        directory
    }

    fn run(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Run {
        let start = ["--insecure-options=image", "run"];
        let image = [self.image.as_str()];
        let all = [&start[..], pod, &image, app, &["--"], words];
        self.env.skua(&all.concat())
    }

    fn bind(&self, bind: &str, words: &[&str]) -> Value {
        self.run(&[], &["--volume", bind], words).success().json()
    }
}

fn every_user(image: &Image, test: impl Fn(&Lab)) {
    for user in User::all() {
        test(&Lab::new(user, image));
    }
}

#[test]
fn a_directory_of_the_host_is_read_and_written_with_the_caller_s_ids() {
    every_user(&Image::inspect(), |lab| {
        let shared = lab.shared();
        let bind = format!("{}:/data", shared.display());
        assert_eq!(
            lab.bind(&bind, &["read", "/data/file"])["text"],
            "from the host"
        );
        assert_eq!(lab.bind(&bind, &["stat", "/data/file"])["uid"], 0);
        assert_eq!(
            lab.bind(&bind, &["write", "/data/new", "from the pod"])["ok"],
            true
        );
        let new = shared.join("new");
        assert_eq!(fs::read_to_string(&new).unwrap(), "from the pod");
        assert_eq!(fs::metadata(&new).unwrap().uid(), lab.env.user().ids().0);
    });
}

#[test]
fn a_read_only_volume_is_read_only() {
    every_user(&Image::inspect(), |lab| {
        let bind = format!("{}:/data:ro", lab.shared().display());
        assert_eq!(
            lab.bind(&bind, &["read", "/data/file"])["text"],
            "from the host"
        );
        for words in [
            &["write", "/data/file", "x"][..],
            &["unlink", "/data/file"],
            &["mkdir", "/data/d"],
        ] {
            assert_eq!(lab.bind(&bind, words)["errno"], "EROFS", "{words:?}");
        }
    });
}

#[test]
fn a_file_is_a_volume_too() {
    every_user(&Image::inspect(), |lab| {
        let file = lab.shared().join("file");
        for target in ["/new/place", "/etc/passwd"] {
            let bind = format!("{}:{target}:ro", file.display());
            assert_eq!(
                lab.bind(&bind, &["read", target])["text"],
                "from the host",
                "{target}"
            );
        }
    });
}

#[test]
fn links_in_the_image_are_resolved_inside_its_root() {
    let up = "../../../../../../../../../..";
    let nowhere = format!("/var/tmp/skua-test-nowhere-{}", std::process::id());
    let layer = Layer::new()
        .directory("real")
        .symlink("absolute", "/real")
        .symlink("up", &format!("{up}/real"))
        .symlink("dangling", &format!("{up}{nowhere}"));
    every_user(&Image::inspect().layer(layer), |lab| {
        let shared = lab.shared();
        for (target, real) in [
            ("/absolute", "/real"),
            ("/up", "/real"),
            ("/dangling", "/dangling"),
        ] {
            let bind = format!("{}:{target}", shared.display());
            let read = lab.bind(&bind, &["read", &format!("{real}/file")]);
            assert_eq!(read["text"], "from the host", "{target}: {read}");
        }
        let made = fs::remove_dir(&nowhere);
        assert!(made.is_err(), "made on the host: {nowhere}");
    });
}

#[test]
fn no_volume_comes_to_lie_over_proc_sys_or_dev() {
    let layer = Layer::new()
        .symlink("to-proc", "/proc")
        .symlink("to-sys", "sys/kernel")
        .symlink("to-dev", "/dev/shm")
        .symlink("to-fd", "/proc/self/fd/0")
        .symlink("to-null", "/dev/null");
    every_user(&Image::inspect().layer(layer), |lab| {
        let shared = lab.shared();
        for target in [
            "/proc",
            "/sys/fs/cgroup",
            "/dev",
            "/dev/shm",
            "/to-proc",
            "/to-sys",
            "/to-dev",
            "/to-fd",
            "/to-null",
        ] {
            let bind = format!("{}:{target}", shared.display());
            lab.run(&[], &["--volume", &bind], &["exit", "0"])
                .fails(&[target]);
        }
    });
}

#[test]
fn mount_points_are_made_for_the_pod_and_not_in_the_store() {
    every_user(&Image::inspect(), |lab| {
        let shared = lab.shared();
        let bind = format!("{}:/made/for/this/pod", shared.display());
        assert_eq!(
            lab.bind(&bind, &["read", "/made/for/this/pod/file"])["ok"],
            true
        );
        let again = lab.run(&[], &[], &["stat", "/made"]).success().json();
        assert_eq!(again["errno"], "ENOENT", "{again}");
    });
}

#[test]
fn a_working_directory_is_made_in_the_pod_and_not_on_the_host() {
    // A link of the image leads to the volume.
    let link = Entry::new("link", Kind::Symlink("/data".to_owned()));
    let image = Image::inspect().layer(Layer::new().entry(link));
    every_user(&image, |lab| {
        let shared = lab.shared();
        for options in ["", ":ro"] {
            let bind = format!("{}:/data{options}", shared.display());
            let in_directory = |directory: &str| {
                let flag = format!("--working-dir={directory}");
                lab.run(&[], &["--volume", &bind, &flag], &["cwd"])
            };
            for directory in ["/data/new", "/data/new/deep", "/link/new"] {
                let part = format!("there is no working directory '{directory}' on the volume");
                let run = in_directory(directory).fails(&[&part]);
                assert!(
                    run.stderr.contains("hint: make it there"),
                    "{}",
                    run.report()
                );
            }
            let names: Vec<_> = fs::read_dir(&shared).unwrap().flatten().collect();
            assert_eq!(names.len(), 1, "{names:?}");
            in_directory("/data").success().says("/data");
            in_directory("/in/the/image").success();
        }
        let own = ["--mount=volume=e,target=/e", "--working-dir=/e/new"];
        lab.run(&["--volume=e,kind=empty"], &own, &["cwd"])
            .success()
            .says("/e/new");
    });
}

#[test]
fn an_empty_volume_is_shared_by_the_apps_and_gone_with_the_pod() {
    every_user(&Image::inspect(), |lab| {
        for kind in ["empty", "tmpfs,size=1048576"] {
            let volume = format!("--volume=shared,kind={kind}");
            let mount = "--mount=volume=shared,target=/shared";
            let words = [
                "--insecure-options=image",
                "run",
                "--rm",
                &volume,
                &lab.image,
                "--name=writer",
                mount,
                "--",
                "write",
                "/shared/file",
                "from the writer",
                "---",
                &lab.image,
                "--name=reader",
                mount,
                "--",
                "sleep",
                "0.1",
            ];
            lab.env.skua(&words).success().says("\"ok\":true");
            let found = lab
                .run(&[&volume], &[mount], &["list", "/shared"])
                .success()
                .json();
            assert_eq!(found, Value::Array(Vec::new()), "{kind}");
        }
    });
}

#[test]
fn a_tmpfs_volume_is_no_larger_than_asked_for() {
    every_user(&Image::inspect(), |lab| {
        let volume = "--volume=small,kind=tmpfs,size=65536";
        let mount = "--mount=volume=small,target=/small";
        let mounts = lab.run(&[volume], &[mount], &["mounts"]).success().json();
        let small = mounts
            .as_array()
            .unwrap()
            .iter()
            .find(|m| m["target"] == "/small")
            .unwrap();
        assert!(small["super"].to_string().contains("size=64k"), "{small}");
    });
}

#[test]
fn a_volume_that_is_not_there_is_named() {
    let lab = Lab::new(User::ordinary(), &Image::inspect());
    let bind = "/nowhere/at/all:/data";
    lab.run(&[], &["--volume", bind], &["exit", "0"])
        .fails(&["/nowhere/at/all"]);
}

#[test]
fn a_file_and_a_directory_that_meet_are_named_with_the_reason() {
    let image = Image::inspect().layer(Layer::new().file("etc/motd", 0o644, "hello"));
    every_user(&image, |lab| {
        let shared = lab.shared();
        let hint = "hint: a directory can be mounted on a directory only";
        for (source, target, cause) in [
            (shared.clone(), "/etc/motd", "Not a directory"),
            (shared.join("file"), "/etc", "Is a directory"),
        ] {
            let source = source.display().to_string();
            let what = format!("cannot mount {source} on {target} of app layout: {cause}");
            let bind = format!("{source}:{target}");
            lab.run(&[], &["--volume", &bind], &["exit", "0"])
                .fails(&[&what])
                .complains(hint);
        }
    });
}

#[test]
fn nothing_in_a_noexec_volume_can_be_executed() {
    every_user(&Image::inspect(), |lab| {
        let shared = lab.shared();
        let program = shared.join("program");
        fs::write(&program, functional::inspect_bytes()).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        lab.env.give(&shared);
        let bind = format!("{}:/data", shared.display());
        let words = ["exec", "/data/program", "exit", "7"];
        lab.run(&[], &["--volume", &bind], &words).exits(7);
        let refused = lab.bind(&format!("{bind}:noexec"), &words);
        assert_eq!(refused["errno"], "EACCES", "{refused}");
        let volume = format!("--volume=d,kind=host,source={}", shared.display());
        let mount = "--mount=volume=d,target=/data,noexec=true";
        let refused = lab.run(&[&volume], &[mount], &words).success().json();
        assert_eq!(refused["errno"], "EACCES", "{refused}");
    });
}

#[test]
fn privileged_a_read_only_volume_is_read_only_in_the_mounts_below_it() {
    let test = "privileged_a_read_only_volume_is_read_only_in_the_mounts_below_it";
    let Some(user) = User::root(test) else { return };
    // A mount that only this test sees, shared as those of a host with systemd are.
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let lab = Lab::new(user, &Image::inspect());
    let shared = lab.shared();
    let source = shared.to_str().unwrap();
    mount(Some(source), source, none, MsFlags::MS_BIND, none).unwrap();
    mount(none, source, none, MsFlags::MS_SHARED, none).unwrap();
    let below = shared.join("below");
    fs::create_dir(&below).unwrap();
    // Not a tmpfs: its owners can be mapped only from Linux 6.3 on.
    let other = lab.env.scratch("other");
    fs::create_dir(&other).unwrap();
    mount(Some(&other), &below, none, MsFlags::MS_BIND, none).unwrap();
    fs::write(below.join("file"), "below").unwrap();
    let bind = format!("{source}:/data:ro");
    assert_eq!(
        lab.bind(&bind, &["read", "/data/below/file"])["text"],
        "below"
    );
    for path in ["/data/new", "/data/below/new"] {
        assert_eq!(
            lab.bind(&bind, &["write", path, "x"])["errno"],
            "EROFS",
            "{path}"
        );
    }
    let mounts = lab.bind(&bind, &["mounts"]);
    for mount in mounts.as_array().unwrap() {
        let target = mount["target"].as_str().unwrap();
        if target.starts_with("/data") {
            let options = mount["options"].to_string();
            assert!(
                options.contains("nosuid") && options.contains("nodev"),
                "{mount}"
            );
            assert_eq!(mount["propagation"], Value::Array(Vec::new()), "{mount}");
        }
    }
}

#[test]
fn propagation_that_could_not_be_kept_safe_is_refused() {
    let lab = Lab::new(User::ordinary(), &Image::inspect());
    let shared = lab.shared();
    for kind in ["shared", "rshared", "slave", "rslave"] {
        let bind = format!("{}:/data:{kind}", shared.display());
        lab.run(&[], &["--volume", &bind], &["exit", "0"])
            .fails(&["cannot be given"]);
    }
}
