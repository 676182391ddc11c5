//! The registry worker's life once it is confined: take the job, then answer requests until the coordinator goes.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

use super::blob::Transfer;
use super::endpoints::{Asking, Endpoints};
use super::manifest::Reply;
use super::pace::Pace;
use super::{Registry, RegistryError};
use crate::fetch::protocol::{Answer, Endpoint, Get, RegistryJob, Request};
use crate::wire::{Channel, WireError, error_line};

/// The most bytes of certificates; the coordinator gives no more.
const MAX_PEM: u64 = 64 * 1024 * 1024;

/// Serves one image. Requests are answered side by side, each on its own socket.
///
/// # Errors
/// When the conversation with the coordinator breaks; what goes wrong with the registry is an answer.
pub fn serve(channel: &Channel) -> Result<(), WireError> {
    let (job, _): (RegistryJob, _) = channel.receive()?;
    let places = (0..job.endpoints).map(|_| registry(channel));
    let endpoints = Endpoints::new(places.collect::<Result<_, _>>()?);
    thread::scope(|scope| {
        loop {
            let (request, descriptors) = match channel.receive::<Request>() {
                Ok(request) => request,
                Err(WireError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            };
            let endpoints = &endpoints;
            let serve = move || answer(endpoints, request, descriptors);
            let started = thread::Builder::new().spawn_scoped(scope, serve);
            started.map_err(WireError::Thread)?;
        }
    })
}

/// Takes one place to ask.
fn registry(channel: &Channel) -> Result<Result<Registry, RegistryError>, WireError> {
    let (endpoint, descriptors): (Endpoint, _) = channel.receive()?;
    let mut texts = descriptors.into_iter().map(read_pem);
    let authorities = endpoint.has_authorities.then(|| texts.next()).flatten();
    let identity = endpoint.has_identity.then(|| texts.next()).flatten();
    Ok(Registry::new(
        endpoint,
        authorities.unwrap_or_default(),
        identity,
    ))
}

/// The PEM text of a file; what cannot be read has no certificates in it, and that is said when they are needed.
fn read_pem(file: OwnedFd) -> Vec<u8> {
    let mut text = Vec::new();
    match File::from(file).take(MAX_PEM).read_to_end(&mut text) {
        Ok(_) => text,
        Err(_) => Vec::new(),
    }
}

/// Answers one request. A coordinator that does not listen any more needs no answer, so failed sends are ignored.
fn answer(endpoints: &Endpoints, request: Request, descriptors: Vec<OwnedFd>) {
    let mut descriptors = descriptors.into_iter();
    let (Some(sink), Some(answers)) = (descriptors.next(), descriptors.next()) else {
        return;
    };
    let sink = File::from(sink);
    let kept = descriptors.next().map(File::from);
    let answers = Channel::from(answers);
    let report = |answer: Answer| {
        let _ = answers.send(&answer, &[]);
    };
    // The sink is closed only after that: whoever reads it must not see an end before its reason is known.
    let asking = Asking {
        avoid: &request.avoid,
        report: &report,
    };
    report(match take(endpoints, request.get, &sink, kept, &asking) {
        Ok(answer) => answer,
        Err(RegistryError::Sink(_)) => Answer::ReceiverGone,
        Err(error) => Answer::Failed(error_line(&error)),
    });
}

fn take(
    endpoints: &Endpoints,
    get: Get,
    mut sink: &File,
    kept: Option<File>,
    asking: &Asking<'_>,
) -> Result<Answer, RegistryError> {
    let reply = match get {
        Get::Manifest { name, etag, limit } => {
            let name = name.as_deref().unwrap_or("latest");
            endpoints.manifest(asking, name, etag.as_deref(), limit)?
        }
        Get::Referrers { digest, limit } => endpoints.referrers(asking, &digest, limit)?,
        Get::Blob { digest, size, etag } => {
            let mut transfer = Transfer {
                digest,
                size,
                etag,
                sink,
                kept,
                report: asking.report,
                at: 0,
                place: 0,
                told: None,
                pace: Pace::new(Instant::now()),
            };
            endpoints.blob(asking, &mut transfer)?;
            return Ok(Answer::Done {
                media_type: None,
                etag: None,
            });
        }
    };
    match reply {
        Reply::Found(found) => {
            sink.write_all(&found.bytes).map_err(RegistryError::Sink)?;
            Ok(Answer::Done {
                media_type: found.media_type,
                etag: found.etag,
            })
        }
        Reply::NotModified => Ok(Answer::NotModified),
        Reply::NotFound(said) => Ok(Answer::NotFound(said)),
    }
}
