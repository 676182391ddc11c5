//! Forbidden things, really tried by a process that is confined like a worker: this test program, executed again.

use std::env;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::getppid;

use super::confine;

const STEP: &str = "SKUA_PROBE_STEP";
const DIRECTORY: &str = "SKUA_PROBE_DIRECTORY";

/// Not a test but the confined process: it prints a line for each attempt.
#[test]
fn probe() {
    let Ok(step) = env::var(STEP) else { return };
    let directory = env::var(DIRECTORY).unwrap();
    let opened = File::open(&directory).unwrap();
    match step.as_str() {
        "net" => confine::network().unwrap(),
        "pack" => confine::pack([opened.as_fd()].into_iter()).unwrap(),
        "layout" => confine::layout(Some(opened.as_fd()), false).unwrap(),
        _ => confine::unpack(opened.as_fd()).unwrap(),
    }
    attempt("thread", std::thread::Builder::new().spawn(|| ()).map(drop));
    attempt("execute", Command::new("/bin/true").status());
    attempt("read passwd", fs::read("/etc/passwd"));
    attempt("read hosts", fs::read("/etc/hosts"));
    attempt("read inside", fs::read(format!("{directory}/file")));
    attempt("write inside", fs::write(format!("{directory}/new"), "x"));
    attempt(
        "write outside",
        fs::write("/var/tmp/skua-probe-must-not-exist", "x"),
    );
    attempt("connect", TcpStream::connect("127.0.0.1:1"));
    attempt("listen", TcpListener::bind("127.0.0.1:0"));
    attempt("udp", UdpSocket::bind("127.0.0.1:0"));
    attempt("unix socket", UnixStream::connect("/run/skua-probe"));
    attempt("signal", nix::sys::signal::kill(getppid(), None));
    attempt("namespace", unshare(CloneFlags::CLONE_NEWUSER));
    attempt("mount", rustix::mount::mount_bind("/", "/"));
    // Not nix: glibc would ask the other threads too, which are not confined.
    let root = rustix::thread::set_thread_uid(rustix::thread::Uid::ROOT);
    attempt("become root", root);
    attempt("chroot", nix::unistd::chroot("/"));
    let memory = rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty());
    attempt("memfd", memory);
    let more = rustix::thread::CapabilitySets {
        effective: rustix::thread::CapabilitySet::SYS_ADMIN,
        permitted: rustix::thread::CapabilitySet::SYS_ADMIN,
        inheritable: rustix::thread::CapabilitySet::empty(),
    };
    let gained = rustix::thread::set_capabilities(None, more);
    attempt("capability", gained);
}

fn attempt<T, E: std::fmt::Display>(what: &str, outcome: Result<T, E>) {
    match outcome {
        Ok(_) => println!("\nprobe {what}: done"),
        Err(error) => println!("\nprobe {what}: {error}"),
    }
}

/// What a process confined for `step` achieved, by attempt.
fn outcomes(step: &str) -> Vec<(String, String)> {
    let directory = env::temp_dir().join(format!("skua-probe-{step}-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("file"), "x").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "tests::probe", "--nocapture", "--test-threads=1"])
        .env(STEP, step)
        .env(DIRECTORY, &directory)
        .output()
        .unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text.lines()
        .filter_map(|line| line.strip_prefix("probe ")?.split_once(": "))
        .map(|(what, outcome)| (what.to_owned(), outcome.to_owned()))
        .collect()
}

/// Everything but `allowed` must fail with "not permitted" or "denied", and `allowed` must not.
fn only(step: &str, allowed: &[&str]) {
    let outcomes = outcomes(step);
    assert!(outcomes.len() >= 18, "{outcomes:?}");
    for (what, outcome) in outcomes {
        let refused = outcome.contains("ermission denied") || outcome.contains("not permitted");
        let may = allowed.contains(&what.as_str());
        assert_eq!(refused, !may, "{step}: {what}: {outcome}");
    }
}

#[test]
fn the_network_worker_can_connect_and_resolve_and_nothing_else() {
    only("net", &["thread", "connect", "udp", "read hosts"]);
}

#[test]
fn the_layout_worker_can_read_its_directory_and_nothing_else() {
    only("layout", &["thread", "read inside"]);
}

/// Capabilities of a worker exist only in a user namespace, which a test with threads cannot make; the functional tests look at
/// the real one.
fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        let line = format!("skipped: {test}: its capabilities are root's\n");
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
    root
}

#[test]
fn the_pack_worker_can_read_its_trees_and_nothing_else() {
    if !is_root("the_pack_worker_can_read_its_trees_and_nothing_else") {
        return;
    }
    only("pack", &["thread", "read inside"]);
}

#[test]
fn the_unpack_worker_can_write_its_directory_and_nothing_else() {
    if !is_root("the_unpack_worker_can_write_its_directory_and_nothing_else") {
        return;
    }
    only("unpack", &["thread", "read inside", "write inside"]);
}
