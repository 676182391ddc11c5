//! Manifests within bounds and beyond them.

use super::*;

pub(super) fn pod() -> PodManifest {
    serde_json::from_str(include_str!("../../examples/pod.json")).expect("an example")
}

pub(super) fn policy(layers: &[&str]) -> Policy {
    let layer = |text: &&str| {
        let path = Path::new("/etc/skua/policy.toml");
        let mut bounds = Bounds::default();
        bounds.apply(load::parse(text, path).expect(text), path);
        bounds
    };
    Policy {
        layers: layers.iter().map(layer).collect(),
    }
}

#[test]
fn what_a_bound_does_not_name_is_refused_with_the_bound() {
    let none: &[&str] = &[];
    for (text, parts) in [
        (
            "networks = [\"none\"]",
            &["network default", "'networks'"][..],
        ),
        ("networks = []", &["network default"]),
        (
            "capabilities = [\"CAP_CHOWN\"]",
            &["CAP_SETGID", "app nginx", "'capabilities'"],
        ),
        ("seccomp = []", &["seccomp default"]),
        ("readonly-rootfs = true", &["a writable root for app nginx"]),
        ("host-volumes = []", &["host volume /srv/web"]),
        (
            "host-volumes = [{ path = \"/srv/we\" }]",
            &["host volume /srv/web"],
        ),
        ("networks = [\"default\"]", none),
        (
            "host-volumes = [{ path = \"/srv/web\", read-only = true }]",
            none,
        ),
        ("host-volumes = [{ path = \"/\" }]", none),
        ("readonly-rootfs = false", none),
        ("no-new-privileges = true", none),
        ("insecure-options = []", none),
        ("", none),
    ] {
        let found = policy(&[text]).check(&pod());
        assert_eq!(found.is_ok(), parts.is_empty(), "{text}: {found:?}");
        if let Err(violation) = found {
            let said = violation.to_string();
            assert!(said.contains("/etc/skua/policy.toml"), "{said}");
            for part in parts {
                assert!(said.contains(part), "{text}: {said}");
            }
        }
    }
}

#[test]
fn a_writable_mount_is_not_within_a_read_only_bound() {
    let bound = policy(&["host-volumes = [{ path = \"/srv\", read-only = true }]"]);
    assert!(bound.check_host_volume(Path::new("/srv/x"), true).is_ok());
    assert!(bound.check_host_volume(Path::new("/srv/x"), false).is_err());
    let mut pod = pod();
    for volume in &mut pod.volumes {
        if let VolumeSource::Host(host) = &mut volume.source {
            host.read_only = false;
        }
    }
    assert!(bound.check(&pod).is_ok(), "every mount of it is read-only");
    pod.apps[0].mounts[0].read_only = false;
    assert!(bound.check(&pod).is_err());
}

#[test]
fn every_layer_must_hold() {
    let insecure = [InsecureOption::Image];
    for (layers, allowed) in [
        (&["insecure-options = [\"image\"]"][..], true),
        (
            &["insecure-options = [\"image\"]", "insecure-options = []"],
            false,
        ),
        (
            &["insecure-options = []", "insecure-options = [\"image\"]"],
            false,
        ),
        (&["", "insecure-options = [\"seccomp\"]"], false),
        (&["", ""], true),
    ] {
        assert_eq!(
            policy(layers).check_insecure(&insecure).is_ok(),
            allowed,
            "{layers:?}"
        );
    }
}

#[test]
fn what_is_not_a_policy_is_an_error_and_not_an_empty_policy() {
    for text in [
        "network = [\"none\"]",
        "networks = \"none\"",
        "networks = [\"none\"]\nnetworks = []",
        "capabilities = [\"CHOWN\"]",
        "insecure-options = [\"everything\"]",
        "host-volumes = [{ path = \"srv\" }]",
        "host-volumes = [{ path = \"/srv\", readonly = true }]",
        "stage1 = [\"stage1\"]",
        "readonly-rootfs = 1",
        "[section]",
        "x",
    ] {
        assert!(load::parse(text, Path::new("/p")).is_err(), "{text}");
    }
    let error = load::parse("networks = []\n\nbad = 1\n", Path::new("/p")).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/p: line 3: unknown field `bad`"),
        "{error}"
    );
}

#[test]
fn every_bound_is_shown_with_its_file() {
    let shown = policy(&[
        "networks = [\"none\"]\nreadonly-rootfs = true\ncapabilities = [\"CAP_KILL\"]\ninsecure-options = [\"tls\"]\n\
         host-volumes = [{ path = \"/a\" }, { path = \"/b\", read-only = true }]\ndevices = [\"/dev/kvm\"]",
        "stage1 = []",
    ])
    .shown();
    let keys: Vec<_> = shown
        .iter()
        .map(|one| (one.key, one.value.as_str()))
        .collect();
    assert_eq!(
        keys,
        [
            ("networks", "\"none\""),
            ("capabilities", "CAP_KILL"),
            ("insecure-options", "tls"),
            ("host-volumes", "\"/a\", \"/b\" read-only"),
            ("devices", "\"/dev/kvm\""),
            ("readonly-rootfs", "required"),
            ("stage1", "none")
        ]
    );
}
