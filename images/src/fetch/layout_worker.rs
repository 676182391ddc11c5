//! The layout worker's life: documents and blobs of one image layout or its archive, which a stranger made.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use super::protocol::{Answer, Get, LayoutJob, LayoutKind, Request};
use crate::digest::Digest;
use crate::layout::{Layout, LayoutError};
use crate::wire::{Channel, WireError, error_line};

const CHUNK: usize = 128 * 1024;
const PROGRESS_STEP: u64 = 1 << 20;

/// The descriptor to read from. Nothing has been read of it yet.
#[derive(Debug)]
pub struct Input {
    descriptor: OwnedFd,
    scratch: Option<OwnedFd>,
    kind: LayoutKind,
}

impl Input {
    /// Takes the job from the coordinator.
    ///
    /// # Errors
    /// When the conversation breaks, or no descriptor comes.
    pub fn receive(channel: &Channel) -> Result<Self, WireError> {
        let (job, descriptors): (LayoutJob, _) = channel.receive()?;
        let mut descriptors = descriptors.into_iter();
        Ok(Self {
            descriptor: descriptors.next().ok_or(WireError::Closed)?,
            scratch: descriptors.next(),
            kind: job.kind,
        })
    }

    /// The directory below which files will be opened; an archive is only read.
    #[must_use]
    pub fn directory(&self) -> Option<BorrowedFd<'_>> {
        (self.kind == LayoutKind::Directory).then(|| self.descriptor.as_fd())
    }

    /// Whether there is a file to copy the archive into.
    #[must_use]
    pub fn has_scratch(&self) -> bool {
        self.scratch.is_some()
    }
}

/// Serves one layout until the coordinator goes. Call it in a confined process.
///
/// # Errors
/// When the conversation with the coordinator breaks; what is wrong with the layout is an answer.
pub fn serve(channel: &Channel, input: Input) -> Result<(), WireError> {
    let scratch = input.scratch.map(File::from);
    let layout = match input.kind {
        LayoutKind::Directory => Layout::directory(input.descriptor),
        LayoutKind::OciArchive => Layout::archive(File::from(input.descriptor), scratch),
        LayoutKind::DockerArchive => Layout::docker_archive(File::from(input.descriptor), scratch),
    };
    thread::scope(|scope| {
        loop {
            let (request, descriptors) = match channel.receive::<Request>() {
                Ok(request) => request,
                Err(WireError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            };
            let layout = &layout;
            let serve = move || answer(layout, &request.get, descriptors);
            let started = thread::Builder::new().spawn_scoped(scope, serve);
            started.map_err(WireError::Thread)?;
        }
    })
}

/// Why a request was not served.
enum Failure {
    Layout(LayoutError),
    Read(io::Error),
    ReceiverGone,
}

impl From<LayoutError> for Failure {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

/// Answers one request. A coordinator that does not listen any more needs no answer, so failed sends are ignored.
fn answer(layout: &Result<Layout, LayoutError>, get: &Get, descriptors: Vec<OwnedFd>) {
    let mut descriptors = descriptors.into_iter();
    let (Some(sink), Some(answers)) = (descriptors.next(), descriptors.next()) else {
        return;
    };
    let answers = Channel::from(answers);
    let report = |answer: Answer| {
        let _ = answers.send(&answer, &[]);
    };
    let outcome = match layout {
        Ok(layout) => take(layout, get, File::from(sink), &report),
        Err(error) => Ok(Answer::Failed(error_line(error))),
    };
    report(match outcome {
        Ok(answer) => answer,
        Err(Failure::ReceiverGone) => Answer::ReceiverGone,
        Err(Failure::Read(error)) => Answer::Failed(error_line(&error)),
        Err(Failure::Layout(
            error @ (LayoutError::NoTag { .. } | LayoutError::NoBlob(_) | LayoutError::NoImage),
        )) => Answer::NotFound(error_line(&error)),
        Err(Failure::Layout(error)) => Answer::Failed(error_line(&error)),
    });
}

fn take(
    layout: &Layout,
    get: &Get,
    mut sink: File,
    report: &dyn Fn(Answer),
) -> Result<Answer, Failure> {
    let media_type = match get {
        Get::Manifest { name, limit, .. } => {
            let document = layout.manifest(name.as_deref(), *limit)?;
            let written = sink.write_all(&document.bytes);
            written.map_err(|_| Failure::ReceiverGone)?;
            document.media_type
        }
        Get::Referrers { .. } => {
            return Ok(Answer::NotFound(
                "a layout has no list of referrers".to_owned(),
            ));
        }
        Get::Blob { digest, size, .. } => {
            copy(layout, digest, *size, &mut sink, report)?;
            None
        }
    };
    Ok(Answer::Done {
        media_type,
        etag: None,
    })
}

/// Writes at most one byte more than `size`, so that whoever reads sees a blob that is too long.
fn copy(
    layout: &Layout,
    digest: &Digest,
    size: u64,
    sink: &mut File,
    report: &dyn Fn(Answer),
) -> Result<(), Failure> {
    let mut blob = layout.blob(digest)?.take(size.saturating_add(1));
    let mut buffer = vec![0; CHUNK];
    let (mut at, mut reported) = (0, 0);
    loop {
        let count = blob.read(&mut buffer).map_err(Failure::Read)?;
        if count == 0 {
            return Ok(());
        }
        let written = sink.write_all(&buffer[..count]);
        written.map_err(|_| Failure::ReceiverGone)?;
        at += count as u64;
        if at - reported >= PROGRESS_STEP || at == size {
            reported = at;
            report(Answer::Progress(at));
        }
    }
}
