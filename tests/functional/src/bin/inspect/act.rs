//! Ways to run and to end.

use std::io::{Read, Write};
use std::thread::sleep;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, Signal, raise};
use serde_json::json;

use crate::{Answer, Reply, number, sys, word};

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    Some(match question {
        "exit" => number(words, 0).map(|code| Reply::Exit(code as u8)),
        "raise" => signal(words, 0).and_then(|s| {
            raise(s).map_err(|e| e.to_string())?;
            Ok(Reply::Exit(0))
        }),
        "sleep" => pause(words),
        "trap" => trap(words),
        "ignore" => ignore(words),
        "orphan" => orphan(words),
        "haunt" => haunt(),
        "zombie" => zombie(),
        "cat" => cat(),
        "print" => print(words, &mut std::io::stdout()),
        "complain" => print(words, &mut std::io::stderr()),
        "flood" => flood(words),
        "memory" => memory(words),
        "forks" => forks(words),
        "bomb" => bomb(),
        "all" => all(words),
        _ => return None,
    })
}

/// A signal's name, such as `SIGTERM`.
fn signal(words: &[&str], at: usize) -> Result<Signal, String> {
    let name = word(words, at)?;
    name.parse().map_err(|_| format!("no such signal: {name}"))
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// `sleep SECONDS`: says `ready` first.
fn pause(words: &[&str]) -> Answer {
    let seconds: f64 = word(words, 0)?.parse().map_err(|e| format!("{e}"))?;
    say("ready");
    sleep(Duration::from_secs_f64(seconds));
    Ok(Reply::Exit(0))
}

/// `trap SIGNAL CODE`: says `ready`, waits for the signal, says its name, exits with the code.
fn trap(words: &[&str]) -> Answer {
    let mut set = SigSet::empty();
    set.add(signal(words, 0)?);
    set.thread_block().map_err(|e| e.to_string())?;
    say("ready");
    let got = set.wait().map_err(|e| e.to_string())?;
    say(got.as_str());
    Ok(Reply::Exit(number(words, 1)? as u8))
}

/// `ignore SIGNAL…`: says `ready`, then stays.
fn ignore(words: &[&str]) -> Answer {
    let mut set = SigSet::empty();
    for at in 0..words.len() {
        set.add(signal(words, at)?);
    }
    set.thread_block().map_err(|e| e.to_string())?;
    say("ready");
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// `orphan SECONDS`: leaves a grandchild that lives that long, and exits at once.
fn orphan(words: &[&str]) -> Answer {
    let seconds = number(words, 0)?;
    if sys::fork().map_err(|e| e.to_string())?.is_none() {
        if let Ok(None) = sys::fork() {
            sleep(Duration::from_secs(seconds));
        }
        return Ok(Reply::Exit(0));
    }
    Ok(Reply::Exit(0))
}

/// `haunt`: leaves children that write on to standard output, a pipe with as much room as it can have.
fn haunt() -> Answer {
    let _ = fcntl(std::io::stdout(), FcntlArg::F_SETPIPE_SZ(1 << 20));
    let block = [b'x'; 1 << 16];
    for _ in 0..3 {
        if sys::fork().map_err(|e| e.to_string())?.is_none() {
            while std::io::stdout().write_all(&block).is_ok() {}
            return Ok(Reply::Exit(0));
        }
    }
    sleep(Duration::from_millis(300));
    Ok(Reply::Exit(0))
}

/// `zombie`: says `ready`, with a dead child that it never waits for.
fn zombie() -> Answer {
    if sys::fork().map_err(|e| e.to_string())?.is_none() {
        return Ok(Reply::Exit(0));
    }
    say("ready");
    loop {
        sleep(Duration::from_secs(3600));
    }
}

/// `cat`: standard input to standard output.
fn cat() -> Answer {
    std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).map_err(|e| e.to_string())?;
    Ok(Reply::Exit(0))
}

fn print(words: &[&str], out: &mut dyn Write) -> Answer {
    writeln!(out, "{}", words.join(" ")).map_err(|e| e.to_string())?;
    Ok(Reply::Exit(0))
}

/// `flood BYTES`: so much on standard output.
fn flood(words: &[&str]) -> Answer {
    let mut source = std::io::repeat(b'x').take(number(words, 0)?);
    std::io::copy(&mut source, &mut std::io::stdout()).map_err(|e| e.to_string())?;
    Ok(Reply::Exit(0))
}

/// `memory BYTES`: writes to so much.
fn memory(words: &[&str]) -> Answer {
    let size = usize::try_from(number(words, 0)?).map_err(|e| e.to_string())?;
    let block = vec![0xa5_u8; size];
    Ok(Reply::Json(
        json!({"ok": std::hint::black_box(&block).len() == size}),
    ))
}

/// `forks COUNT`: how many children can be had at once.
fn forks(words: &[&str]) -> Answer {
    let wanted = number(words, 0)?;
    let mut children = Vec::new();
    let mut errno = None;
    for _ in 0..wanted {
        match sys::fork() {
            Ok(Some(pid)) => children.push(nix::unistd::Pid::from_raw(pid)),
            Ok(None) => loop {
                sleep(Duration::from_secs(3600));
            },
            Err(e) => {
                errno = Some(format!("{e:?}"));
                break;
            }
        }
    }
    for child in &children {
        let _ = nix::sys::signal::kill(*child, Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(*child, None);
    }
    Ok(Reply::Json(
        json!({"children": children.len(), "errno": errno}),
    ))
}

/// `bomb`: forks, and so do its children, for ever. Only for pods whose processes are bounded.
fn bomb() -> Answer {
    loop {
        if sys::fork().is_err() {
            sleep(Duration::from_millis(10));
        }
    }
}

/// `all QUESTION…`: several questions without arguments at once, as one object.
fn all(words: &[&str]) -> Answer {
    let mut answers = serde_json::Map::new();
    for question in words {
        match crate::answer(&[question])? {
            Reply::Json(value) => drop(answers.insert((*question).to_owned(), value)),
            Reply::Exit(_) => return Err(format!("{question} has no JSON answer")),
        }
    }
    Ok(Reply::Json(answers.into()))
}
