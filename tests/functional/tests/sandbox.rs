//! What an app sees of its sandbox, and what a hostile image achieves in it: nothing.

use functional::{Env, Image, Layer, Run, User, binaries, lax};
use nix::sys::signal::Signal;
use serde_json::Value;

/// An image layout for one user, from which pods are run.
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

    fn run(&self, pod: &[&str], app: &[&str], words: &[&str]) -> Run {
        let all = [
            &[lax(pod), "run"],
            pod,
            &[self.image.as_str()],
            app,
            &["--"],
            words,
        ];
        self.env.skua(&all.concat())
    }

    fn ask(&self, words: &[&str]) -> Value {
        self.run(&[], &[], words).success().json()
    }
}

fn every_user(image: &Image, test: impl Fn(&Lab)) {
    for user in User::all() {
        test(&Lab::new(user, image));
    }
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().map_or_else(Vec::new, |list| {
        list.iter().filter_map(Value::as_str).collect()
    })
}

#[test]
fn every_mount_is_the_pod_s_own_private_and_gives_no_rights() {
    every_user(&Image::inspect(), |lab| {
        let mounts = lab.ask(&["mounts"]);
        for mount in mounts.as_array().unwrap() {
            let (target, kind) = (
                mount["target"].as_str().unwrap(),
                mount["type"].as_str().unwrap(),
            );
            let options = strings(&mount["options"]);
            assert!(options.contains(&"nosuid"), "{mount}");
            assert_eq!(mount["propagation"], Value::Array(Vec::new()), "{mount}");
            match kind {
                "devtmpfs" => assert!(strings(&mount["options"]).contains(&"noexec"), "{mount}"),
                "devpts" => assert_eq!(target, "/dev/pts"),
                "overlay" => assert_eq!(target, "/"),
                "proc" | "sysfs" | "cgroup2" | "mqueue" => {
                    assert!(
                        options.contains(&"noexec") && options.contains(&"nodev"),
                        "{mount}"
                    );
                }
                "tmpfs" => assert!(options.contains(&"nodev"), "{mount}"),
                other => panic!("a mount of type {other}: {mount}"),
            }
        }
    });
}

#[test]
fn what_tells_about_the_host_is_masked_or_read_only() {
    every_user(&Image::inspect(), |lab| {
        for file in [
            "/proc/keys",
            "/proc/interrupts",
            "/proc/timer_list",
            "/proc/kallsyms",
        ] {
            let read = lab.ask(&["read", file]);
            assert!(read["ok"] != true || read["text"] == "", "{file}: {read}");
        }
        assert_eq!(
            lab.ask(&["list", "/sys/firmware"]),
            Value::Array(Vec::new())
        );
        for file in [
            "/proc/sys/vm/swappiness",
            "/proc/sysrq-trigger",
            "/sys/kernel/mm/ksm/run",
        ] {
            let write = lab.ask(&["write", file, "0"]);
            assert_eq!(write["ok"], false, "{file}: {write}");
        }
        // These belong to the pod's own namespace, so that no permission keeps its root from them.
        for file in [
            "/proc/sys/net/ipv4/ip_forward",
            "/sys/class/net/lo/tx_queue_len",
        ] {
            let write = lab.ask(&["write", file, "1"]);
            assert_eq!(write["errno"], "EROFS", "{file}: {write}");
        }
        let made = lab.ask(&["mkdir", "/sys/fs/cgroup/escape"]);
        assert_eq!(made["errno"], "EROFS", "{made}");
    });
}

#[test]
fn an_image_whose_proc_sys_or_dev_is_a_link_is_refused() {
    for directory in ["proc", "sys", "dev"] {
        let image = Image::new()
            .layer(
                Layer::new()
                    .directory("elsewhere")
                    .symlink(directory, "elsewhere"),
            )
            .entrypoint(&["/x"]);
        let lab = Lab::new(User::ordinary(), &image);
        // Stage2 would notice too, but only once the mounts are made.
        let place = format!("on /{directory} of app");
        lab.run(&[], &[], &[]).fails(&["stage1", &place]);
        let list = lab.env.skua(&["list", "--format=json"]).success().json();
        assert!(!list.to_string().contains("running"), "{list}");
    }
}

#[test]
fn devices_are_the_kernel_s_whatever_the_image_has_in_dev() {
    let layer = Layer::new()
        .symlink("dev/null", "/etc/passwd")
        .symlink("dev/ptmx", "/etc/passwd")
        .file("dev/zero", 0o666, "not zero");
    every_user(&Image::inspect().layer(layer), |lab| {
        for (device, numbers) in [
            ("null", [1, 3]),
            ("zero", [1, 5]),
            ("full", [1, 7]),
            ("random", [1, 8]),
        ] {
            let found = lab.ask(&["stat", &format!("/dev/{device}")]);
            assert_eq!(found["type"], "character-device", "{device}: {found}");
            assert_eq!(
                found["device"],
                serde_json::json!(numbers),
                "{device}: {found}"
            );
        }
        assert_eq!(lab.ask(&["stat", "/dev/ptmx"])["target"], "pts/ptmx");
    });
}

#[test]
fn links_in_the_image_cannot_lead_the_host_s_files_anywhere() {
    let escape = format!("/var/tmp/skua-test-escape-{}", std::process::id());
    let outside = format!("../../../../../../../../../..{escape}");
    let layer = Layer::new()
        .symlink("etc/hosts", &outside)
        .symlink("etc/hostname", "/proc/self/fd/1");
    let image = Image::inspect().layer(layer);
    for user in User::all() {
        let lab = Lab::new(user, &image);
        lab.run(&[], &[], &["read", "/etc/hosts"])
            .fails(&["/etc/hostname"]);
    }
    let image = Image::inspect().layer(Layer::new().symlink("etc/hosts", &outside));
    every_user(&image, |lab| {
        let hosts = lab.ask(&["read", "/etc/hosts"]);
        assert!(
            hosts["text"].as_str().unwrap().contains("localhost"),
            "{hosts}"
        );
        assert_eq!(lab.ask(&["stat", "/etc/hosts"])["type"], "file");
        let made = std::fs::remove_file(&escape);
        assert!(made.is_err(), "made on the host: {escape}");
    });
}

#[test]
fn etc_as_a_link_stays_inside() {
    let layer = Layer::new()
        .directory("real")
        .file("real/passwd", 0o644, "root:x:0:0:root:/:/x\n")
        .symlink("etc", "/../../real");
    let image = Image::inspect()
        .layer(Layer::new().file(".wh.etc", 0o644, ""))
        .layer(layer);
    every_user(&image, |lab| {
        let hosts = lab.ask(&["read", "/real/hosts"]);
        assert!(
            hosts["text"].as_str().unwrap().contains("localhost"),
            "{hosts}"
        );
    });
}

#[test]
fn a_read_only_root_cannot_be_written_but_its_dev_shm_can() {
    every_user(&Image::inspect(), |lab| {
        let write = |path: &str| {
            let run = lab.run(&[], &["--readonly-rootfs"], &["write", path, "x"]);
            run.success().json()
        };
        assert_eq!(write("/new")["errno"], "EROFS");
        assert_eq!(write("/dev/shm/new")["ok"], true);
    });
}

#[test]
fn an_app_has_its_standard_streams_and_no_other_descriptor() {
    every_user(&Image::inspect(), |lab| {
        let script = "exec 7</etc 9</etc/passwd; exec \"$@\"";
        let mut command = lab.env.program("sh");
        command
            .args(["-c", script, "sh"])
            .arg(binaries().join("skua"));
        command.arg("--data-dir").arg(lab.env.data());
        command.arg("--config-dir").arg(lab.env.config());
        command.args(["--insecure-options=image", "run", &lab.image, "--", "fds"]);
        let found = Run::of(command).success().json();
        let names: Vec<&String> = found.as_object().unwrap().keys().collect();
        assert_eq!(names, ["0", "1", "2"], "{found}");
    });
}

#[test]
fn odd_callers_get_what_others_get() {
    let lab = Lab::new(User::ordinary(), &Image::inspect());
    for (what, script) in [
        ("closed standard streams", "exec \"$@\" <&- >&- 2>&-"),
        ("an ignored SIGCHLD", "trap '' CHLD; exec \"$@\""),
        ("an odd umask", "umask 0777; exec \"$@\""),
        (
            "a deleted working directory",
            "mkdir gone; cd gone; rmdir ../gone; exec \"$@\"",
        ),
    ] {
        let mut command = lab.env.program("sh");
        command
            .args(["-c", script, "sh"])
            .arg(binaries().join("skua"));
        command.arg("--data-dir").arg(lab.env.data());
        command.arg("--config-dir").arg(lab.env.config());
        command.args([
            "--insecure-options=image",
            "run",
            &lab.image,
            "--",
            "exit",
            "7",
        ]);
        let run = Run::of(command);
        assert_eq!(run.code(), Some(7), "{what}: {}", run.report());
    }
}

#[test]
fn the_host_name_is_the_pod_s_and_resolves() {
    every_user(&Image::inspect(), |lab| {
        let ask = |words: &[&str]| lab.run(&["--hostname=box"], &[], words).success().json();
        assert_eq!(ask(&["hostname"]), "box");
        assert_eq!(ask(&["read", "/etc/hostname"])["text"], "box\n");
        assert!(
            ask(&["read", "/etc/hosts"])["text"]
                .as_str()
                .unwrap()
                .contains("box")
        );
    });
}

#[test]
fn in_the_host_s_network_the_pod_s_name_resolves_beside_the_host_s_names() {
    every_user(&Image::inspect(), |lab| {
        let read = |hostname: &str| {
            let flags = ["--net=host", hostname];
            let run = lab.run(&flags, &[], &["read", "/etc/hosts"]).success();
            run.json()["text"].as_str().unwrap().to_owned()
        };
        let host = std::fs::read_to_string("/etc/hosts").unwrap();
        let line_end = if host.ends_with('\n') { "" } else { "\n" };
        let ours = format!("{host}{line_end}127.0.1.1 box\n");
        assert_eq!(read("--hostname=box"), ours);
        // It has that already.
        assert_eq!(read("--hostname=localhost"), host);
    });
}

#[test]
fn privileged_pods_have_ranges_of_user_ids_of_their_own() {
    let Some(user) = User::root("privileged_pods_have_ranges_of_user_ids_of_their_own") else {
        return;
    };
    let lab = Lab::new(user, &Image::inspect());
    let mut bases = Vec::new();
    let mut running = Vec::new();
    for _ in 0..2 {
        let mut pod = lab.env.spawn(&[
            "--insecure-options=image",
            "run",
            &lab.image,
            "--",
            "sleep",
            "60",
        ]);
        pod.prints("ready");
        running.push(pod);
    }
    for entry in std::fs::read_dir(lab.env.data().join("pods/run")).unwrap() {
        let pid = std::fs::read_to_string(entry.unwrap().path().join("pid")).unwrap();
        let pid: Value = serde_json::from_str(&pid).unwrap();
        let map = &pid["id_map"]["uids"][0];
        assert_eq!(map["count"], 65536);
        bases.push(map["host"].as_u64().unwrap());
    }
    for pod in running {
        pod.signal(Signal::SIGTERM);
        pod.wait();
    }
    assert_eq!(bases.len(), 2);
    assert_ne!(bases[0], bases[1]);
    assert!(
        bases
            .iter()
            .all(|base| (0x7000_0000..0x7fff_0000).contains(base)),
        "{bases:?}"
    );
}

#[test]
fn privileged_nobody_can_write_to_stage2_through_a_pod() {
    let test = "privileged_nobody_can_write_to_stage2_through_a_pod";
    let Some(user) = User::root(test) else {
        return;
    };
    let lab = Lab::new(user, &Image::inspect());
    let mut pod = lab.env.spawn(&[
        "--insecure-options=image",
        "run",
        &lab.image,
        "--",
        "sleep",
        "60",
    ]);
    pod.prints("ready");
    let entry = std::fs::read_dir(lab.env.data().join("pods/run"))
        .unwrap()
        .next()
        .unwrap();
    let pid = std::fs::read_to_string(entry.unwrap().path().join("pid")).unwrap();
    let pid: Value = serde_json::from_str(&pid).unwrap();
    let exe = format!("/proc/{}/exe", pid["pod"]["pid"]);
    // Truncation asks the mount before it asks whether somebody executes the file: a writable mount would say ETXTBSY.
    let opened = std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&exe);
    pod.signal(Signal::SIGTERM);
    pod.wait();
    assert_eq!(
        opened.map(drop).map_err(|e| e.raw_os_error()),
        Err(Some(libc::EROFS))
    );
}

#[test]
fn in_the_host_s_network_all_of_sys_is_read_only() {
    every_user(&Image::inspect(), |lab| {
        let mounts = lab.run(&["--net=host"], &[], &["mounts"]).success().json();
        let mut seen = 0;
        for mount in mounts.as_array().unwrap() {
            let target = mount["target"].as_str().unwrap();
            if target == "/sys" || target.starts_with("/sys/") {
                seen += 1;
                let options = strings(&mount["options"]);
                assert!(
                    options.contains(&"ro") && options.contains(&"nosuid"),
                    "{mount}"
                );
            }
        }
        assert!(seen >= 2, "{mounts}");
    });
}
