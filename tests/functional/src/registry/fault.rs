//! What goes wrong on purpose.

use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::Shared;
use super::http::Response;

/// A fault: for the next `times` requests whose path contains `path`.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Part of the path: `/manifests/1`, `/blobs/`, a digest.
    pub path: String,
    /// How often; `u32::MAX` is for ever.
    pub times: u32,
    /// What.
    pub action: Action,
}

impl Fault {
    /// Every time.
    #[must_use]
    pub fn always(path: &str, action: Action) -> Self {
        Self::times(u32::MAX, path, action)
    }

    /// The next `times` times.
    #[must_use]
    pub fn times(times: u32, path: &str, action: Action) -> Self {
        Self {
            path: path.to_owned(),
            times,
            action,
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Action {
    /// Another status and these header fields, such as `Retry-After`, without a body.
    Status(u16, Vec<(String, String)>),
    /// So many bytes of the body, then nothing while the registry lives.
    Stall(usize),
    /// So many bytes of the body, then the end, though more were promised.
    Truncate(usize),
    /// So many bytes of the body, then a reset of the connection.
    Reset(usize),
    /// So many bytes at a time, with a pause of this length between.
    Trickle(usize, Duration),
    /// 307 to the same path below this address, `http://127.0.0.1:1`.
    Redirect(String),
    /// Header field `Docker-Content-Digest` with this value.
    DigestHeader(String),
    /// Header field `Content-Type` with this value.
    ContentType(String),
    /// One bit of the body's byte at this position is flipped.
    FlipBit(usize),
    /// The body is followed by these bytes, and the length says so.
    Append(Vec<u8>),
    /// 200 with the whole body, whatever range was asked for.
    IgnoreRange,
    /// 206, but with the beginning of the body instead of the range asked for.
    LieAboutRange,
    /// Header field `Content-Range` with this value, if there is one.
    ContentRange(String),
    /// Header field `ETag` with this value, and no comparison with what the client knows; empty: without the field.
    Version(String),
}

/// The answer as changed by `action`, sent. `false`: the connection is over.
pub(super) fn send(
    shared: &Shared,
    stream: &mut TcpStream,
    path: &str,
    response: Response,
    action: &Action,
) -> bool {
    let all = usize::MAX;
    match action {
        Action::Status(status, fields) => {
            let mut answer = Response::new(*status);
            for (name, value) in fields {
                answer = answer.with(name, value);
            }
            answer.write(stream, false).is_ok()
        }
        Action::Redirect(base) => Response::new(307)
            .with("Location", format!("{base}{path}"))
            .write(stream, false)
            .is_ok(),
        Action::Stall(after) => {
            partly(stream, &response, *after, all, Duration::ZERO);
            while !shared.has_ended() {
                thread::sleep(Duration::from_millis(20));
            }
            false
        }
        Action::Truncate(after) => {
            partly(stream, &response, *after, all, Duration::ZERO);
            false
        }
        Action::Reset(after) => {
            partly(stream, &response, *after, all, Duration::ZERO);
            let at_once = libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            let _ = setsockopt(stream, sockopt::Linger, &at_once);
            false
        }
        Action::Trickle(count, pause) => partly(stream, &response, all, *count, *pause),
        Action::DigestHeader(_)
        | Action::ContentType(_)
        | Action::FlipBit(_)
        | Action::Append(_)
        | Action::ContentRange(_)
        | Action::Version(_) => changed(response, action).write(stream, false).is_ok(),
        // These two changed what was looked up, see `serve`.
        Action::IgnoreRange | Action::LieAboutRange => response.write(stream, false).is_ok(),
    }
}

/// The whole answer, with something in it that is wrong.
fn changed(mut response: Response, action: &Action) -> Response {
    match action {
        Action::DigestHeader(value) => response.with("Docker-Content-Digest", value),
        Action::ContentType(value) => response.with("Content-Type", value),
        Action::ContentRange(value) if response.status == 206 => {
            response.with("Content-Range", value)
        }
        Action::Version(value) if value.is_empty() => {
            response.headers.retain(|(name, _)| name != "ETag");
            response
        }
        Action::Version(value) => response.with("ETag", value),
        Action::FlipBit(at) => {
            if let Some(byte) = response.body.get_mut(*at) {
                *byte ^= 1;
            }
            response
        }
        Action::Append(bytes) => {
            response.body.extend(bytes);
            response
        }
        _ => response,
    }
}

/// The head, and the first `limit` bytes of the body, `step` at a time.
fn partly(
    stream: &mut TcpStream,
    response: &Response,
    limit: usize,
    step: usize,
    pause: Duration,
) -> bool {
    let body = &response.body[..limit.min(response.body.len())];
    if stream.write_all(&response.head()).is_err() {
        return false;
    }
    for chunk in body.chunks(step.max(1)) {
        if stream.write_all(chunk).is_err() {
            return false;
        }
        thread::sleep(pause);
    }
    stream.flush().is_ok()
}
