//! The built-in profile against what must and must not pass.

use pod::Capability;

use super::compiler::Action;
use super::simulator::{Call, run};
use super::tests::{EPERM, decide, instructions, number, profile};
use super::{DEFAULT_PROFILE, DEFAULT_PROGRAM, compile_profile, default_program, syscalls};

fn built_in(name: &str, arguments: &[u64]) -> Action {
    decide(DEFAULT_PROGRAM, name, arguments)
}

#[test]
fn other_architectures_and_x32_are_refused() {
    let program = instructions(DEFAULT_PROGRAM);
    let mut call = Call::new(number("read"), [0; 6]);
    assert_eq!(run(&program, &call), Action::ALLOW);
    for architecture in [0x4000_0003, 0x4000_0028, 0] {
        call.architecture = architecture;
        assert_eq!(run(&program, &call), Action::KILL_PROCESS);
    }
    let allow_all =
        instructions(&compile_profile(br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, &[]).unwrap());
    for number in [0x4000_0000, 0x4000_0001, 0x4000_0000 + 520, u32::MAX] {
        for program in [&program, &allow_all] {
            let found = run(program, &Call::new(number, [0; 6]));
            assert_eq!(found, Action::NO_SUCH_CALL, "{number:#x}");
        }
    }
}

#[test]
fn what_nobody_knows_yet_does_not_exist() {
    let program = instructions(DEFAULT_PROGRAM);
    let allow_all =
        instructions(&compile_profile(br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#, &[]).unwrap());
    let deny_all = instructions(&profile(""));
    for number in [syscalls::HIGHEST + 1, 600, 0x3fff_ffff] {
        let call = Call::new(number, [0; 6]);
        assert_eq!(run(&program, &call), Action::NO_SUCH_CALL);
        assert_eq!(run(&deny_all, &call), Action::NO_SUCH_CALL);
        assert_eq!(run(&allow_all, &call), Action::ALLOW);
    }
}

#[test]
fn the_built_in_profile_denies_what_it_knows_and_must() {
    for name in [
        "mount",
        "umount2",
        "move_mount",
        "open_tree",
        "fsopen",
        "fsmount",
        "mount_setattr",
        "pivot_root",
        "setns",
        "keyctl",
        "add_key",
        "request_key",
        "bpf",
        "perf_event_open",
        "userfaultfd",
        "io_uring_setup",
        "io_uring_enter",
        "init_module",
        "finit_module",
        "kexec_load",
        "open_by_handle_at",
        "reboot",
        "swapon",
        "syslog",
        "quotactl",
        "acct",
        "settimeofday",
        "clock_settime",
        "kcmp",
        "pidfd_getfd",
        "fanotify_init",
    ] {
        assert_eq!(built_in(name, &[]), EPERM, "{name}");
    }
    for name in [
        "clone3",
        "statmount",
        "listmount",
        "lsm_set_self_attr",
        "listns",
    ] {
        assert_eq!(built_in(name, &[]), Action::NO_SUCH_CALL, "{name}");
    }
    for name in [
        "read",
        "openat2",
        "execve",
        "ptrace",
        "futex",
        "prctl",
        "landlock_create_ruleset",
        "seccomp",
    ] {
        assert_eq!(built_in(name, &[]), Action::ALLOW, "{name}");
    }
}

#[test]
fn new_namespaces_are_denied_however_the_flags_are_dressed() {
    const NAMESPACES: [u64; 7] = [
        0x0002_0000,
        0x0200_0000,
        0x0400_0000,
        0x0800_0000,
        0x1000_0000,
        0x2000_0000,
        0x4000_0000,
    ];
    for flag in NAMESPACES {
        for dressed in [flag, flag | 17, flag | 1 << 63, flag | 0x0011_0000] {
            assert_eq!(built_in("clone", &[dressed]), EPERM, "{dressed:#x}");
            assert_eq!(built_in("unshare", &[dressed]), EPERM, "{dressed:#x}");
        }
    }
    assert_eq!(built_in("unshare", &[0x80]), EPERM, "CLONE_NEWTIME");
    assert_eq!(built_in("clone", &[0x003d_0f00]), Action::ALLOW, "a thread");
    assert_eq!(built_in("clone", &[17]), Action::ALLOW, "a process");
    assert_eq!(built_in("unshare", &[0x0400]), Action::ALLOW, "CLONE_FILES");
}

#[test]
fn terminals_are_not_typed_into_whatever_the_upper_bits() {
    for request in [0x5412, 0x541c] {
        for dressed in [request, request | 1 << 32, request | 0xffff_ffff_0000_0000] {
            assert_eq!(built_in("ioctl", &[0, dressed]), EPERM, "{dressed:#x}");
        }
    }
    assert_eq!(built_in("ioctl", &[0x5412, 0x5413]), Action::ALLOW);
}

#[test]
fn the_limits_of_pid_1_are_its_own_whatever_the_upper_bits() {
    for pid in [1, 1 | 1 << 32, 1 | 0xffff_ffff_0000_0000] {
        assert_eq!(built_in("prlimit64", &[pid]), EPERM, "{pid:#x}");
    }
    for pid in [0, 2, 257, 1 << 32] {
        assert_eq!(built_in("prlimit64", &[pid]), Action::ALLOW, "{pid:#x}");
    }
}

#[test]
fn only_common_socket_families_exist() {
    for family in [1, 2, 10, 16, 17] {
        assert_eq!(built_in("socket", &[family]), Action::ALLOW);
        assert_eq!(
            built_in("socket", &[family | 1 << 32]),
            Action::ALLOW,
            "the kernel takes 32 bits"
        );
    }
    for family in [3, 15, 21, 29, 30, 33, 38, 40, 44, 40 | 1 << 32] {
        assert_eq!(built_in("socket", &[family]), Action::errno(97), "{family}");
    }
}

#[test]
fn capabilities_open_what_they_are_for_and_never_user_namespaces() {
    let all = default_program(Capability::ALL).unwrap();
    for name in [
        "mount",
        "setns",
        "fsopen",
        "kcmp",
        "reboot",
        "open_by_handle_at",
    ] {
        assert_eq!(decide(&all, name, &[]), Action::ALLOW, "{name}");
    }
    for name in ["bpf", "keyctl", "io_uring_setup", "init_module"] {
        assert_eq!(decide(&all, name, &[]), EPERM, "{name}");
    }
    assert_eq!(decide(&all, "unshare", &[0x0002_0000]), Action::ALLOW);
    assert_eq!(decide(&all, "unshare", &[0x1002_0000]), EPERM);
    assert_eq!(decide(&all, "clone", &[0x1000_0011]), EPERM);
}

#[test]
fn the_default_capabilities_or_fewer_make_no_difference() {
    let none = compile_profile(DEFAULT_PROFILE, &[]).unwrap();
    assert_eq!(none, DEFAULT_PROGRAM);
    assert_eq!(
        compile_profile(DEFAULT_PROFILE, Capability::DEFAULT).unwrap(),
        none
    );
    assert_eq!(default_program(&Capability::DEFAULT[..3]).unwrap(), none);
    assert_ne!(default_program(&[Capability::SysAdmin]).unwrap(), none);
    assert!(
        instructions(&none).len() < 400,
        "{}",
        instructions(&none).len()
    );
}
