//! The compiler and the profiles against a simulator of the kernel.

use std::collections::BTreeMap;

use super::compiler::{self, Action, Comparison, Instruction, Policy, Rule, Test};
use super::simulator::{Call, run};
use super::{compile_profile, syscalls};

pub(super) const EPERM: Action = Action::errno(1);

pub(super) fn instructions(bytes: &[u8]) -> Vec<Instruction> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty());
    chunks
        .iter()
        .map(|&[c0, c1, if_true, if_false, k0, k1, k2, k3]| Instruction {
            code: u16::from_ne_bytes([c0, c1]),
            if_true,
            if_false,
            operand: u32::from_ne_bytes([k0, k1, k2, k3]),
        })
        .collect()
}

pub(super) fn number(name: &str) -> u32 {
    syscalls::number(name).unwrap_or_else(|| panic!("no number for {name}"))
}

pub(super) fn decide(program: &[u8], name: &str, arguments: &[u64]) -> Action {
    let mut six = [0; 6];
    six[..arguments.len()].copy_from_slice(arguments);
    run(&instructions(program), &Call::new(number(name), six))
}

pub(super) fn profile(syscalls: &str) -> Vec<u8> {
    let text = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{syscalls}]}}"#);
    compile_profile(text.as_bytes(), &[]).unwrap()
}

#[test]
fn every_comparison_is_right_around_both_halves() {
    let points = [
        0,
        1,
        2,
        0xffff_fffe,
        0xffff_ffff,
        1 << 32,
        (1 << 32) + 1,
        (7 << 32) + 5,
        u64::MAX - 1,
        u64::MAX,
    ];
    for bound in points {
        let mask = 0x0000_0001_0000_00ff;
        for (test, holds) in [
            (
                Test::Equal(bound),
                Box::new(move |v| v == bound) as Box<dyn Fn(u64) -> bool>,
            ),
            (Test::NotEqual(bound), Box::new(move |v| v != bound)),
            (Test::Less(bound), Box::new(move |v| v < bound)),
            (Test::LessOrEqual(bound), Box::new(move |v| v <= bound)),
            (Test::Greater(bound), Box::new(move |v| v > bound)),
            (Test::GreaterOrEqual(bound), Box::new(move |v| v >= bound)),
            (
                Test::Masked {
                    mask,
                    value: bound & mask,
                },
                Box::new(move |v| v & mask == bound & mask),
            ),
        ] {
            for argument in 0..6 {
                // A second comparison behind it and a second rule after it make wrong distances visible.
                let behind = Comparison {
                    argument: (argument + 1) % 6,
                    test: Test::NotEqual(77),
                };
                let rule = Rule {
                    comparisons: vec![Comparison { argument, test }, behind],
                    action: Action::ALLOW,
                };
                let policy = Policy {
                    default: EPERM,
                    highest: 10,
                    rules: BTreeMap::from([(3, vec![rule])]),
                };
                let program = compiler::compile(&policy).unwrap();
                for value in points {
                    let mut arguments = [0; 6];
                    arguments[argument as usize] = value;
                    let expected = if holds(value) { Action::ALLOW } else { EPERM };
                    let found = run(&program, &Call::new(3, arguments));
                    assert_eq!(found, expected, "{test:?} of {value:#x} in {argument}");
                    arguments[(argument as usize + 1) % 6] = 77;
                    assert_eq!(run(&program, &Call::new(3, arguments)), EPERM);
                }
            }
        }
    }
}

#[test]
fn the_search_finds_every_number() {
    let rule = |action| Rule {
        comparisons: Vec::new(),
        action,
    };
    let action = |number: u32| Action::errno(u16::try_from(1 + number * 7 % 4000).unwrap());
    let rules = (0..900)
        .step_by(2)
        .map(|n| (n, vec![rule(action(n))]))
        .collect();
    let policy = Policy {
        default: Action::ALLOW,
        highest: 0,
        rules,
    };
    let program = compiler::compile(&policy).unwrap();
    for number in 0..1000 {
        let expected = if number < 900 && number % 2 == 0 {
            action(number)
        } else {
            Action::ALLOW
        };
        assert_eq!(
            run(&program, &Call::new(number, [0; 6])),
            expected,
            "{number}"
        );
    }
}

#[test]
fn a_program_the_kernel_would_not_take_is_refused() {
    let comparisons: Vec<_> = (0..6)
        .map(|argument| Comparison {
            argument,
            test: Test::Less(9),
        })
        .collect();
    let rule = Rule {
        comparisons,
        action: Action::ALLOW,
    };
    let rules = (0..300).map(|n| (n, vec![rule.clone()])).collect();
    let policy = Policy {
        default: EPERM,
        highest: 0,
        rules,
    };
    // Equal neighbours share their code.
    assert!(compiler::compile(&policy).unwrap().len() < 50);
    let distinct = |n: u32| Rule {
        action: Action::errno(u16::try_from(n + 1).unwrap()),
        ..rule.clone()
    };
    let rules = (0..300).map(|n| (n, vec![distinct(n)])).collect();
    assert!(compiler::compile(&Policy { rules, ..policy }).is_none());
}

#[test]
fn a_rule_that_denies_is_not_hidden_by_one_that_allows() {
    let allow = r#"{"names":["ioctl"],"action":"SCMP_ACT_ALLOW"}"#;
    let deny = r#"{"names":["ioctl"],"action":"SCMP_ACT_ERRNO","args":[{"index":1,"value":5,"op":"SCMP_CMP_EQ"}]}"#;
    let wider = r#"{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":9,"op":"SCMP_CMP_LE"}]}"#;
    for order in [
        [allow, deny, wider],
        [deny, wider, allow],
        [wider, allow, deny],
    ] {
        let program = profile(&order.join(","));
        assert_eq!(decide(&program, "ioctl", &[0, 5]), EPERM);
        assert_eq!(decide(&program, "ioctl", &[0, 4]), Action::ALLOW);
        assert_eq!(decide(&program, "ioctl", &[0, 10]), Action::ALLOW);
    }
}

#[test]
fn conditions_of_a_rule_are_heeded() {
    let entry =
        |condition: &str| format!(r#"{{"name":"sync","action":"SCMP_ACT_ALLOW",{condition}}}"#);
    for (condition, applies) in [
        (r#""includes":{"caps":["CAP_SYS_ADMIN"]}"#, false),
        (r#""excludes":{"caps":["CAP_SYS_ADMIN"]}"#, true),
        (r#""includes":{"arches":["s390x"]}"#, false),
        (r#""includes":{"minKernel":"4.8"}"#, true),
        (r#""includes":{"minKernel":"99.0"}"#, false),
        (r#""excludes":{"minKernel":"4.8"}"#, false),
        (r#""includes":{},"excludes":{}"#, true),
    ] {
        let expected = if applies { Action::ALLOW } else { EPERM };
        assert_eq!(
            decide(&profile(&entry(condition)), "sync", &[]),
            expected,
            "{condition}"
        );
    }
}

#[test]
fn a_profile_that_cannot_be_enforced_is_refused() {
    for (bad, complaint) in [
        ("{}", "not a seccomp profile"),
        (
            r#"{"defaultAction":"SCMP_ACT_MAYBE"}"#,
            "unsupported action 'SCMP_ACT_MAYBE'",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            "unsupported action",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","surprise":1}"#,
            "not a seccomp profile",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#,
            "unsupported flag",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#,
            "unsupported listener",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_S390X"]}"#,
            "architecture",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":0}"#,
            "unknown errno '0'",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":2,"defaultErrno":"EPERM"}"#,
            "unknown errno",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"mounnt","action":"SCMP_ACT_ERRNO"}]}"#,
            "denies unknown system call 'mounnt'",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"mount","action":"SCMP_ACT_ERRNO",
               "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            "no argument '6'",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"mount","action":"SCMP_ACT_ERRNO",
               "args":[{"index":1,"value":0,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#,
            "compares twice",
        ),
        (
            r#"{"defaultAction":"SCMP_ACT_ALLOW"} trailing"#,
            "not a seccomp profile",
        ),
    ] {
        let error = compile_profile(bad.as_bytes(), &[])
            .unwrap_err()
            .to_string();
        assert!(error.contains(complaint), "{bad}: {error}");
    }
}
