//! `--net=pasta`: the network of ordinary users. Root only plays the host here; the pods are an ordinary user's.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use functional::{
    Background, Env, Image, User, eventually, missing_program, private_host, sh, skip,
};
use nix::sys::signal::Signal;

/// An ordinary user's surroundings on a private host with a default route and a tun device for everybody.
fn ordinary(test: &str) -> Option<(Env, String)> {
    if let Some(program) = missing_program(&["pasta", "mknod"]) {
        skip(test, &format!("{program} is not installed"));
        return None;
    }
    if !Path::new("/dev/net/tun").exists() {
        skip(test, "there is no /dev/net/tun");
        return None;
    }
    private_host(test)?;
    sh("ip route add default via 192.0.2.254");
    sh("mknod /run/tun c 10 200 && chmod 666 /run/tun && mount --bind /run/tun /dev/net/tun");
    let env = Env::new(User::ordinary());
    let layout = env.scratch("image");
    Image::inspect().build().write_layout(&layout, "1");
    env.give(&layout);
    Some((env, format!("oci:{}:1", layout.display())))
}

fn words<'a>(image: &'a str, flags: &[&'a str], words: &[&'a str]) -> Vec<&'a str> {
    let run = ["--insecure-options=image", "run", "--net=pasta"];
    [&run[..], flags, &[image, "--"], words].concat()
}

/// The pid files that processes of pasta have as an argument.
fn pid_files(env: &Env) -> Vec<String> {
    let (uid, _) = env.user().ids();
    let directory = format!("/tmp/skua-cni-pasta-{uid}");
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let words = pids
        .filter(|pid| in_this_network(&pid.path()))
        .flat_map(|pid| {
            let words = fs::read(pid.path().join("cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).into_owned();
            words.split('\0').map(str::to_owned).collect::<Vec<_>>()
        });
    words.filter(|word| word.starts_with(&directory)).collect()
}

/// Processes of pasta that carry the pods of this test's user.
fn pastas(env: &Env) -> usize {
    let (uid, _) = env.user().ids();
    let directory = format!("/tmp/skua-cni-pasta-{uid}");
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    let carries = |pid: &fs::DirEntry| {
        let words = fs::read(pid.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(&directory) && in_this_network(&pid.path())
    };
    pids.filter(carries).count()
}

fn in_this_network(process: &Path) -> bool {
    let ours = fs::read_link("/proc/thread-self/ns/net").expect("our namespace");
    fs::read_link(process.join("ns/net")).is_ok_and(|theirs| theirs == ours)
}

#[test]
fn privileged_what_keeps_pasta_from_working_is_said_by_run_and_by_doctor() {
    let Some((env, image)) = ordinary("pasta_kept_from_working") else {
        return;
    };
    sh("chmod 666 /dev/net/tun");
    env.skua(&["doctor"]).says("--net=pasta");
    let low = words(&image, &["--publish=127.0.0.1:80:80"], &["exit", "0"]);
    let run = env.skua(&low).fails(&["pasta failed: Failed to bind"]);
    let run = run.complains("hint: somebody has this port of the host, or the user may not");
    assert!(!run.stderr.contains("syslog"), "{}", run.report());
    sh("chmod 600 /dev/net/tun");
    env.skua(&["doctor"])
        .says("limited  pasta            /dev/net/tun is not ours to open")
        .says("chmod 0666 /dev/net/tun");
    let run = env.skua(&words(&image, &[], &["exit", "0"]));
    run.fails(&["pasta failed: Failed to open tun socket"])
        .complains("hint: the user must be able to open /dev/net/tun");
}

#[test]
fn privileged_a_pod_of_an_ordinary_user_is_reached_by_its_published_port() {
    let Some((env, image)) = ordinary("pasta_published_port") else {
        return;
    };
    let server = ["listen", "0.0.0.0:80", "by pasta"];
    let pod = env.spawn(&words(&image, &["--publish=127.0.0.1:18090:80"], &server));
    let mut heard = String::new();
    eventually("an answer", || {
        let stream = TcpStream::connect("127.0.0.1:18090");
        stream.is_ok_and(|mut s| s.read_to_string(&mut heard).is_ok() && !heard.is_empty())
    });
    assert_eq!(heard.trim(), "by pasta");
    pod.wait().success();
    assert_eq!(pastas(&env), 0);
}

#[test]
fn privileged_a_pod_of_an_ordinary_user_reaches_the_network_and_not_the_host_s_loopback() {
    let Some((env, image)) = ordinary("pasta_outbound") else {
        return;
    };
    let listener = TcpListener::bind("192.0.2.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        stream.write_all(b"from outside").expect("write");
    });
    let address = format!("192.0.2.1:{port}");
    let run = env
        .skua(&words(&image, &[], &["connect", &address]))
        .success();
    answer.join().expect("a connection");
    assert_eq!(run.json()["heard"], "from outside");

    let loopback = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = loopback.local_addr().expect("an address").port();
    let gateway = format!("10.0.2.2:{port}");
    loopback
        .set_nonblocking(true)
        .expect("a listener that does not wait");
    let pod = env.spawn(&words(
        &image,
        &["--stop-timeout=1s"],
        &["connect", &gateway],
    ));
    eventually("pasta runs", || pastas(&env) == 1);
    // Where the gateway leads to the host's loopback interface, a connection takes milliseconds.
    std::thread::sleep(Duration::from_secs(2));
    let accepted = loopback.accept().map_err(|e| e.kind());
    assert_eq!(accepted.err(), Some(ErrorKind::WouldBlock));
    pod.signal(Signal::SIGTERM);
    pod.wait();

    let interfaces = env
        .skua(&words(&image, &[], &["interfaces"]))
        .success()
        .json();
    assert!(
        interfaces["eth0"]["addresses"]
            .to_string()
            .contains("10.0.2.100"),
        "{interfaces}"
    );
    env.skua(&words(&image, &[], &["read", "/etc/resolv.conf"]))
        .success()
        .says("nameserver 10.0.2.3");
}

#[test]
fn privileged_after_kill_9_of_an_ordinary_user_s_keeper_at_any_moment_gc_ends_pasta() {
    let Some((env, image)) = ordinary("pasta_gc") else {
        return;
    };
    let server = words(&image, &["--publish=18091:80"], &["sleep", "1000"]);
    for milliseconds in (0..300).step_by(20) {
        let mut pod = env.spawn(&server);
        eventually("the pod is made", || {
            let run = fs::read_dir(env.data().join("pods/run"));
            run.is_ok_and(|mut pods| pods.next().is_some())
        });
        std::thread::sleep(Duration::from_millis(milliseconds));
        pod.signal(Signal::SIGKILL);
        eventually("the keeper is gone", || !pod.is_running());
        drop(pod);
        // What was not yet in the pod when the keeper died holds the pod's lock for another moment.
        eventually("gc heals the pod", || {
            env.skua(&["gc", "--grace-period=0s"]).success();
            let run = fs::read_dir(env.data().join("pods/run"));
            run.is_ok_and(|mut pods| pods.next().is_none())
        });
        assert_eq!(pastas(&env), 0, "after {milliseconds} ms");
    }
}

/// An argument makes no process pasta's: anybody sees it, and can have the same.
#[test]
fn privileged_a_process_of_somebody_else_with_the_same_argument_is_left_alone() {
    let Some((env, image)) = ordinary("pasta_of_somebody_else") else {
        return;
    };
    let mut pod = env.spawn(&words(&image, &["--stop-timeout=1s"], &["sleep", "1000"]));
    pod.prints("ready");
    let files = pid_files(&env);
    let file = files.first().expect("pasta's pid file");
    let somebody = Env::new(User::Single);
    let mut other: Command = somebody.program("tail");
    other.args(["-f", "/dev/null", file]);
    let mut other = Background::start(other);
    eventually("both have it", || pid_files(&env).len() > files.len());
    pod.signal(Signal::SIGTERM);
    let code = pod.wait().code();
    assert_ne!(code, Some(254));
    assert!(other.is_running());
    other.signal(Signal::SIGKILL);
    other.wait();
}

/// Anybody can make a directory of that name in `/tmp`, before a pod starts, and when `/tmp` was swept while it runs.
#[test]
fn privileged_names_that_another_user_takes_keep_no_pod_from_its_network() {
    let Some((env, image)) = ordinary("pasta_where_names_are_taken") else {
        return;
    };
    sh("mount -t tmpfs -o mode=1777 tmpfs /tmp");
    let (uid, _) = env.user().ids();
    let usual = format!("/tmp/skua-cni-pasta-{uid}");
    let flags = ["--publish=127.0.0.1:8083:80", "--rm"];
    let skua = words(&image, &flags, &["trap", "SIGTERM", "0"]);
    for swept in [true, false] {
        let mut pod = env.spawn(&skua);
        pod.prints("ready");
        assert_eq!(pastas(&env), 1, "{swept}");
        if swept {
            fs::rename(&usual, "/tmp/swept").expect("the usual directory");
            fs::create_dir(&usual).expect("a directory of root's");
        }
        pod.signal(Signal::SIGTERM);
        pod.wait().success();
        assert_eq!(pastas(&env), 0, "{swept}");
    }
    let left = fs::read_dir("/tmp").expect("/tmp").flatten();
    let left: Vec<_> = left.filter(|left| left.file_name() != "swept").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn privileged_root_is_told_that_pasta_is_not_for_root() {
    let Some(root) = User::root("pasta_for_root") else {
        return;
    };
    let env = Env::new(root);
    env.skua(&["run", "--net=pasta", "oci:/nonexistent"])
        .fails(&["ordinary users"])
        .complains("--net=default");
}
