//! An app that tells how it goes, well or badly.

use std::io::{IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::{Answer, Reply, outcome_io};

/// Where it tells.
const VARIABLE: &str = "NOTIFY_SOCKET";

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    match question {
        "notify" => Some(steps(words)),
        _ => None,
    }
}

/// `notify STEP…`, one after the other:
///
/// | step | does |
/// |---|---|
/// | `send=TEXT` | sends a message; `|` stands for the end of a line |
/// | `size=BYTES` | sends a message `READY=1` with so many bytes behind it |
/// | `many=COUNT=TEXT` | sends it so often |
/// | `every=SECONDS=TEXT` | sends it again and again, without end |
/// | `fd=COUNT=TEXT` | sends it so often with the end of a pipe, and says `closed` when nobody has one any more |
/// | `say=TEXT` | prints it |
/// | `until=SIGNAL` | waits for it |
/// | `hold=SIGNAL` | it does nothing to this process, from the beginning |
/// | `sleep=SECONDS` | |
/// | `at=PATH` | sends to another place from here on |
/// | `replace` | puts a socket of its own where it tells, and says how that went |
fn steps(words: &[&str]) -> Answer {
    let mut set = SigSet::empty();
    for word in words {
        let held = word.strip_prefix("hold=");
        if let Some(name) = held.or_else(|| word.strip_prefix("until=")) {
            set.add(name.parse::<Signal>().map_err(|e| e.to_string())?);
        }
    }
    set.thread_block().map_err(|e| e.to_string())?;
    let mut to = std::env::var(VARIABLE).unwrap_or_default();
    for word in words {
        let (step, argument) = word.split_once('=').unwrap_or((word, ""));
        match step {
            "send" => send(&to, argument.replace('|', "\n").as_bytes())?,
            "size" => {
                let size = argument.parse().map_err(|e| format!("{e}"))?;
                send(&to, &[&b"READY=1\n"[..], &vec![b'x'; size]].concat())?;
            }
            "many" => many(&to, argument)?,
            "every" => return every(&to, argument),
            "fd" => with_descriptors(&to, argument)?,
            "say" => say(argument),
            "until" => drop(set.wait().map_err(|e| e.to_string())?),
            "sleep" => sleep(seconds(argument)?),
            "hold" => {}
            "at" => argument.clone_into(&mut to),
            "replace" => return replace(&to),
            _ => return Err(format!("no such step: {word}")),
        }
    }
    Ok(Reply::Exit(0))
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|e| format!("{text}: {e}"))?;
    Ok(Duration::from_secs_f64(seconds))
}

fn open() -> Result<UnixDatagram, String> {
    UnixDatagram::unbound().map_err(|e| e.to_string())
}

fn send(to: &str, bytes: &[u8]) -> Result<(), String> {
    let sent = open()?.send_to(bytes, to);
    sent.map(drop)
        .map_err(|e| format!("cannot send to {to}: {e}"))
}

fn counted(argument: &str) -> Result<(usize, String), String> {
    let (count, text) = argument.split_once('=').ok_or("a text is missing")?;
    let count = count.parse().map_err(|e| format!("{count}: {e}"))?;
    Ok((count, text.replace('|', "\n")))
}

fn many(to: &str, argument: &str) -> Result<(), String> {
    let ((count, text), start) = (counted(argument)?, Instant::now());
    let socket = open()?;
    for _ in 0..count {
        let sent = socket.send_to(text.as_bytes(), to);
        sent.map_err(|e| format!("cannot send to {to}: {e}"))?;
    }
    say(&format!("sent in {} ms", start.elapsed().as_millis()));
    Ok(())
}

fn every(to: &str, argument: &str) -> Answer {
    let (pause, text) = argument.split_once('=').ok_or("a text is missing")?;
    let (pause, text) = (seconds(pause)?, text.replace('|', "\n"));
    loop {
        send(to, text.as_bytes())?;
        sleep(pause);
    }
}

fn with_descriptors(to: &str, argument: &str) -> Result<(), String> {
    let (count, text) = counted(argument)?;
    let (mut reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
    let (socket, address) = (open()?, UnixAddr::new(to).map_err(|e| e.to_string())?);
    for _ in 0..count {
        let ends = [writer.as_raw_fd(); 16];
        let rights = [ControlMessage::ScmRights(&ends)];
        let data = [IoSlice::new(text.as_bytes())];
        let flags = MsgFlags::empty();
        let sent = sendmsg(socket.as_raw_fd(), &data, &rights, flags, Some(&address));
        sent.map_err(|e| e.to_string())?;
    }
    drop(writer);
    // Its end is that nobody has the other end.
    let length = reader.read(&mut [0]).map_err(|e| e.to_string())?;
    say(if length == 0 { "closed" } else { "written" });
    Ok(())
}

fn replace(to: &str) -> Answer {
    let replaced = std::fs::remove_file(to).and_then(|()| UnixDatagram::bind(to));
    outcome_io(replaced)
}
