//! The system call filter of an app, tried for real from inside: each class of call that must fail does, with the right
//! error, and what programs need works.

use functional::{Env, Image, Run, User, skip};
use serde_json::{Value, json};

/// An unsigned image in a layout directory, and an environment.
fn image(user: User) -> (Env, String) {
    let env = Env::new(user);
    let name = env.layout(&Image::inspect().build());
    (env, name)
}

/// Runs the test program with one question.
fn ask(env: &Env, name: &str, flags: &[&str], question: &[&str]) -> Run {
    let start = ["--insecure-options=image", "run", "--net=none", name];
    env.skua(&[&start, flags, &["--"], question].concat())
}

fn errno(env: &Env, name: &str, flags: &[&str], question: &[&str]) -> Value {
    ask(env, name, flags, question).success().json()["errno"].clone()
}

fn call(env: &Env, name: &str, number: i64, arguments: &[&str]) -> Value {
    let number = number.to_string();
    let question = [&["syscall", number.as_str()], arguments].concat();
    errno(env, name, &[], &question)
}

#[test]
fn every_app_is_filtered_and_has_no_new_privileges() {
    for user in User::all() {
        let (env, name) = image(user);
        let status = ask(&env, &name, &[], &["status"]).success().json();
        assert_eq!(status["Seccomp"], "2", "{user:?}");
        assert_eq!(status["NoNewPrivs"], "1", "{user:?}");
    }
}

#[test]
fn known_and_dangerous_calls_are_not_permitted() {
    let (env, name) = image(User::ordinary());
    for (what, number) in [
        ("mount", libc::SYS_mount),
        ("open_tree", libc::SYS_open_tree),
        ("fsopen", libc::SYS_fsopen),
        ("move_mount", libc::SYS_move_mount),
        ("pivot_root", libc::SYS_pivot_root),
        ("setns", libc::SYS_setns),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("bpf", libc::SYS_bpf),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("init_module", libc::SYS_init_module),
        ("kexec_load", libc::SYS_kexec_load),
        ("reboot", libc::SYS_reboot),
        ("syslog", libc::SYS_syslog),
    ] {
        assert_eq!(call(&env, &name, number, &[]), "EPERM", "{what}");
    }
}

#[test]
fn clone3_and_calls_of_the_future_do_not_exist() {
    let (env, name) = image(User::ordinary());
    for number in [libc::SYS_clone3, 471, 600, 0x3fff_ffff] {
        assert_eq!(call(&env, &name, number, &[]), "ENOSYS", "{number}");
    }
}

#[test]
fn x32_calls_do_not_exist() {
    let (env, name) = image(User::ordinary());
    // getpid, and the x32 form of execve.
    for number in [0x4000_0000 + 39, 0x4000_0000 + 520] {
        assert_eq!(call(&env, &name, number, &[]), "ENOSYS", "{number:#x}");
    }
}

#[test]
fn no_new_namespace_by_unshare_or_clone() {
    let (env, name) = image(User::ordinary());
    for namespace in ["user", "mount", "net", "pid", "uts", "ipc", "cgroup"] {
        let question = ["unshare", namespace];
        assert_eq!(errno(&env, &name, &[], &question), "EPERM", "{namespace}");
    }
    let new_user = (libc::CLONE_NEWUSER | libc::SIGCHLD).to_string();
    assert_eq!(call(&env, &name, libc::SYS_clone, &[&new_user]), "EPERM");
    // Bits that the kernel ignores do not hide the flag.
    let dressed = format!("{:#x}", (1_u64 << 40) | 0x1000_0011);
    assert_eq!(call(&env, &name, libc::SYS_clone, &[&dressed]), "EPERM");
}

#[test]
fn nothing_is_typed_into_a_terminal() {
    let (env, name) = image(User::ordinary());
    for request in ["0x5412", "0x100005412", "0x541c", "0xffffffff0000541c"] {
        let found = call(&env, &name, libc::SYS_ioctl, &["0", request, "0"]);
        assert_eq!(found, "EPERM", "{request}");
    }
    // Another request gets as far as the descriptor.
    assert_eq!(
        call(&env, &name, libc::SYS_ioctl, &["99", "0x5413", "0"]),
        "EBADF"
    );
}

#[test]
fn sockets_of_rare_families_are_refused() {
    let (env, name) = image(User::ordinary());
    for (family, expected) in [
        (libc::AF_VSOCK, json!("EAFNOSUPPORT")),
        (libc::AF_ALG, json!("EAFNOSUPPORT")),
        (libc::AF_BLUETOOTH, json!("EAFNOSUPPORT")),
        (libc::AF_UNIX, Value::Null),
        (libc::AF_INET6, Value::Null),
    ] {
        let family = family.to_string();
        let found = call(&env, &name, libc::SYS_socket, &[&family, "1", "0"]);
        assert_eq!(found, expected, "family {family}");
    }
}

#[test]
fn a_profile_of_one_s_own_replaces_the_built_in_one() {
    let (env, name) = image(User::ordinary());
    let profile = env.write(
        "profile.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["sync"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22},
            {"names": ["kill"], "action": "SCMP_ACT_KILL_PROCESS",
             "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    let flag = format!("--seccomp={}", profile.display());
    let sync = libc::SYS_sync.to_string();
    assert_eq!(errno(&env, &name, &[&flag], &["syscall", &sync]), "EINVAL");
    ask(&env, &name, &[&flag], &["kill", "1", "0"]).success();
    ask(&env, &name, &[&flag], &["kill", "1", "10"]).exits(128 + libc::SIGSYS);
}

#[test]
fn a_profile_that_cannot_be_enforced_starts_nothing() {
    let (env, name) = image(User::ordinary());
    for (text, complaint) in [
        ("{}", "not a seccomp profile"),
        (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY"),
        (
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mounnt", "action": "SCMP_ACT_ERRNO"}]}"#,
            "mounnt",
        ),
    ] {
        let profile = env.write("profile.json", text);
        let flag = format!("--seccomp={}", profile.display());
        ask(&env, &name, &[&flag], &["exit", "0"]).fails(&[complaint]);
    }
    // What nobody will ever write is not waited for.
    let fifo = env.scratch("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o644)).expect("a fifo");
    env.give(&fifo);
    let flag = format!("--seccomp={}", fifo.display());
    ask(&env, &name, &[&flag], &["exit", "0"]).fails(&["not a regular file"]);
}

#[test]
fn an_app_that_its_profile_kills_before_its_program_is_executed_is_told() {
    for user in User::all() {
        let (env, name) = image(user);
        let profile = env.write("kill.json", r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS"}"#);
        let flag = format!("--seccomp={}", profile.display());
        let what = "cannot start app layout: ended by signal 31 before its program was executed";
        let run = ask(&env, &name, &[&flag], &["exit", "0"]).fails(&[what]);
        run.complains("hint: its seccomp profile");
        // In a larger pod the others are not started, and nothing is said of them.
        let other = ["---", &name, "--name=other"];
        let run = ask(
            &env,
            &name,
            &[&flag],
            &[&["exit", "0"][..], &other].concat(),
        )
        .fails(&[what]);
        assert_eq!(run.stderr.lines().count(), 2, "{}", run.report());
        let pods = env.skua(&["list", "--format=json"]).success().json();
        let apps = &pods["pods"]
            .as_array()
            .and_then(|pods| pods.last())
            .expect("a pod")["apps"];
        let other = apps[1]["outcome"].to_string();
        assert!(other.contains("another app of its pod"), "{apps}");
    }
}

#[test]
fn i386_calls_end_the_process() {
    if !cfg!(target_arch = "x86_64") {
        return skip("i386_calls_end_the_process", "needs x86-64");
    }
    let (env, _) = image(User::ordinary());
    let layout = env.scratch("i386");
    // A static program of its own: `int 0x80` with exit(7).
    let layer = functional::Layer::new().file("i386", 0o755, i386_exit());
    let built = Image::inspect().layer(layer).entrypoint(&["/i386"]).build();
    built.write_layout(&layout, "1");
    env.give(&layout);
    let name = format!("oci:{}:1", layout.display());
    env.skua(&["--insecure-options=image", "run", "--net=none", &name])
        .exits(128 + libc::SIGSYS);
    env.skua(&[
        "--insecure-options=image,seccomp",
        "run",
        "--net=none",
        &name,
        "--seccomp=unconfined",
    ])
    .exits(7);
}

/// A 64-bit ELF program that exits with 7 through the 32-bit system call gate.
fn i386_exit() -> Vec<u8> {
    const BASE: u64 = 0x0040_0000;
    let code = [0xb8, 1, 0, 0, 0, 0xbb, 7, 0, 0, 0, 0xcd, 0x80];
    let length = 64 + 56 + code.len() as u64;
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [BASE + 64 + 56, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    for word in [0, BASE, BASE, length, length, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    file
}

#[test]
fn with_debug_a_refused_call_is_named_and_fails_as_it_would_without() {
    for user in User::all() {
        let (env, name) = image(user);
        for (call, errno, word) in [
            (libc::SYS_mount, "EPERM", "mount"),
            (libc::SYS_clone3, "ENOSYS", "clone3"),
            (600, "ENOSYS", "unknown"),
        ] {
            let number = call.to_string();
            let ask = |flags: &[&str]| {
                let run = ["--insecure-options=image", "run", "--net=none"];
                let question = [&name, "--", "syscall", &number, "1", "2"];
                env.skua(&[flags, &run, &question].concat()).success()
            };
            let said = format!("refused system call {word} ({call:#x}) with {errno}");
            let debug = ask(&["--debug"]).complains(&said);
            assert_eq!(debug.json()["errno"], errno, "{user:?} {}", debug.report());
            let plain = ask(&[]);
            assert_eq!(plain.json()["errno"], errno, "{user:?}");
            assert!(!plain.stderr.contains("refused"), "{}", plain.report());
        }
    }
}

#[test]
fn with_debug_even_a_profile_that_refuses_nearly_everything_ends() {
    let (env, name) = image(User::ordinary());
    let profile = env.write(
        "sendless.json",
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["sendmsg", "sendto", "socketpair", "recvmsg", "clone", "prctl", "nanosleep"],
             "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}"#,
    );
    let flag = format!("--seccomp={}", profile.display());
    let sendmsg = libc::SYS_sendmsg.to_string();
    let words = [
        "--debug",
        "--insecure-options=image",
        "run",
        &name,
        &flag,
        "--",
        "syscall",
        &sendmsg,
    ];
    let run = env.skua(&words).success().complains("system call sendmsg");
    assert_eq!(run.json()["errno"], "EACCES");
}
