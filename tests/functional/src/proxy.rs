//! A proxy for `CONNECT`: whatever host is asked for, it leads to one address on this machine.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy; its threads end with the process.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one whose tunnels all lead to `target`, `127.0.0.1:PORT`.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of 127.0.0.1");
        let address = listener.local_addr().expect("its address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, target) = (asked.clone(), target.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, target) = (log.clone(), target.clone());
                thread::spawn(move || tunnel(stream, &target, &log));
            }
        });
        Self { address, asked }
    }

    /// `http://127.0.0.1:PORT`, for `HTTPS_PROXY`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `HOST:PORT` of every tunnel asked for.
    ///
    /// # Panics
    /// Never: no thread panics while it writes that.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic while locked").clone()
    }
}

/// One tunnel, to its end.
fn tunnel(client: TcpStream, target: &str, log: &Mutex<Vec<String>>) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let host = first.strip_prefix("CONNECT ")?.split(' ').next()?;
    log.lock().ok()?.push(host.to_owned());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 || line.trim().is_empty() {
            break;
        }
    }
    let mut client = client;
    let mut server = TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
    let mut to_client = client.try_clone().ok()?;
    let mut from_server = server.try_clone().ok()?;
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut reader, &mut server);
    let _ = server.shutdown(Shutdown::Write);
    Some(())
}
