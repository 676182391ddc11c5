//! Sockets that a service manager gives: on the host a launcher that makes some and gives them, in a pod what became of them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, accept, getsockname, send, socket,
};
use serde_json::json;

use crate::{Answer, Reply, number, sys, word};

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    Some(match question {
        "activate" => activate(words),
        "accept" => accept_one(words),
        "answer" => answer_one(words),
        "sockets" => sockets(),
        _ => return None,
    })
}

/// `activate SPEC… -- PROGRAM ARG…`: executes the program with these descriptors from 3 on. A SPEC is `KIND:NAME:PATH`;
/// `set:VARIABLE:VALUE` changes what is said about them.
fn activate(words: &[&str]) -> Answer {
    let at = words.iter().position(|word| *word == "--");
    let at = at.ok_or("-- is missing")?;
    let (mut opened, mut names, mut variables) = (Vec::new(), Vec::new(), Vec::new());
    for spec in &words[..at] {
        let mut parts = spec.splitn(3, ':');
        let (kind, name) = (parts.next().unwrap_or(""), parts.next().ok_or(*spec)?);
        let path = parts.next().unwrap_or("");
        if kind == "set" {
            variables.push((name, path));
        } else {
            opened.push(open(kind, path).map_err(|e| format!("{spec}: {e}"))?);
            names.push(name);
        }
    }
    // Through higher numbers, so that none is overwritten before it is placed.
    let lift = |from: &OwnedFd| sys::duplicate(from.as_raw_fd(), 100);
    let lifted: Result<Vec<_>, _> = opened.iter().map(lift).collect();
    for (from, to) in lifted.map_err(|e| e.to_string())?.iter().zip(3..) {
        sys::place(*from, to).map_err(|e| e.to_string())?;
    }
    let (program, arguments) = words[at + 1..].split_first().ok_or("no program")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LISTEN_PID", std::process::id().to_string())
        .env("LISTEN_FDS", opened.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"));
    for (variable, value) in variables {
        match value {
            "" => command.env_remove(variable),
            value => command.env(variable, value),
        };
    }
    Err(command.exec().to_string())
}

fn open(kind: &str, path: &str) -> std::io::Result<OwnedFd> {
    Ok(match kind {
        "unix" => UnixListener::bind(path)?.into(),
        "tcp" => TcpListener::bind(path)?.into(),
        // A connection that a manager has accepted (`Accept=yes`).
        "connection" => UnixStream::connect(path)?.into(),
        "fifo" => {
            let mode = nix::sys::stat::Mode::from_bits_truncate(0o600);
            nix::unistd::mkfifo(path, mode)?;
            OpenOptions::new().read(true).write(true).open(path)?.into()
        }
        "path" => {
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_PATH);
            options.open(path)?.into()
        }
        "netlink" => {
            let family = AddressFamily::Netlink;
            socket(family, SockType::Raw, SockFlag::empty(), None)?
        }
        _ => File::open(path)?.into(),
    })
}

/// `accept DESCRIPTOR TEXT`: says `ready`, answers one connection to that socket with the text.
fn accept_one(words: &[&str]) -> Answer {
    let socket = number(words, 0)? as i32;
    println!("ready");
    let _ = std::io::stdout().flush();
    let connection = accept(socket).map_err(|e| e.to_string())?;
    let text = word(words, 1)?.as_bytes();
    send(connection, text, MsgFlags::empty()).map_err(|e| e.to_string())?;
    Ok(Reply::Exit(0))
}

/// `answer DESCRIPTOR TEXT`: the text to whoever is at the other end of that socket.
fn answer_one(words: &[&str]) -> Answer {
    let text = word(words, 1)?.as_bytes();
    send(number(words, 0)? as i32, text, MsgFlags::empty()).map_err(|e| e.to_string())?;
    Ok(Reply::Exit(0))
}

/// `sockets`: the paths of Unix sockets from descriptor 3 on, as many as there are.
fn sockets() -> Answer {
    let path = |number| {
        let address = getsockname::<UnixAddr>(number).ok()?;
        Some(address.path()?.display().to_string())
    };
    let paths: Vec<_> = (3..).map_while(path).collect();
    Ok(Reply::Json(json!(paths)))
}
