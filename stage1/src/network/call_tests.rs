//! Plugins that misbehave, as shell scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use nix::sys::signal::SigSet;

use super::*;

/// A directory for one test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("skua-cni-call-{}-{test}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn plugin(&self, script: &str) -> PathBuf {
        let path = self.0.join("plugin");
        // Written by another process: a descriptor of ours that another test's fork holds open would make it "busy".
        let status = Command::new("/bin/sh")
            .args([
                "-c",
                "printf '%s' \"$1\" > \"$2\"",
                "sh",
                &format!("#!/bin/sh\n{script}\n"),
            ])
            .arg(&path)
            .status();
        assert!(status.unwrap().success());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(program: &Path, input: &[u8], limit: Duration) -> Result<Answer, NetworkError> {
    Call {
        program,
        command: "ADD",
        environment: &[
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("CNI_X", "1".to_owned()),
        ],
        input,
        limit,
        most: MAX_ANSWER,
        interrupt: None,
    }
    .run()
}

const MAX_ANSWER: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_plugin_gets_its_input_its_environment_and_nothing_else() {
    let scratch = Scratch::new("clean");
    let held = File::open("/dev/null").unwrap();
    fcntl(&held, FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let plugin = scratch
        .plugin("cat; pwd; env | sort; ls /proc/self/fd | tr '\\n' ' '; echo oops >&2; exit 3");
    let answer = run(&plugin, b"{\"a\":1}\n", LONG).unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    // ls has one descriptor more, that of the directory it lists.
    assert_eq!(
        text,
        "{\"a\":1}\n/\nCNI_X=1\nPATH=/usr/bin:/bin\nPWD=/\n0 1 2 3 "
    );
    assert_eq!(
        (answer.success, answer.stderr.as_slice()),
        (false, &b"oops\n"[..])
    );
}

#[test]
fn a_plugin_has_no_signal_blocked_or_ignored() {
    let scratch = Scratch::new("signals");
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTERM);
    blocked.thread_block().unwrap();
    let plugin = scratch.plugin("grep -E 'Sig(Blk|Ign)' /proc/self/status");
    let answer = run(&plugin, b"", LONG).unwrap();
    blocked.thread_unblock().unwrap();
    let text = String::from_utf8(answer.stdout).unwrap();
    let masks = text
        .split_ascii_whitespace()
        .filter_map(|word| u64::from_str_radix(word, 16).ok());
    // Up to 31: the C library keeps the next two for itself.
    let masks: Vec<_> = masks.map(|mask| mask & 0x7fff_ffff).collect();
    assert_eq!(masks, [0, 0], "{text}");
}

#[test]
fn a_large_input_does_not_have_to_be_read() {
    let scratch = Scratch::new("unread");
    let answer = run(&scratch.plugin("echo done"), &vec![b' '; 1 << 20], LONG).unwrap();
    assert_eq!(answer.stdout, b"done\n");
}

#[test]
fn a_plugin_that_hangs_is_killed_with_its_children() {
    let scratch = Scratch::new("hangs");
    let marker = scratch.0.join("pids");
    let plugin = scratch.plugin(&format!(
        "sleep 1000 & echo $$ $! > {}; wait",
        marker.display()
    ));
    let began = Instant::now();
    let ended = run(&plugin, b"", Duration::from_secs(1));
    assert!(matches!(ended, Err(NetworkError::TimedOut(_, "ADD", 1))));
    assert!(began.elapsed() < Duration::from_secs(10));
    for pid in fs::read_to_string(marker).unwrap().split_ascii_whitespace() {
        assert!(is_gone(pid), "process {pid} is alive");
    }
}

#[test]
fn a_child_that_holds_the_output_open_is_not_waited_for() {
    let scratch = Scratch::new("holds");
    let marker = scratch.0.join("pid");
    let plugin = scratch.plugin(&format!(
        "sleep 1000 & echo $! > {}; echo '{{}}'",
        marker.display()
    ));
    let began = Instant::now();
    let answer = run(&plugin, b"", LONG).unwrap();
    assert!(answer.success && answer.stdout == b"{}\n");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(is_gone(fs::read_to_string(marker).unwrap().trim()));
}

#[test]
fn an_endless_answer_is_cut_off_and_endless_noise_is_forgotten() {
    let scratch = Scratch::new("endless");
    let ended = run(&scratch.plugin("cat /dev/zero"), b"", LONG);
    assert!(matches!(
        ended,
        Err(NetworkError::TooMuch(_, "ADD", MAX_ANSWER))
    ));
    let plugin = scratch.plugin("head -c 3000000 /dev/zero >&2; echo ok");
    let answer = run(&plugin, b"", LONG).unwrap();
    assert_eq!(answer.stdout, b"ok\n");
    assert_eq!(answer.stderr.len(), KEPT_OF_STDERR);
    let plugin = scratch.plugin(&format!("head -c {MAX_ANSWER} /dev/zero"));
    assert_eq!(run(&plugin, b"", LONG).unwrap().stdout.len(), MAX_ANSWER);
}

#[test]
fn a_pod_that_is_to_stop_does_not_wait_for_a_plugin() {
    let scratch = Scratch::new("stops");
    let plugin = scratch.plugin("sleep 1000");
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    let call = Call {
        program: &plugin,
        command: "ADD",
        environment: &[("PATH", "/usr/bin:/bin".to_owned())],
        input: b"",
        limit: LONG,
        most: MAX_ANSWER,
        interrupt: Some(reader.as_fd()),
    };
    assert!(matches!(
        call.run(),
        Err(NetworkError::Interrupted(_, "ADD"))
    ));
}

#[test]
fn what_cannot_be_executed_is_named() {
    let error = run(Path::new("/nonexistent/plugin"), b"", LONG)
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "cannot start plugin /nonexistent/plugin");
}

/// A killed process may be a zombie for a moment, until the one that adopted it has waited for it.
fn is_gone(pid: &str) -> bool {
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    (0..100).any(|_| {
        let gone = state()
            .rsplit(") ")
            .next()
            .is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'));
        if !gone {
            std::thread::sleep(Duration::from_millis(20));
        }
        gone
    })
}
