//! What a registry answers: `/v2/`, manifests, blobs, tags, tokens.

use std::io::BufReader;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::http::{Incoming, Response};
use super::{Action, Content, INDEX, Request, Shared, auth, fault, index_of};
use crate::sha256;

/// One connection, to its end.
pub(super) fn connection(shared: &Shared, stream: TcpStream, address: SocketAddr) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let Ok(mut writer) = stream.try_clone() else {
        return;
    };
    let mut reader = BufReader::new(stream);
    while let Some(request) = Incoming::read(&mut reader) {
        if shared.has_ended() {
            break;
        }
        let (response, action) = answer(&mut shared.content(), &request, address);
        let head_only = request.method == "HEAD" || response.status == 304;
        let whole = matches!(action, Some(Action::Status(..) | Action::Redirect(_)));
        let alive = match action {
            Some(action) if whole || !head_only => {
                fault::send(shared, &mut writer, &request.path, response, &action)
            }
            _ => response.write(&mut writer, head_only).is_ok(),
        };
        if !alive {
            break;
        }
    }
    let _ = writer.shutdown(std::net::Shutdown::Both);
}

/// Decides the answer and writes the log.
fn answer(
    content: &mut Content,
    request: &Incoming,
    address: SocketAddr,
) -> (Response, Option<Action>) {
    let action = next_fault(content, &request.path);
    let response = route(content, request, address, action.as_ref());
    let status = match &action {
        Some(Action::Status(status, _)) => *status,
        Some(Action::Redirect(_)) => 307,
        _ => response.status,
    };
    content.log.push(Request {
        method: request.method.clone(),
        path: request.path.clone(),
        headers: request.headers.clone(),
        status,
    });
    (response, action)
}

fn next_fault(content: &mut Content, path: &str) -> Option<Action> {
    let fault = content
        .faults
        .iter_mut()
        .find(|f| f.times > 0 && path.contains(&f.path))?;
    if fault.times != u32::MAX {
        fault.times -= 1;
    }
    Some(fault.action.clone())
}

fn route(
    content: &mut Content,
    request: &Incoming,
    address: SocketAddr,
    action: Option<&Action>,
) -> Response {
    let path = request.path.split('?').next().unwrap_or_default();
    if path == "/token" {
        return auth::token(content, request);
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return Response::error(404, "NAME_UNKNOWN");
    };
    let parts = ["/manifests/", "/blobs/", "/tags/", "/referrers/"]
        .into_iter()
        .find_map(|kind| rest.split_once(kind).map(|(r, what)| (kind, r, what)));
    if let Some(refusal) = auth::check(content, request, parts.map(|(_, r, _)| r), address) {
        return refusal;
    }
    match parts {
        None if rest.is_empty() => Response::new(200).body(b"{}".to_vec()),
        Some(("/manifests/", repository, reference)) => {
            manifest(content, request, repository, reference, action)
        }
        Some(("/referrers/", _, subject)) => match content.referrers.get(subject) {
            Some(list) => Response::new(200)
                .with("Content-Type", INDEX)
                .body(index_of(list)),
            None => Response::error(404, "NAME_UNKNOWN"),
        },
        Some(("/blobs/", _, digest)) => blob(content, request, digest, action),
        _ => Response::error(404, "NAME_UNKNOWN"),
    }
}

fn manifest(
    content: &Content,
    request: &Incoming,
    repository: &str,
    reference: &str,
    action: Option<&Action>,
) -> Response {
    let key = (repository.to_owned(), reference.to_owned());
    let Some((media_type, bytes)) = content.manifests.get(&key) else {
        return Response::error(404, "MANIFEST_UNKNOWN");
    };
    let digest = sha256(bytes);
    let tag = format!("\"{digest}\"");
    let compares = !matches!(action, Some(Action::Version(_)));
    if compares && request.header("if-none-match") == Some(tag.as_str()) {
        return Response::new(304).with("ETag", tag);
    }
    Response::new(200)
        .with("Content-Type", media_type)
        .with("Docker-Content-Digest", digest)
        .with("ETag", tag)
        .body(bytes.clone())
}

fn blob(content: &Content, request: &Incoming, digest: &str, action: Option<&Action>) -> Response {
    let Some(bytes) = content.blobs.get(digest) else {
        return Response::error(404, "BLOB_UNKNOWN");
    };
    let tag = format!("\"{digest}\"");
    let answer = Response::new(200)
        .with("Content-Type", "application/octet-stream")
        .with("Docker-Content-Digest", digest)
        .with("ETag", tag.clone())
        .with("Accept-Ranges", "bytes");
    let same = request.header("if-range").is_none_or(|v| v == tag);
    let range = request
        .header("range")
        .and_then(|v| v.strip_prefix("bytes="));
    match range {
        Some(range) if same && !matches!(action, Some(Action::IgnoreRange)) => {
            partial(answer, bytes, range, action)
        }
        _ => answer.body(bytes.clone()),
    }
}

fn partial(answer: Response, bytes: &[u8], range: &str, action: Option<&Action>) -> Response {
    let (first, last) = range.split_once('-').unwrap_or((range, ""));
    let last = last
        .parse()
        .unwrap_or(usize::MAX)
        .min(bytes.len().saturating_sub(1));
    let Some(first) = first.parse::<usize>().ok().filter(|f| *f <= last) else {
        return Response::new(416).with("Content-Range", format!("bytes */{}", bytes.len()));
    };
    let mut answer = answer;
    answer.status = 206;
    let body = if matches!(action, Some(Action::LieAboutRange)) {
        bytes[..=last - first].to_vec()
    } else {
        bytes[first..=last].to_vec()
    };
    answer
        .with(
            "Content-Range",
            format!("bytes {first}-{last}/{}", bytes.len()),
        )
        .body(body)
}
