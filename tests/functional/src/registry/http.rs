//! HTTP/1.1 as far as a registry needs it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A request.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) method: String,
    /// Path and query.
    pub(super) path: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
}

impl Incoming {
    /// The next request of a connection; `None` at its end, or when it makes no sense.
    pub(super) fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let count = stream.take(16384).read_line(&mut line).ok()?;
            if count == 0 || lines.len() > 100 {
                return None;
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut words = lines.first()?.split(' ');
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let headers: HashMap<String, String> = lines[1..]
            .iter()
            .filter_map(|l| l.split_once(':'))
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
            .collect();
        // Asked as a proxy, it gets a whole URL.
        let path = match path.strip_prefix("http://") {
            Some(url) => url.find('/').map(|at| url[at..].to_owned())?,
            None => path,
        };
        let length = headers.get("content-length").and_then(|n| n.parse().ok());
        let mut body = vec![0; length.unwrap_or(0).min(65536)];
        stream.read_exact(&mut body).ok()?;
        Some(Self {
            method,
            path,
            headers,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    pub(super) fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// A registry's error document.
    pub(super) fn error(status: u16, code: &str) -> Self {
        let document = serde_json::json!({"errors": [{"code": code, "message": code}]});
        Self::new(status)
            .with("Content-Type", "application/json")
            .body(document.to_string().into_bytes())
    }

    /// Status line and header fields; the length promised is that of the whole body unless a field says otherwise.
    pub(super) fn head(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Status\r\n", self.status);
        let has_length = self
            .headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
        if !has_length {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    pub(super) fn write(&self, stream: &mut TcpStream, head_only: bool) -> std::io::Result<()> {
        stream.write_all(&self.head())?;
        if !head_only {
            stream.write_all(&self.body)?;
        }
        stream.flush()
    }
}
