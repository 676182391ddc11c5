//! Limits within bounds and beyond them, with every message.

use super::*;
use crate::policy::tests::{pod, policy};
use crate::policy::{InsecureOption, Shown};

/// Every bound of a limit.
const ALL: &str = r#"
memory = "64M"
memory-high = 33554432
memory-swap-max = 0
cpus = 1.5
cpu-weight = 100
cpuset-cpus = "0-2,3,8"
cpuset-mems = "0"
pids-limit = 100
io-max = ["8:0,rbps=1M,wiops=100", "8:16,wbps=2M"]
io-weight = "50"
"#;

fn disk(text: &str) -> IoMax {
    rates(text).unwrap()
}

/// As much as those bounds allow.
fn most() -> Limits {
    Limits {
        memory: Some(64 << 20),
        memory_high: Some(32 << 20),
        memory_swap: Some(0),
        cpu_quota: Some(processors("1.5").unwrap()),
        cpu_weight: Some(100),
        cpuset_cpus: Some("1-3,8".to_owned()),
        cpuset_mems: Some("0".to_owned()),
        pids: PidsLimit::Max { count: 100 },
        io_max: vec![
            disk("8:16,wbps=2M,rbps=1G"),
            disk("8:0,rbps=1M,wiops=100"),
            disk("8:32,riops=9"),
        ],
        io_weight: Some(50),
    }
}

type Change = fn(&mut Limits);

/// What is wrong with a pod whose limits are changed so, in words.
fn said(whose: Whose<'_>, change: Change) -> Option<String> {
    let mut limits = most();
    change(&mut limits);
    let found = policy(&[ALL]).check_limits(whose, &limits).err();
    found.map(|violation| {
        let text = violation.to_string();
        text.replace(" of /etc/skua/policy.toml allows at most ", " ≤ ")
    })
}

#[test]
fn as_much_as_the_bounds_allow_is_allowed_and_less_too() {
    let less: [Change; 7] = [
        |_| {},
        |l| l.memory = Some(4 << 20),
        |l| l.cpuset_cpus = Some("2".to_owned()),
        |l| l.pids = PidsLimit::Max { count: 1 },
        |l| l.io_max[1].read_bytes = Some(1),
        |l| l.io_weight = Some(1),
        |l| {
            l.cpu_quota = Some(CpuQuota {
                quota_us: 15,
                period_us: 10,
            });
        },
    ];
    for (at, change) in less.into_iter().enumerate() {
        assert_eq!(said(Whose::Pod, change), None, "{at}");
    }
    let nothing = policy(&[""]).check_limits(Whose::Pod, &Limits::default());
    assert!(nothing.is_ok(), "what is not bounded need not be limited");
}

/// What is beyond those bounds, and what is said.
const MORE: [(Change, &str); 16] = [
    (
        |l| l.memory = Some(4 << 30),
        "--memory=4G for the pod: 'memory' ≤ 64M: give --memory=64M or less, before the image",
    ),
    (
        |l| l.memory_high = Some((32 << 20) + 1),
        "--memory-high=33554433 for the pod: 'memory-high' ≤ 32M: give --memory-high=32M or less, before the image",
    ),
    (
        |l| l.memory_swap = Some(1),
        "--memory-swap-max=1 for the pod: 'memory-swap-max' ≤ 0: give --memory-swap-max=0 or less, before the image",
    ),
    (
        |l| l.cpu_quota = Some(processors("1.51").unwrap()),
        "--cpus=1.51 for the pod: 'cpus' ≤ 1.5: give --cpus=1.5 or less, before the image",
    ),
    (
        |l| {
            l.cpu_quota = Some(CpuQuota {
                quota_us: 150_000,
                period_us: 99_999,
            });
        },
        "--cpus=(150000 of 99999 microseconds) for the pod: 'cpus' ≤ 1.5: give --cpus=1.5 or less, before the image",
    ),
    (
        |l| l.cpu_weight = Some(101),
        "--cpu-weight=101 for the pod: 'cpu-weight' ≤ 100: give --cpu-weight=100 or less, before the image",
    ),
    (
        |l| l.cpuset_cpus = Some("0,4".to_owned()),
        "--cpuset-cpus=0,4 for the pod: 'cpuset-cpus' ≤ 0-2,3,8: give --cpuset-cpus=0-2,3,8 or some of them, before the image",
    ),
    (
        |l| l.cpuset_cpus = Some("0-8".to_owned()),
        "--cpuset-cpus=0-8 for the pod: 'cpuset-cpus' ≤ 0-2,3,8: give --cpuset-cpus=0-2,3,8 or some of them, before the image",
    ),
    (
        |l| l.cpuset_mems = Some("all\n".to_owned()),
        "--cpuset-mems=all\\n for the pod: 'cpuset-mems' ≤ 0: give --cpuset-mems=0 or some of them, before the image",
    ),
    (
        |l| l.cpuset_mems = Some(String::new()),
        "--cpuset-mems= for the pod: 'cpuset-mems' ≤ 0: give --cpuset-mems=0 or some of them, before the image",
    ),
    (
        |l| l.pids = PidsLimit::Max { count: 101 },
        "--pids-limit=101 for the pod: 'pids-limit' ≤ 100: give --pids-limit=100 or less, before the image",
    ),
    (
        |l| l.pids = PidsLimit::Unlimited,
        "--pids-limit=unlimited for the pod: 'pids-limit' ≤ 100: give --pids-limit=100 or less, before the image",
    ),
    (
        |l| l.io_max[1] = disk("8:0,rbps=2M,wiops=100"),
        "--io-max=8:0,rbps=2M,wiops=100 for the pod: 'io-max' ≤ 8:0,rbps=1M,wiops=100: give --io-max=8:0,rbps=1M,wiops=100 or less, before the image",
    ),
    (
        |l| l.io_max[1] = disk("8:0,rbps=1M"),
        "--io-max=8:0,rbps=1M for the pod: 'io-max' ≤ 8:0,rbps=1M,wiops=100: give --io-max=8:0,rbps=1M,wiops=100 or less, before the image",
    ),
    (
        |l| l.io_max.push(disk("8:0,rbps=1G")),
        "--io-max=8:0,rbps=1M,wiops=100 --io-max=8:0,rbps=1G for the pod: 'io-max' ≤ 8:0,rbps=1M,wiops=100: give --io-max=8:0,rbps=1M,wiops=100 or less, before the image",
    ),
    (
        |l| l.io_weight = Some(51),
        "--io-weight=51 for the pod: 'io-weight' ≤ 50: give --io-weight=50 or less, before the image",
    ),
];

#[test]
fn more_than_a_bound_is_refused_with_bound_and_remedy() {
    for (change, expected) in MORE {
        assert_eq!(said(Whose::Pod, change).as_deref(), Some(expected));
    }
}

#[test]
fn a_pod_without_a_limit_that_is_bounded_is_refused_and_told_the_flag() {
    let without: [(Change, &str); 11] = [
        (|l| l.memory = None, "memory"),
        (|l| l.memory_high = None, "memory-high"),
        (|l| l.memory_swap = None, "memory-swap-max"),
        (|l| l.cpu_quota = None, "cpus"),
        (|l| l.cpu_weight = None, "cpu-weight"),
        (|l| l.cpuset_cpus = None, "cpuset-cpus"),
        (|l| l.cpuset_mems = None, "cpuset-mems"),
        (|l| l.pids = PidsLimit::Default, "pids-limit"),
        (|l| l.io_max.clear(), "io-max"),
        (|l| l.io_max.truncate(1), "io-max"),
        (|l| l.io_weight = None, "io-weight"),
    ];
    for (change, key) in without {
        let said = said(Whose::Pod, change).expect(key);
        let begins = format!("no --{key} for the pod: '{key}' ≤ ");
        assert!(said.starts_with(&begins), "{said}");
        assert!(said.contains(&format!(": give --{key}=")), "{said}");
        assert!(said.ends_with(", before the image"), "{said}");
    }
}

#[test]
fn an_app_needs_no_limit_of_its_own_and_may_not_ask_for_more_than_a_pod_may() {
    let app = Whose::App("web");
    assert_eq!(said(app, |l| *l = Limits::default()), None);
    assert_eq!(
        said(app, |l| l.memory = Some(65 << 20)).as_deref(),
        Some(
            "--memory=65M for app web: 'memory' ≤ 64M: give --memory=64M or less, after the image"
        )
    );
    assert_eq!(said(app, |l| l.cpu_weight = Some(10_000)), None);
    assert_eq!(said(app, |l| l.io_weight = Some(10_000)), None);
    assert!(said(app, |l| l.io_max[0] = disk("8:16,wbps=3M")).is_some());
}

#[test]
fn no_bound_of_a_limit_is_given_up_by_an_insecure_option() {
    let shown = policy(&[ALL]).shown();
    assert_eq!(shown.len(), KEYS.len());
    for Shown { key, .. } in shown {
        let text = ALL
            .lines()
            .find(|line| line.starts_with(&format!("{key} ")));
        let bound = policy(&["", text.expect(key)]);
        let said = bound.check_enforced(&[InsecureOption::Limits]).unwrap_err();
        assert!(said.to_string().contains(&format!("'{key}' of")), "{said}");
        assert!(bound.check_enforced(&[InsecureOption::Image]).is_ok());
    }
    let other = policy(&["networks = []"]);
    assert!(other.check_enforced(&[InsecureOption::Limits]).is_ok());
}

#[test]
fn the_manifest_is_checked_with_its_pod_its_apps_and_its_exceptions() {
    let mut manifest = pod();
    let bound = policy(&["pids-limit = 100"]);
    manifest.limits = Limits::default();
    let refused = |manifest: &_| bound.check(manifest).unwrap_err().to_string();
    assert!(refused(&manifest).starts_with("no --pids-limit for the pod"));
    manifest.limits.pids = PidsLimit::Max { count: 100 };
    assert!(bound.check(&manifest).is_ok());
    manifest.apps[0].limits.pids = PidsLimit::Max { count: 101 };
    assert!(refused(&manifest).starts_with("--pids-limit=101 for app nginx"));
    manifest.apps[0].limits.pids = PidsLimit::Default;
    manifest.insecure_options.push(InsecureOption::Limits);
    assert!(refused(&manifest).starts_with("insecure option limits"));
}

#[test]
fn bounds_are_shown_as_they_are_typed() {
    let shown = policy(&[ALL]).shown();
    let lines: Vec<_> = shown
        .iter()
        .map(|one| format!("{}: {}", one.key, one.value))
        .collect();
    assert_eq!(
        lines,
        [
            "memory: at most 64M",
            "memory-high: at most 32M",
            "memory-swap-max: at most 0",
            "cpus: at most 1.5",
            "cpu-weight: at most 100",
            "cpuset-cpus: at most 0-2,3,8",
            "cpuset-mems: at most 0",
            "pids-limit: at most 100",
            "io-max: at most 8:0,rbps=1M,wiops=100; at most 8:16,wbps=2M",
            "io-weight: at most 50",
        ]
    );
}

#[test]
fn what_no_flag_takes_is_no_bound() {
    for text in [
        "memory = true",
        "memory = -1",
        "memory = \"lots\"",
        "memory = \"64MiB\"",
        "memory = 1.5",
        "cpus = 0",
        "cpus = 1.555",
        "cpus = nan",
        "cpu-weight = 0",
        "cpuset-cpus = \"\"",
        "cpuset-cpus = \"3-1\"",
        "pids-limit = \"unlimited\"",
        "pids-limit = 0",
        "io-max = \"8:0,rbps=1M\"",
        "io-max = [\"8:0\"]",
        "io-max = [\"/nonexistent,rbps=1M\"]",
        "memory-swap = 0",
    ] {
        let path = std::path::Path::new("/p");
        let error = crate::policy::load::parse(text, path).expect_err(text);
        assert!(error.to_string().contains("/p: line 1: "), "{error}");
    }
    let error = crate::policy::load::parse("cpus = true", "/p".as_ref()).unwrap_err();
    assert!(error.to_string().contains("what the flag"), "{error}");
}
