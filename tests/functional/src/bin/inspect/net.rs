//! The network as this process sees it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use serde_json::json;

use crate::{Answer, Reply, outcome_io, word};

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    Some(match question {
        "interfaces" => interfaces(),
        "listen" => listen(words),
        "connect" => connect(words),
        "abstract" => abstract_socket(words),
        _ => return None,
    })
}

/// Interfaces by name: `{"up": bool, "addresses": [...]}`.
fn interfaces() -> Answer {
    let mut found: BTreeMap<String, (bool, Vec<String>)> = BTreeMap::new();
    for interface in getifaddrs().map_err(|e| e.to_string())? {
        let entry = found.entry(interface.interface_name).or_default();
        entry.0 = interface.flags.contains(InterfaceFlags::IFF_UP);
        let address = interface.address.as_ref();
        if let Some(v4) = address.and_then(|a| a.as_sockaddr_in()) {
            entry.1.push(v4.ip().to_string());
        }
        if let Some(v6) = address.and_then(|a| a.as_sockaddr_in6()) {
            entry.1.push(v6.ip().to_string());
        }
    }
    let found: BTreeMap<_, _> = found
        .into_iter()
        .map(|(name, (up, addresses))| (name, json!({"up": up, "addresses": addresses})))
        .collect();
    Ok(Reply::Json(json!(found)))
}

/// `listen ADDRESS:PORT TEXT`: says `ready`, answers one connection with the text.
fn listen(words: &[&str]) -> Answer {
    let listener = TcpListener::bind(word(words, 0)?).map_err(|e| e.to_string())?;
    println!("ready");
    let (mut stream, _) = listener.accept().map_err(|e| e.to_string())?;
    writeln!(stream, "{}", word(words, 1)?).map_err(|e| e.to_string())?;
    Ok(Reply::Exit(0))
}

/// `connect ADDRESS:PORT`: what is heard there within five seconds; retried for that long.
fn connect(words: &[&str]) -> Answer {
    let mut last = None;
    for _ in 0..50 {
        match TcpStream::connect(word(words, 0)?) {
            Ok(mut stream) => {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let mut heard = String::new();
                let _ = stream.read_to_string(&mut heard);
                return Ok(Reply::Json(json!({"ok": true, "heard": heard.trim()})));
            }
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => last = Some(e),
            Err(e) => return outcome_io::<()>(Err(e)),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    outcome_io::<()>(Err(
        last.unwrap_or_else(|| std::io::Error::from_raw_os_error(libc::EIO))
    ))
}

/// `abstract listen|connect NAME`: the abstract Unix socket of this network namespace.
fn abstract_socket(words: &[&str]) -> Answer {
    let name = word(words, 1)?;
    let address = SocketAddr::from_abstract_name(name).map_err(|e| e.to_string())?;
    match word(words, 0)? {
        "listen" => {
            let listener = UnixListener::bind_addr(&address).map_err(|e| e.to_string())?;
            println!("ready");
            outcome_io(listener.accept())
        }
        _ => outcome_io(UnixStream::connect_addr(&address)),
    }
}
