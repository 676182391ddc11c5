//! What stage2 refuses before anything of the image is executed.

use serde_json::{Value, json};

use crate::fixture::{Pod, app, skip_reason};

/// Runs a pod whose two apps would say that they ran; the second is changed.
fn refused(change: impl Fn(&mut Value), complaint: &str) {
    let mut changed = app("b", &["echo", "executed"]);
    change(&mut changed);
    let pod = Pod::new(&[app("a", &["echo", "executed"]), changed]);
    let end = pod.run();
    assert_eq!(end.code, 254, "{complaint}: {end:?}");
    assert!(end.stderr.contains(complaint), "{complaint}: {end:?}");
    assert_eq!(end.stderr.lines().count(), 1, "{end:?}");
    assert_eq!(end.stdout, "", "{complaint}: {end:?}");
}

#[test]
fn one_bad_file_and_no_app_is_started() {
    if skip_reason("one_bad_file_and_no_app_is_started") {
        return;
    }
    for (key, value, complaint) in [
        ("surprise", json!(1), "unknown field `surprise`"),
        ("version", json!(2), "use the skua that made the pod"),
        ("name", json!("c"), "the file of app b is that of app c"),
        ("argv", json!([]), "app b has no program"),
        (
            "seccomp",
            json!("missing"),
            "cannot open the files of app b: No such file",
        ),
        ("seccomp", json!("../a/app.json"), "is not beside its file"),
        ("seccomp", json!("app.json"), "seccomp filter of app b"),
    ] {
        refused(|file| file[key] = value.clone(), complaint);
    }
}

#[test]
fn a_socket_is_one_and_comes_to_the_app_that_claims_it() {
    if skip_reason("a_socket_is_one_and_comes_to_the_app_that_claims_it") {
        return;
    }
    for (opened, options, complaint) in [
        (
            "/",
            "--socket b:6:web",
            "'web' is neither a socket nor a FIFO",
        ),
        (
            "/etc/passwd",
            "--socket b:6:web",
            "'web' is neither a socket nor a FIFO",
        ),
        ("/", "", "socket 'web' of app b did not come"),
        (
            "/",
            "--socket a:6:web",
            "socket 'web' of app b did not come",
        ),
        ("/", "--socket b:61:web", "cannot use descriptor 61"),
        ("/", "--socket b:6", "--socket needs APP:NUMBER:NAME"),
        (
            "/",
            "--socket b:6:web --socket b:6:web",
            "cannot use descriptor 6",
        ),
    ] {
        let mut second = app("b", &["echo", "executed"]);
        second["sockets"] = json!(["web"]);
        let mut pod = Pod::new(&[app("a", &["echo", "executed"]), second]);
        pod.before = format!("exec 6<{opened}");
        options.clone_into(&mut pod.options);
        let end = pod.run();
        assert_eq!(
            (end.code, end.stdout.as_str()),
            (254, ""),
            "{options}: {end:?}"
        );
        assert!(end.stderr.contains(complaint), "{options}: {end:?}");
    }
    let mut pod = Pod::new(&[app("a", &["echo", "executed"])]);
    pod.before = "exec 6< <(sleep 1)".to_owned();
    "--socket a:6:web".clone_into(&mut pod.options);
    let end = pod.run();
    assert!(end.stderr.contains("socket 'web' is for no app"), "{end:?}");
}

#[test]
fn an_app_that_would_not_be_confined_as_planned_keeps_its_neighbours_from_starting() {
    if skip_reason(
        "an_app_that_would_not_be_confined_as_planned_keeps_its_neighbours_from_starting",
    ) {
        return;
    }
    let check = |path: &str, kind: &str, read_only: bool| json!([{"path": path, "file_system": kind, "read_only": read_only}]);
    let map = |host: u32| json!({"inside": 0, "host": host, "count": 1});
    for (key, value, complaint) in [
        (
            "mounts",
            check("/proc", "proc", true),
            "the mount on /proc is proc rw instead of proc ro",
        ),
        (
            "mounts",
            check("/sys", "sysfs", true),
            "the mount on /sys is missing",
        ),
        (
            "mounts",
            check("/dev/null", "proc", false),
            "the mount on /dev/null is",
        ),
        (
            "id_map",
            json!({"uids": [map(4242)], "gids": [map(4242)]}),
            "not confined as planned: self/uid_map",
        ),
        (
            "rlimits",
            json!([{"resource": "RLIMIT_BOGUS", "soft": 1, "hard": 1}]),
            "unknown resource limit 'RLIMIT_BOGUS'",
        ),
        (
            "rlimits",
            json!([{"resource": "RLIMIT_NOFILE", "soft": 9, "hard": 1}]),
            "cannot set resource limit RLIMIT_NOFILE",
        ),
    ] {
        refused(|file| file[key] = value.clone(), complaint);
    }
}

/// Else a program that enters too early, or comes into a root that is not the planned, would make and read files there.
#[test]
fn surroundings_are_compared_before_anything_is_made_or_read() {
    if skip_reason("surroundings_are_compared_before_anything_is_made_or_read") {
        return;
    }
    for (key, value) in [
        ("working_directory", json!("/proc/self/fd/3")),
        ("user", json!("nobody-there")),
    ] {
        refused(
            |file| {
                file["mounts"] =
                    json!([{"path": "/", "file_system": "overlay", "read_only": false}]);
                file[key] = value.clone();
            },
            "not confined as planned: the mount on /",
        );
    }
}

#[test]
fn volumes_and_labels_that_are_not_as_planned_keep_all_from_starting() {
    if skip_reason("volumes_and_labels_that_are_not_as_planned_keep_all_from_starting") {
        return;
    }
    for (key, value, complaint) in [
        (
            "volumes",
            json!([{"path": "/bin", "read_only": true, "no_exec": false}]),
            "not confined as planned: the volume on /bin",
        ),
        (
            "volumes",
            json!([{"path": "/proc", "read_only": false, "no_exec": true}]),
            "not confined as planned: the volume on /proc",
        ),
        (
            "volumes",
            json!([{"path": "/missing", "read_only": false, "no_exec": false}]),
            "cannot look at the volume on /missing",
        ),
        (
            "labels",
            json!({"apparmor": "no-such-profile", "selinux": null}),
            "cannot set its AppArmor profile",
        ),
        (
            "labels",
            json!({"apparmor": null, "selinux": "u:r:t:s0"}),
            "cannot set its SELinux context",
        ),
    ] {
        refused(|file| file[key] = value.clone(), complaint);
    }
}

#[test]
fn a_root_or_working_directory_elsewhere_keeps_all_from_starting() {
    if skip_reason("a_root_or_working_directory_elsewhere_keeps_all_from_starting") {
        return;
    }
    for (key, value, complaint) in [
        (
            "working_directory",
            json!("/proc/self/fd/3"),
            "cannot enter working directory '/proc/self/fd/3'",
        ),
        (
            "working_directory",
            json!("/proc/1/root"),
            "cannot enter working directory",
        ),
        (
            "working_directory",
            json!("relative"),
            "is not inside its root",
        ),
        ("user", json!("nobody"), "no user 'nobody' in /etc/passwd"),
        (
            "root",
            json!("/apps/z/rootfs"),
            "cannot open its root /apps/z/rootfs",
        ),
        ("root", json!("/apps"), "cannot make /apps its root"),
    ] {
        refused(|file| file[key] = value.clone(), complaint);
    }
}

#[test]
fn programs_are_searched_in_the_root_and_not_through_proc() {
    if skip_reason("programs_are_searched_in_the_root_and_not_through_proc") {
        return;
    }
    for (argv, path, complaint) in [
        (json!(["nope"]), "/bin", "no program 'nope'"),
        (json!(["echo"]), ".:bin::", "no program 'echo'"),
        (
            json!(["exe"]),
            "/proc/self",
            "cannot execute '/proc/self/exe'",
        ),
        (
            json!(["/proc/self/exe"]),
            "/bin",
            "cannot execute '/proc/self/exe'",
        ),
        (
            json!(["/proc/1/exe"]),
            "/bin",
            "cannot execute '/proc/1/exe'",
        ),
        (
            json!(["/etc/passwd"]),
            "/bin",
            "cannot execute '/etc/passwd': Permission denied",
        ),
        (
            json!(["/etc"]),
            "/bin",
            "cannot execute '/etc': Permission denied",
        ),
        (
            json!(["/bin/missing"]),
            "/bin",
            "cannot execute '/bin/missing': No such file",
        ),
        (json!([""]), "/bin", "no program ''"),
    ] {
        let mut pod = Pod::new(&[app("a", &["x"])]);
        pod.apps[0]["argv"] = argv;
        pod.apps[0]["environment"] = json!([format!("PATH={path}")]);
        let end = pod.run();
        assert_eq!(end.code, 254, "{complaint}: {end:?}");
        assert!(end.stderr.contains(complaint), "{complaint}: {end:?}");
        assert_eq!(end.status("a")["outcome"]["kind"], "failed", "{end:?}");
    }
}

#[test]
fn a_false_proc_or_null_device_is_not_believed() {
    if skip_reason("a_false_proc_or_null_device_is_not_believed") {
        return;
    }
    // Everything in it says that the app is confined as planned.
    let false_proc = "mkdir f; for name in uid_map gid_map mountinfo; do cat proc/self/$name > f/$name; done
        printf '%s\\n' CapInh:0000000000000000 CapPrm:0000000000000021 CapEff:0000000000000021 CapBnd:0000000000000021 \\
            CapAmb:0000000000000000 'Uid:0 0 0 0' 'Gid:0 0 0 0' Umask:0022 NoNewPrivs:1 Seccomp:0 > f/status
        umount proc; mkdir proc/self; cp f/* proc/self";
    for (prepare, complaint) in [
        (false_proc, "/proc of its root is not a proc file system"),
        (
            "umount proc; rmdir proc; ln -s dev proc",
            "cannot read /proc of its root",
        ),
        (
            "umount dev/null; rm dev/null; echo typed > dev/null",
            "/dev/null of its root is not the null device",
        ),
        (
            "umount dev/null; rm dev/null; ln -s /etc/passwd dev/null",
            "cannot open /dev/null",
        ),
        (
            "umount dev/null; rm dev/null; mkfifo dev/null",
            "/dev/null of its root is not the null device",
        ),
    ] {
        let mut pod = Pod::new(&[app("a", &["echo", "executed"])]);
        pod.apps[0]["mounts"] = json!([]);
        prepare.clone_into(&mut pod.prepare);
        let end = pod.run();
        assert_eq!(end.code, 254, "{complaint}: {end:?}");
        assert!(end.stderr.contains(complaint), "{complaint}: {end:?}");
        assert_eq!(end.stdout, "");
    }
}

#[test]
fn without_a_keeper_there_is_no_pod() {
    if skip_reason("without_a_keeper_there_is_no_pod") {
        return;
    }
    let mut pod = Pod::new(&[app("a", &["echo", "executed"])]);
    pod.keeper_gone = true;
    let end = pod.run();
    assert_eq!(end.code, 254, "{end:?}");
    assert!(
        end.stderr.contains("the keeper of this pod has ended"),
        "{end:?}"
    );
    assert_eq!(
        (end.stdout.as_str(), end.status_files.len()),
        ("", 0),
        "{end:?}"
    );
}

#[test]
fn without_a_standard_stream_there_is_no_pod() {
    if skip_reason("without_a_standard_stream_there_is_no_pod") {
        return;
    }
    let mut pod = Pod::new(&[app("a", &["echo", "executed"])]);
    "exec <&-".clone_into(&mut pod.before);
    let end = pod.run();
    assert_eq!(end.code, 254, "{end:?}");
    assert!(
        end.stderr.contains("cannot use the standard streams"),
        "{end:?}"
    );
    assert_eq!(end.stdout, "", "{end:?}");
}
