//! Tables of command lines, images and what becomes of them.

use clap::Parser;
use pod::{Capability, IdMapChoice, SeccompChoice, Trust};

use super::*;
use crate::run_line::AppWords;
use crate::typed::NetworkArg;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    pod: PodFlags,
    #[command(flatten)]
    apps: AppWords,
}

/// The manifest of a command line in which every image has the configuration `config`.
fn manifest(
    line: &str,
    config: &str,
    insecure: &[InsecureOption],
    terminal: bool,
) -> Result<PodManifest, Error> {
    let line = Line::try_parse_from(std::iter::once("run").chain(line.split_whitespace()))?;
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{config}}}"#
    );
    let apps = line.apps.parse()?.into_iter().map(|line| Wanted {
        image: pod::Image {
            reference: line.image.clone(),
            manifest: String::new(),
            config: String::new(),
            trust: Trust::InsecureOption,
        },
        stem: line.image.rsplit('/').next().unwrap().to_owned(),
        line,
        config: serde_json::from_str(&config).unwrap(),
        layers: Vec::new(),
    });
    let network = match &line.pod.net {
        None | Some(NetworkArg::None) => Network::None,
        Some(NetworkArg::Host) => Network::Host,
        Some(NetworkArg::Named(_)) => Network::Cni {
            networks: Vec::new(),
            plugin_path: Vec::new(),
        },
    };
    let draft = Draft {
        id: PodId::parse("3f2a0b1c-0000-4000-8000-0123456789ab").unwrap(),
        created: "2026-01-01T00:00:00Z".to_owned(),
        stop_timeout: 10,
        network,
        id_map: IdMapChoice::Single {
            uid: 1000,
            gid: 1000,
        },
        insecure,
        volume_images: Vec::new(),
        origins: Origins::default(),
        apps: apps.collect(),
        flags: &line.pod,
    };
    let variable = |name: &str| (name == "GIVEN").then(|| "by caller".into());
    let caller = Caller {
        directory: PathBuf::from("/home/me"),
        variable: &variable,
        device: &|_| Ok((DeviceKind::Character, 10, 229)),
        terminal: match terminal {
            true => Terminal::ToTypeAndShow,
            false => Terminal::None,
        },
    };
    new(draft, &caller)
}

fn plain(line: &str, config: &str) -> Result<PodManifest, Error> {
    manifest(line, config, &[], false)
}

#[test]
fn the_command_is_entrypoint_and_cmd_unless_typed() {
    let image = r#"{"Entrypoint":["/e","1"],"Cmd":["c","2"]}"#;
    for (line, argv) in [
        ("i", vec!["/e", "1", "c", "2"]),
        ("i -- a", vec!["/e", "1", "a"]),
        ("i --exec=/x", vec!["/x"]),
        ("i --exec=/x -- a b", vec!["/x", "a", "b"]),
    ] {
        assert_eq!(plain(line, image).unwrap().apps[0].argv, argv, "{line}");
    }
    assert_eq!(
        plain("i -- sh -c x", "{}").unwrap().apps[0].argv,
        ["sh", "-c", "x"]
    );
}

/// Command line, the image's configuration, and the message.
const REFUSED: &[(&str, &str, &str)] = &[
    ("i", "{}", "image i names no program to run"),
    (
        "i",
        r#"{"Cmd":["a\u0000b"]}"#,
        "config 'a\0b' of image i is not text without NUL",
    ),
    (
        "i",
        r#"{"Cmd":["a"],"Env":["x"]}"#,
        "Env 'x' of image i is not NAME=VALUE",
    ),
    (
        "i",
        r#"{"Cmd":["a"],"StopSignal":"SIGX"}"#,
        "StopSignal 'SIGX' of image i is not a signal",
    ),
    (
        "i",
        r#"{"Cmd":["a"],"WorkingDir":"x"}"#,
        "WorkingDir 'x' of image i is not an absolute path",
    ),
    (
        "i --readonly-rootfs -- a",
        r#"{"Volumes":{"/../x":{}}}"#,
        "Volumes '/../x' of image i is not a path without '..'",
    ),
    (
        "--volume v,kind=empty i -- a",
        "{}",
        "no app mounts volume 'v'",
    ),
    (
        "i --mount volume=v,target=/v -- a",
        "{}",
        "the pod has no volume 'v'",
    ),
    (
        "--volume v,kind=empty i --mount volume=v,target=/proc/x -- a",
        "{}",
        "mount target '/proc/x' is not outside /proc, /sys and /dev, which are the pod's own",
    ),
    (
        "i -v /a:/d -v /b:/d/ -- a",
        "{}",
        "two volumes are mounted on /d",
    ),
    (
        "i --seccomp=unconfined -- a",
        "{}",
        "--seccomp=unconfined takes the system call filter away",
    ),
    (
        "i --name=a -- a --- j --name=a -- a",
        "{}",
        "two apps are named 'a'",
    ),
    (
        "-i i -- a --- j -- a",
        "{}",
        "--interactive is for a pod of one app",
    ),
    (
        "--publish 80:80 i -- a",
        "{}",
        "--publish needs a network of --net=NAME",
    ),
    (
        "--net=x -p 80:80 -p 127.0.0.1:80:81 i -- a",
        "{}",
        "port 80 of the host is published twice",
    ),
    (
        "i -e MISSING -- a",
        "{}",
        "--environment MISSING: the variable is not in our environment",
    ),
    (
        "i --user=a:b --group=c -- a",
        "{}",
        "--user=a:b names a group, and so does --group",
    ),
    (
        "i --rlimit=core=1 --rlimit=core=2 -- a",
        "{}",
        "RLIMIT_CORE is limited twice",
    ),
];

#[test]
fn what_cannot_run_is_refused() {
    for (line, config, message) in REFUSED {
        let error = plain(line, config).expect_err(line);
        assert_eq!(error.to_string(), *message, "{line}");
    }
}

#[test]
fn the_environment_is_the_images_with_a_path_and_what_was_typed() {
    let image = r#"{"Cmd":["a"],"Env":["A=1","B=2=3","A=4"]}"#;
    let app = &plain("i -e B=x -e GIVEN", image).unwrap().apps[0];
    let environment: Vec<_> = app
        .environment
        .iter()
        .map(|v| format!("{}={}", v.name, v.value))
        .collect();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(environment, [path, "A=4", "B=x", "GIVEN=by caller"]);
}

#[test]
fn users_and_groups() {
    for (line, image, user, group) in [
        ("i", r#"{"Cmd":["a"]}"#, "", None),
        ("i", r#"{"Cmd":["a"],"User":"web:www"}"#, "web", Some("www")),
        (
            "i --group=9",
            r#"{"Cmd":["a"],"User":"web:www"}"#,
            "web",
            Some("9"),
        ),
        ("i --user=7", r#"{"Cmd":["a"],"User":"web:www"}"#, "7", None),
        ("i --user=7:8", r#"{"Cmd":["a"]}"#, "7", Some("8")),
    ] {
        let app = &plain(line, image).unwrap().apps[0];
        assert_eq!(
            (app.user.as_str(), app.group.as_deref()),
            (user, group),
            "{line}"
        );
    }
}

#[test]
fn capabilities_are_the_conventional_ones_unless_typed() {
    let held = |line: &str, insecure: &[InsecureOption]| {
        manifest(line, r#"{"Cmd":["a"]}"#, insecure, false)
            .unwrap()
            .apps[0]
            .capabilities
            .clone()
    };
    assert_eq!(held("i", &[]), Capability::DEFAULT);
    assert_eq!(held("i", &[InsecureOption::Capabilities]), Capability::ALL);
    assert_eq!(held("i --cap-retain=none", &[]), []);
    assert_eq!(
        held("i --cap-retain=kill,CAP_CHOWN", &[]),
        [Capability::Chown, Capability::Kill]
    );
    assert!(held("i --cap-add=net_raw", &[]).contains(&Capability::NetRaw));
    assert!(!held("i --cap-remove=kill", &[]).contains(&Capability::Kill));
}

#[test]
fn mounts_come_with_parents_first_and_read_only_wins() {
    let line = "--volume a,kind=host,source=rel,readonly=true --volume b,kind=tmpfs,size=1M,mode=1777 \
                i --mount volume=a,target=/x/y --mount volume=b,target=/x -v /h:/x-z:ro";
    let pod = plain(line, r#"{"Cmd":["a"]}"#).unwrap();
    let mounts: Vec<_> = pod.apps[0]
        .mounts
        .iter()
        .map(|m| (m.path.as_str(), m.read_only))
        .collect();
    assert_eq!(mounts, [("/x", false), ("/x/y", true), ("/x-z", true)]);
    let pod::VolumeSource::Host(host) = &pod.volumes[0].source else {
        panic!()
    };
    assert_eq!(host.path, "/home/me/rel");
    assert_eq!(
        pod.volumes[1].source,
        pod::VolumeSource::Tmpfs {
            mode: 0o1777,
            owner: pod::VolumeOwner::default(),
            size: Some(1 << 20)
        }
    );
}

#[test]
fn volumes_of_an_image_are_mounts_only_below_a_read_only_root() {
    let image = r#"{"Cmd":["a"],"Volumes":{"/data":{},"/typed":{}}}"#;
    assert!(plain("i", image).unwrap().apps[0].mounts.is_empty());
    let pod = plain("i --readonly-rootfs -v /h:/typed", image).unwrap();
    let paths: Vec<_> = pod.apps[0].mounts.iter().map(|m| m.path.as_str()).collect();
    assert_eq!(paths, ["/data", "/typed"]);
}

#[test]
fn names_are_made_from_images_and_unique() {
    let pod = plain(
        "h/My_App -- a --- h/my_app -- a --- h/__ --name=my-app-2 -- a --- h/_ -- a",
        "{}",
    )
    .unwrap();
    let names: Vec<_> = pod.apps.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["my-app", "my-app-3", "my-app-2", "app"]);
    assert_eq!(pod.hostname, "skua-3f2a0b1c");
    assert_eq!(plain("--name=web i -- a", "{}").unwrap().hostname, "web");
}

#[test]
fn standard_input_goes_to_the_only_app() {
    for (line, terminal, stdin, own_terminal) in [
        ("i -- a", false, true, false),
        ("i -- a", true, false, false),
        ("-i i -- a", true, true, true),
        ("-i i -- a", false, true, false),
        ("i -- a --- j -- a", false, false, false),
    ] {
        let app = &manifest(line, "{}", &[], terminal).unwrap().apps[0];
        assert_eq!(
            (app.stdin, app.terminal),
            (stdin, own_terminal),
            "{line} {terminal}"
        );
        assert_eq!(
            app.environment.iter().any(|v| v.name == "TERM"),
            own_terminal
        );
    }
}

#[test]
fn a_seccomp_profile_is_absolute_and_none_is_an_exception() {
    let seccomp = |line: &str, insecure: &[InsecureOption]| {
        manifest(line, "{}", insecure, false).unwrap().apps[0]
            .seccomp
            .clone()
    };
    let profile = SeccompChoice::Profile {
        path: "/home/me/p.json".to_owned(),
    };
    assert_eq!(seccomp("i --seccomp=p.json -- a", &[]), profile);
    let unconfined = seccomp("i --seccomp=unconfined -- a", &[InsecureOption::Seccomp]);
    assert_eq!(unconfined, SeccompChoice::Unconfined);
}
