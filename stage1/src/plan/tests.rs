//! Manifests and the plans that they lead to.

use super::*;
use crate::idmap;

/// A pod of one app, as stage0 writes it for an ordinary user.
pub(super) fn manifest() -> PodManifest {
    serde_json::from_str(include_str!("../../tests/golden/single.json")).unwrap()
}

/// Every kind of volume and network, two apps, as root.
fn full() -> PodManifest {
    serde_json::from_str(include_str!("../../tests/golden/range.json")).unwrap()
}

fn plan(manifest: &PodManifest) -> Plan {
    let map = match &manifest.id_map {
        IdMapChoice::Single { uid, gid } => idmap::single(*uid, *gid),
        _ => IdMap::range(0x7000_0000, 65536),
    };
    Plan::new(manifest, &map).unwrap()
}

#[test]
fn manifests_lead_to_the_plans_beside_them() {
    for (manifest, name, expected) in [
        (
            manifest(),
            "single.txt",
            include_str!("../../tests/golden/single.txt"),
        ),
        (
            full(),
            "range.txt",
            include_str!("../../tests/golden/range.txt"),
        ),
    ] {
        let found = crate::explain::draft(&manifest, &plan(&manifest));
        if std::env::var_os("SKUA_GOLDEN").is_some_and(|what| what == "write") {
            let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, &found).unwrap();
        } else {
            assert_eq!(
                found, expected,
                "{name}; if it is meant, run the test with SKUA_GOLDEN=write"
            );
        }
    }
}

#[test]
fn the_insecure_option_for_paths_leaves_them_as_the_kernel_has_them() {
    let mut pod = manifest();
    pod.insecure_options.push(InsecureOption::Paths);
    let hides = |step: &Step| matches!(step.op, Op::Mask(_) | Op::ReadOnly(_));
    assert!(plan(&manifest()).steps.iter().any(hides));
    assert!(!plan(&pod).steps.iter().any(hides));
    assert!(
        plan(&pod).apps[0]
            .mounts
            .iter()
            .all(|mount| mount.path != "/proc/sys")
    );
}

#[test]
fn a_path_is_unmasked_by_its_name_and_the_others_stay() {
    let mut pod = manifest();
    pod.apps[0].unmasked = vec!["/proc/keys".to_owned(), "/proc/sys".to_owned()];
    let found = plan(&pod);
    let hidden = |path: &str| {
        let is = |step: &Step| matches!(&step.op, Op::Mask(t) | Op::ReadOnly(t) if t.path == path);
        found.steps.iter().any(is)
    };
    assert!(!hidden("/proc/keys") && !hidden("/proc/sys") && hidden("/proc/kcore"));
    assert!(found.apps[0].mounts.iter().all(|m| m.path != "/proc/sys"));
    pod.apps[0].unmasked = vec!["/proc/key".to_owned()];
    let map = idmap::single(1000, 1000);
    assert!(matches!(Plan::new(&pod, &map), Err(Error::NotMasked(..))));
}

#[test]
fn volumes_come_after_proc_sys_and_dev_so_that_links_to_them_are_seen() {
    let plan = plan(&full());
    let at = |test: &dyn Fn(&Step) -> bool| plan.steps.iter().position(test).unwrap();
    let on = |step: &Step, path: &str| matches!(&step.op, Op::Mount { target, .. } if target.path == path);
    assert!(at(&|step| on(step, "/data")) > at(&|step| on(step, "/dev/shm")));
}

#[test]
fn a_volume_that_the_pod_does_not_have_is_refused() {
    let mut pod = manifest();
    let volume = pod::VolumeName::parse("missing").unwrap();
    pod.apps[0].mounts = vec![pod::Mount {
        volume,
        path: "/data".to_owned(),
        read_only: false,
        no_exec: false,
    }];
    let map = idmap::single(1000, 1000);
    assert!(matches!(Plan::new(&pod, &map), Err(Error::NoVolume(..))));
}
