//! What this process is allowed to do: things that a sandbox forbids are tried for real.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Pid, Uid, setuid};
use serde_json::json;

use crate::{Answer, Reply, number, outcome, sys, word};

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    Some(match question {
        "syscall" => syscall(words),
        "mount" => try_mount(words),
        "unshare" => try_unshare(words),
        "setuid" => {
            number(words, 0).and_then(|id| outcome(setuid(Uid::from_raw(id as libc::uid_t))))
        }
        "kill" => kill(words),
        "queue" => queue(words),
        "own" => own(words),
        "limit" => limit(words),
        "exec" => exec(words),
        "in-session" => in_session(words),
        _ => return None,
    })
}

/// `syscall NUMBER [ARGUMENT…]`: `{"ok": true, "result": n}`.
fn syscall(words: &[&str]) -> Answer {
    let mut arguments = [0_i64; 6];
    for (at, argument) in arguments
        .iter_mut()
        .enumerate()
        .take(words.len().saturating_sub(1))
    {
        *argument = number(words, at + 1)?.cast_signed();
    }
    match sys::syscall(number(words, 0)?.cast_signed(), arguments) {
        Ok(result) => Ok(Reply::Json(json!({"ok": true, "result": result}))),
        Err(errno) => outcome::<()>(Err(errno)),
    }
}

/// `mount TYPE SOURCE TARGET`; type `bind` binds.
fn try_mount(words: &[&str]) -> Answer {
    let (kind, source, target) = (word(words, 0)?, word(words, 1)?, word(words, 2)?);
    let flags = match kind {
        "bind" => MsFlags::MS_BIND,
        "remount-rw" => MsFlags::MS_BIND | MsFlags::MS_REMOUNT,
        _ => MsFlags::empty(),
    };
    outcome(mount(Some(source), target, Some(kind), flags, None::<&str>))
}

/// `unshare user|mount|net|pid|uts|ipc|cgroup`.
fn try_unshare(words: &[&str]) -> Answer {
    let flag = match word(words, 0)? {
        "user" => CloneFlags::CLONE_NEWUSER,
        "mount" => CloneFlags::CLONE_NEWNS,
        "net" => CloneFlags::CLONE_NEWNET,
        "pid" => CloneFlags::CLONE_NEWPID,
        "uts" => CloneFlags::CLONE_NEWUTS,
        "ipc" => CloneFlags::CLONE_NEWIPC,
        "cgroup" => CloneFlags::CLONE_NEWCGROUP,
        other => return Err(format!("no such namespace: {other}")),
    };
    outcome(unshare(flag))
}

/// `kill PID SIGNAL-NUMBER`.
fn kill(words: &[&str]) -> Answer {
    let pid = Pid::from_raw(number(words, 0)? as libc::pid_t);
    let signal = i32::try_from(number(words, 1)?).map_err(|e| e.to_string())?;
    let signal = (signal != 0)
        .then(|| nix::sys::signal::Signal::try_from(signal))
        .transpose()
        .map_err(|e| e.to_string())?;
    outcome(nix::sys::signal::kill(pid, signal))
}

/// `queue PID SIGNAL-NUMBER CODE SENDER`: a signal with a sender of our own making.
fn queue(words: &[&str]) -> Answer {
    let number = |at| number(words, at).map(|found| found as i32);
    outcome(sys::queue_signal(
        number(0)?,
        number(1)?,
        number(2)?,
        number(3)?,
    ))
}

/// `own PID`: the kernel sends SIGIO to that process when a pipe of ours has something to read, and it has.
fn own(words: &[&str]) -> Answer {
    let pid = number(words, 0)? as i32;
    let made = nix::unistd::pipe().and_then(|(reader, writer)| {
        sys::own(&reader, pid)?;
        nix::unistd::write(&writer, b"x")
    });
    outcome(made)
}

/// `limit PID RESOURCE-NUMBER LIMIT`: of that process.
fn limit(words: &[&str]) -> Answer {
    let pid = number(words, 0)? as i32;
    let resource = u32::try_from(number(words, 1)?).map_err(|e| e.to_string())?;
    outcome(sys::limit(pid, resource, number(words, 2)?))
}

/// `exec PROGRAM [ARGUMENT…]`: becomes that program.
fn exec(words: &[&str]) -> Answer {
    use std::os::unix::process::CommandExt;
    let error = std::process::Command::new(word(words, 0)?)
        .args(&words[1..])
        .exec();
    crate::outcome_io::<()>(Err(error))
}

/// `in-session PROGRAM [ARGUMENT…]`: becomes that program, with a new session keyring.
fn in_session(words: &[&str]) -> Answer {
    let join = [i64::from(libc::KEYCTL_JOIN_SESSION_KEYRING), 0, 0, 0, 0, 0];
    match sys::syscall(libc::SYS_keyctl, join) {
        Ok(_) => exec(words),
        Err(errno) => outcome::<()>(Err(errno)),
    }
}
