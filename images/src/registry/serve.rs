//! The registry worker's life once it is confined: take the job, then answer requests until the coordinator goes.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::thread;

use super::blob::Transfer;
use super::{Registry, RegistryError};
use crate::fetch::protocol::{Answer, Get, RegistryJob};
use crate::wire::{Channel, WireError, error_line};

const MAX_CERTIFICATES: u64 = 8 * 1024 * 1024;

/// Serves one repository. Requests are answered side by side, each on its own socket.
///
/// # Errors
/// When the conversation with the coordinator breaks; what goes wrong with the registry is an answer.
pub fn serve(channel: &Channel) -> Result<(), WireError> {
    let (job, descriptors): (RegistryJob, _) = channel.receive()?;
    let roots = descriptors.into_iter().next().map(read_certificates);
    let registry = Registry::new(job, roots);
    thread::scope(|scope| {
        loop {
            let (get, descriptors) = match channel.receive::<Get>() {
                Ok(request) => request,
                Err(WireError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            };
            let registry = &registry;
            scope.spawn(move || answer(registry, get, descriptors));
        }
    })
}

/// The PEM text of a file; what cannot be read has no certificates in it, and that is said when they are needed.
fn read_certificates(file: OwnedFd) -> Vec<u8> {
    let mut text = Vec::new();
    match File::from(file)
        .take(MAX_CERTIFICATES)
        .read_to_end(&mut text)
    {
        Ok(_) => text,
        Err(_) => Vec::new(),
    }
}

/// Answers one request. A coordinator that does not listen any more needs no answer, so failed sends are ignored.
fn answer(registry: &Result<Registry, RegistryError>, get: Get, descriptors: Vec<OwnedFd>) {
    let mut descriptors = descriptors.into_iter();
    let (Some(sink), Some(answers)) = (descriptors.next(), descriptors.next()) else {
        return;
    };
    let kept = descriptors.next().map(File::from);
    let answers = Channel::from(answers);
    let report = |answer: Answer| {
        let _ = answers.send(&answer, &[]);
    };
    let outcome = match registry {
        Ok(registry) => take(registry, get, File::from(sink), kept, &report),
        Err(error) => Ok(Answer::Failed(error_line(error))),
    };
    report(match outcome {
        Ok(answer) => answer,
        Err(RegistryError::Sink(_)) => Answer::ReceiverGone,
        Err(error) => Answer::Failed(error_line(&error)),
    });
}

fn take(
    registry: &Registry,
    get: Get,
    mut sink: File,
    kept: Option<File>,
    report: &dyn Fn(Answer),
) -> Result<Answer, RegistryError> {
    match get {
        Get::Manifest { name, etag, limit } => {
            let name = name.as_deref().unwrap_or("latest");
            registry.manifest(name, etag.as_deref(), limit, &mut sink)
        }
        Get::Referrers { digest, limit } => registry.referrers(&digest, limit, &mut sink),
        Get::Blob { digest, size, etag } => {
            let transfer = Transfer {
                digest,
                size,
                etag,
                sink,
                kept,
                report,
            };
            transfer.run(registry)?;
            Ok(Answer::Done {
                media_type: None,
                etag: None,
            })
        }
    }
}
