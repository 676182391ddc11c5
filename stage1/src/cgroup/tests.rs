//! Tables of limits, hosts, and what becomes of them.

use std::path::PathBuf;

use pod::{CpuQuota, PidsLimit, PodManifest};

use super::place::{Domain, Facts, Hierarchy, NoLimits, Placement};
use super::settings::{Controller, Settings};
use crate::error::Error;

const UNIT: &str = "/sys/fs/cgroup/system.slice/a.service";

fn manifest() -> PodManifest {
    serde_json::from_str(include_str!("../../tests/golden/single.json")).unwrap()
}

fn with_memory() -> Settings {
    let mut pod = manifest();
    pod.limits.memory = Some(64 << 20);
    Settings::new(&pod)
}

/// A unit that is delegated, with us alone in it, and these controllers.
fn delegated(controllers: &str) -> Facts {
    Facts {
        hierarchy: Some(Hierarchy {
            own: UNIT.into(),
            writable: true,
            controllers: Controller::parse("cpu cpuset io memory pids hugetlb rdma"),
            domain: Ok(Domain {
                top: UNIT.into(),
                controllers: Controller::parse(controllers),
                other: None,
                root: false,
                swap: true,
            }),
        }),
        weighers: None,
        most_processes: None,
    }
}

fn domain(facts: &mut Facts) -> &mut Domain {
    let hierarchy = facts.hierarchy.as_mut().unwrap();
    hierarchy.domain.as_mut().unwrap()
}

fn refused(settings: &Settings, facts: &Facts) -> NoLimits {
    match Placement::new(settings, facts, false) {
        Err(Error::Limits(_, why)) => why,
        other => panic!("expected a refusal, not {other:?}"),
    }
}

#[test]
fn a_pod_without_limits_is_bounded_in_its_processes_and_asks_for_nothing() {
    let settings = Settings::new(&manifest());
    assert_eq!(
        settings.to_string(),
        "limits of the pod:\n  pids.max 4096 [built in]\n"
    );
    assert_eq!(settings.first_asked(), None);
    assert!(!settings.by_app());
    let mut pod = manifest();
    pod.limits.pids = PidsLimit::Unlimited;
    assert_eq!(
        Settings::new(&pod),
        Settings {
            pod: Vec::new(),
            ..Settings::new(&pod)
        }
    );
}

#[test]
fn a_limit_of_memory_bounds_swap_and_ends_apps_as_a_whole() {
    assert_eq!(
        with_memory().to_string(),
        "limits of the pod:\n  memory.max 67108864 [command line]\n  memory.swap.max 0 [built in]\n  \
         pids.max 4096 [built in]\nlimits of app true:\n  memory.oom.group 1 [built in]\n"
    );
    let mut pod = manifest();
    pod.limits.memory = Some(64 << 20);
    pod.limits.memory_swap = Some(1 << 20);
    let text = Settings::new(&pod).to_string();
    assert!(
        text.contains("memory.swap.max 1048576 [command line]"),
        "{text}"
    );
    assert!(!text.contains("memory.swap.max 0"), "{text}");
}

#[test]
fn a_limit_of_an_app_needs_its_controller_in_the_pod_too() {
    let mut pod = manifest();
    pod.apps[0].limits.cpu_quota = Some(CpuQuota {
        quota_us: 20_000,
        period_us: 100_000,
    });
    let settings = Settings::new(&pod);
    assert_eq!(settings.controllers(), Controller::parse("cpu pids"));
    assert_eq!(settings.app_controllers(), Controller::parse("cpu"));
    assert_eq!(settings.first_asked().unwrap(), "cpu.max of app true");
}

#[test]
fn limits_that_cannot_be_had_are_refused_with_the_reason() {
    let settings = with_memory();
    assert_eq!(refused(&settings, &Facts::default()), NoLimits::NoHierarchy);

    let mut host = delegated("");
    host.hierarchy.as_mut().unwrap().controllers.clear();
    assert_eq!(refused(&settings, &host), NoLimits::NoController("memory"));

    let withheld = refused(&settings, &delegated("pids cpu"));
    assert_eq!(withheld, NoLimits::Withheld(UNIT.into(), "memory"));

    let mut shared = delegated("memory pids");
    domain(&mut shared).other = Some(77);
    assert_eq!(
        refused(&settings, &shared),
        NoLimits::Occupied(UNIT.into(), 77)
    );

    let mut session = delegated("memory pids");
    let why = NoLimits::NotDelegated(PathBuf::from("/sys/fs/cgroup/user.slice/session-1.scope"));
    session.hierarchy.as_mut().unwrap().domain = Err(why.clone());
    assert_eq!(refused(&settings, &session), why);
}

#[test]
fn limits_can_be_given_up_by_name_and_that_is_recorded() {
    let placement = Placement::new(&with_memory(), &Facts::default(), true).unwrap();
    let Placement::Plain {
        parent,
        why,
        given_up,
        processes,
    } = placement
    else {
        panic!("limited by nothing");
    };
    assert_eq!(
        (parent, why, given_up),
        (None, Some(NoLimits::NoHierarchy), true)
    );
    assert_eq!(processes, Some(4096));
}

#[test]
fn without_a_controller_and_a_request_processes_are_bounded_by_a_resource_limit() {
    for (hard, expected) in [(None, 4096), (Some(100), 100), (Some(1 << 20), 4096)] {
        let facts = Facts {
            most_processes: hard,
            ..Facts::default()
        };
        let placement = Placement::new(&Settings::new(&manifest()), &facts, false).unwrap();
        let Placement::Plain {
            given_up,
            processes,
            ..
        } = placement
        else {
            panic!("limited by nothing");
        };
        assert_eq!((given_up, processes), (false, Some(expected)));
    }
    let mut pod = manifest();
    pod.limits.pids = PidsLimit::Unlimited;
    let placement = Placement::new(&Settings::new(&pod), &Facts::default(), false).unwrap();
    assert!(matches!(
        placement,
        Placement::Plain {
            processes: None,
            why: None,
            ..
        }
    ));
}

#[test]
fn the_keeper_moves_only_out_of_a_cgroup_that_must_be_empty() {
    let moves = |facts: &Facts| match Placement::new(&with_memory(), facts, false).unwrap() {
        Placement::Limited(limited) => (limited.keeper_moves, limited.parent),
        Placement::Plain { .. } => panic!("not limited"),
    };
    let mut facts = delegated("memory pids");
    assert_eq!(moves(&facts), (true, UNIT.into()));

    facts.hierarchy.as_mut().unwrap().own = PathBuf::from(UNIT).join("supervisor");
    assert_eq!(moves(&facts), (false, UNIT.into()));

    let mut facts = delegated("memory pids");
    domain(&mut facts).root = true;
    domain(&mut facts).other = Some(1);
    assert_eq!(moves(&facts), (false, UNIT.into()));
}

#[test]
fn a_kernel_without_swap_has_no_file_to_bound_it() {
    let mut facts = delegated("memory pids");
    domain(&mut facts).swap = false;
    let Placement::Limited(limited) = Placement::new(&with_memory(), &facts, false).unwrap() else {
        panic!("not limited");
    };
    assert!(!limited.settings.to_string().contains("swap"));
}
