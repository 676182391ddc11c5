//! What apps write where the caller's standard output and error are files, sockets or terminals: it arrives, whole and in order, and
//! apps have none of those themselves.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use functional::{Background, Env, Image, Layer, Run, User, eventually};
use nix::sys::signal::Signal;

const RUN: [&str; 5] = [
    "--quiet",
    "--insecure-options=image",
    "run",
    "--net=none",
    "--rm",
];

/// More than any pipe or buffer in between has room for.
const MUCH: u64 = 5_000_001;

/// `skua run` of `inspect` with these words.
fn run(env: &Env, image: &str, words: &[&str]) -> Command {
    env.command(&[&RUN[..], &[image], words].concat())
}

/// The same by a shell's line, in which it is `"$@"`.
fn by_shell(env: &Env, line: &str, skua: &Command) -> Run {
    let mut shell = env.program("sh");
    shell.args(["-c", line, "sh"]);
    shell.arg(skua.get_program()).args(skua.get_args());
    Run::of(shell)
}

/// Everything that comes out of a socket which is standard output and error, as a unit's is.
fn through_a_socket(mut skua: Command) -> (std::process::ExitStatus, Vec<u8>) {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let error = theirs.try_clone().expect("another descriptor");
    skua.stdin(Stdio::null())
        .stdout(OwnedFd::from(theirs))
        .stderr(OwnedFd::from(error));
    let mut child = skua.spawn().expect("skua starts");
    drop(skua);
    let mut all = Vec::new();
    ours.read_to_end(&mut all).expect("all of it");
    (child.wait().expect("its end"), all)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file").permissions().mode() & 0o7777
}

#[test]
fn where_the_journal_reads_an_app_can_open_dev_stdout() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        for app_user in ["--user=0", "--user=1000"] {
            for stream in ["/dev/stdout", "/dev/stderr"] {
                let skua = run(&env, &image, &[app_user, "--", "append", stream, "logged"]);
                let (status, all) = through_a_socket(skua);
                let text = String::from_utf8_lossy(&all);
                assert!(status.success(), "{user:?} {app_user} {stream}: {text}");
                assert!(text.contains("logged"), "{user:?} {app_user}: {text}");
            }
        }
    }
}

#[test]
fn all_that_is_written_arrives() {
    let count = MUCH.to_string();
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let (status, all) = through_a_socket(run(&env, &image, &["--", "flood", &count]));
        assert!(status.success(), "{user:?}");
        assert_eq!(all.len() as u64, MUCH, "{user:?}: through a socket");
        let path = env.write("out", "before\n");
        let line = format!("\"$@\" >> {}", path.display());
        let skua = run(&env, &image, &["--", "flood", &count]);
        by_shell(&env, &line, &skua).success();
        let found = fs::read(&path).expect("the file");
        assert!(found.starts_with(b"before\nxxx"), "{user:?}");
        assert_eq!(found.len() as u64, MUCH + 7, "{user:?}: in a file");
    }
}

#[test]
fn what_goes_to_one_place_stays_in_order() {
    let order = "for i in 1 2 3 4 5 6 7 8; do echo out $i; echo err $i >&2; done";
    let expected: String = (1..=8).map(|i| format!("out {i}\nerr {i}\n")).collect();
    let Ok(busybox) = fs::read("/bin/busybox") else {
        return functional::skip("what_goes_to_one_place_stays_in_order", "no /bin/busybox");
    };
    let layer = Layer::new().file("bin/sh", 0o755, busybox);
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(
            &Image::new()
                .layer(layer.clone())
                .entrypoint(&["/bin/sh"])
                .build(),
        );
        let skua = env.command(&[&RUN[..], &[&image, "--", "-c", order]].concat());
        let path = env.write("both", "");
        by_shell(&env, &format!("\"$@\" > {} 2>&1", path.display()), &skua).success();
        assert_eq!(fs::read_to_string(&path).expect("the file"), expected);
        let (_, all) = through_a_socket(skua);
        assert_eq!(String::from_utf8_lossy(&all), expected, "{user:?}");
    }
}

/// The caller is user 0 of an ordinary user's pod, and so the owner of the file: it would be a set-id program of the caller.
#[test]
fn an_app_cannot_change_the_file_that_its_output_goes_to() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        for stream in ["1", "2"] {
            let path = env.write("out", "");
            let before = mode(&path);
            let target = format!("/proc/self/fd/{stream}");
            let skua = run(&env, &image, &["--", "chmod", &target, "0o4777"]);
            let line = format!("\"$@\" {stream}> {}", path.display());
            by_shell(&env, &line, &skua);
            assert_eq!(mode(&path), before, "{user:?}: {stream}");
            let entered = env.write("entered", "");
            let before = mode(&entered);
            let mut pod =
                env.spawn(&[&RUN[..], &["--name=p", &image, "--", "sleep", "60"]].concat());
            pod.prints("ready");
            let skua = env.command(&["enter", "p", "--", "/inspect", "chmod", &target, "0o4777"]);
            let line = format!("\"$@\" {stream}> {}", entered.display());
            by_shell(&env, &line, &skua);
            assert_eq!(mode(&entered), before, "{user:?}: {stream} of enter");
            pod.signal(Signal::SIGTERM);
            pod.wait();
        }
    }
}

/// The app has written all and ended well; that some of it is in no file must not look like success.
#[test]
fn what_cannot_be_written_is_an_error() {
    let count = MUCH.to_string();
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let path = env.write("out", "");
        // The image is fetched without that limit.
        env.skua(&[&RUN[..], &[&image, "--", "exit", "0"]].concat())
            .success();
        let skua = run(&env, &image, &["--", "flood", &count]);
        let line = format!("ulimit -f 8; \"$@\" > {}", path.display());
        let run = by_shell(&env, &line, &skua);
        run.fails(&[
            "cannot pass on all that apps wrote to standard output",
            "File too large",
        ]);
    }
}

/// The keeper finds both at once, the end and what was written last, as when the machine is busy.
#[test]
fn what_cannot_be_written_to_one_place_keeps_nothing_from_another() {
    let Ok(busybox) = fs::read("/bin/busybox") else {
        let test = "what_cannot_be_written_to_one_place_keeps_nothing_from_another";
        return functional::skip(test, "no /bin/busybox");
    };
    let image = Image::new()
        .layer(Layer::new().file("bin/busybox", 0o755, busybox))
        .entrypoint(&["/bin/busybox", "sh", "-c"])
        .build();
    let app = "busybox head -c 100000 /dev/zero; busybox sleep 2; echo last >&2";
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&image);
        env.skua(&[&RUN[..], &[&image, "--", "true"]].concat())
            .success();
        let (output, error) = (env.write("out", ""), env.write("err", ""));
        let skua = run(&env, &image, &["--", app]);
        let mut shell = env.program("sh");
        let line = "ulimit -f 8; out=$1 err=$2; shift 2; exec \"$@\" > $out 2> $err";
        shell.args(["-c", line, "sh"]).args([&output, &error]);
        shell.arg(skua.get_program()).args(skua.get_args());
        let pod = Background::start(shell);
        eventually("the limit is met", || {
            fs::metadata(&output).is_ok_and(|found| found.len() >= 4096)
        });
        pod.signal(Signal::SIGSTOP);
        std::thread::sleep(Duration::from_secs(4));
        pod.signal(Signal::SIGCONT);
        pod.wait().exits(254);
        let said = fs::read_to_string(&error).expect("the file");
        assert!(said.starts_with("last\n"), "{user:?}: {said}");
    }
}

/// What nobody reads ends the app, as any program in a pipeline, and is nobody's error.
#[test]
fn an_app_whose_output_nobody_reads_gets_a_broken_pipe() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut skua = run(&env, &image, &["--", "flood", "1000000000000"]);
        skua.stdin(Stdio::null()).stdout(OwnedFd::from(theirs));
        skua.stderr(
            File::options()
                .write(true)
                .open("/dev/null")
                .expect("/dev/null"),
        );
        let mut child = skua.spawn().expect("skua starts");
        drop(skua);
        ours.read_exact(&mut [0; 1000]).expect("the first bytes");
        drop(ours);
        let status = child.wait().expect("its end");
        assert!(!status.success(), "{user:?}: {status}");
        assert_ne!(status.code(), Some(254), "{user:?}: {status}");
    }
}

/// Reads slowly, as a journal that is busy, until `child` ends; whether it does.
fn ends_although_read_slowly(child: &mut Child, mut from: UnixStream) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(20) {
        if child.try_wait().expect("its end").is_some() {
            return true;
        }
        let _ = from.read(&mut [0; 4096]).expect("some of it");
        sleep(Duration::from_millis(1));
    }
    let _ = child.kill();
    child.wait().is_err()
}

/// What it has started is the pod's, and may have its standard output for as long as that lives.
#[test]
fn enter_ends_with_its_program_though_others_write_on() {
    for user in User::all() {
        let env = Env::new(user);
        let image = env.layout(&Image::inspect().build());
        let mut pod = env.spawn(&[&RUN[..], &["--name=p", &image, "--", "sleep", "60"]].concat());
        pod.prints("ready");
        let enter = ["enter", "p", "--", "/inspect", "haunt"];
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut skua = env.command(&enter);
        skua.stdin(Stdio::null()).stdout(OwnedFd::from(theirs));
        let mut child = skua.spawn().expect("skua starts");
        drop(skua);
        assert!(ends_although_read_slowly(&mut child, ours), "{user:?}");
        pod.signal(nix::sys::signal::Signal::SIGTERM);
        pod.wait();
    }
}
