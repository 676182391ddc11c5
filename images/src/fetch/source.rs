//! The coordinator's view of a source worker: documents and blobs, whole or as a stream into a pipe.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags};

use super::error::Told;
use super::protocol::{Answer, Get};
use super::workers::Worker;
use super::{DocumentLimits, FetchError, Fetcher, local, registry};
use crate::digest::Digest;
use crate::reference::ImageName;
use crate::wire::{Channel, WireError};

pub(super) const REGISTRY: &str = "registry";
pub(super) const LAYOUT: &str = "layout";

/// A running source worker, for one image.
pub(super) struct Source {
    /// The image, for messages.
    pub(super) name: String,
    /// Of its documents.
    pub(super) limits: DocumentLimits,
    kind: &'static str,
    /// Taken away to end all transfers at once.
    worker: Mutex<Option<Worker>>,
}

/// A document as it came.
pub(super) struct Document {
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
    pub(super) media_type: Option<String>,
    pub(super) etag: Option<String>,
}

/// The end of a request for a document.
pub(super) enum Reply {
    Document(Document),
    NotModified,
    NotFound(Told),
}

impl Source {
    /// Starts the worker that has `name`, and gives it its job.
    pub(super) fn open(fetcher: &Fetcher<'_>, name: &ImageName) -> Result<Self, FetchError> {
        let (kind, worker) = match name {
            ImageName::Registry(reference) => (REGISTRY, registry::start(fetcher, reference)?),
            ImageName::Layout { directory, .. } => (LAYOUT, local::layout(fetcher, directory)?),
            ImageName::Archive { format, file, .. } => (
                LAYOUT,
                match name.is_stdin() {
                    true => local::stdin(fetcher, *format)?,
                    false => local::archive(fetcher, *format, file)?,
                },
            ),
        };
        Ok(Self {
            name: name.to_string(),
            limits: fetcher.documents,
            kind,
            worker: Mutex::new(Some(worker)),
        })
    }

    /// A whole manifest or index.
    pub(super) fn manifest(
        &self,
        what: &str,
        name: Option<String>,
        etag: Option<&str>,
        limit: u64,
    ) -> Result<Reply, FetchError> {
        let get = Get::Manifest {
            name,
            etag: etag.map(str::to_owned),
            limit,
        };
        self.document(what, &get, limit)
    }

    /// The index of manifests that refer to `digest`.
    pub(super) fn referrers(
        &self,
        what: &str,
        digest: Digest,
        limit: u64,
    ) -> Result<Reply, FetchError> {
        self.document(what, &Get::Referrers { digest, limit }, limit)
    }

    /// A whole blob, of exactly this digest and size.
    pub(super) fn blob(
        &self,
        what: &str,
        digest: Digest,
        size: u64,
        limit: u64,
    ) -> Result<Vec<u8>, FetchError> {
        if size > limit {
            return Err(self.too_large(what, limit));
        }
        let get = Get::Blob {
            digest,
            size,
            etag: None,
        };
        let document = match self.document(what, &get, size)? {
            Reply::Document(document) => document,
            Reply::NotFound(source) => return Err(self.not_found(what, source)),
            Reply::NotModified => return Err(FetchError::OutOfTurn(self.kind)),
        };
        self.check(what, &document, &digest)?;
        if document.bytes.len() as u64 != size {
            return Err(FetchError::Size {
                what: what.to_owned(),
                name: self.name.clone(),
                size,
            });
        }
        Ok(document.bytes)
    }

    /// Fails unless `document` has the digest it was asked for by.
    pub(super) fn check(
        &self,
        what: &str,
        document: &Document,
        wanted: &Digest,
    ) -> Result<(), FetchError> {
        if document.digest == *wanted {
            return Ok(());
        }
        Err(FetchError::Digest {
            what: what.to_owned(),
            name: self.name.clone(),
            wanted: *wanted,
            found: document.digest,
        })
    }

    fn document(&self, what: &str, get: &Get, limit: u64) -> Result<Reply, FetchError> {
        let (read, write) = io::pipe().map_err(FetchError::Pipe)?;
        let answers = self.start(get, write.as_fd(), None)?;
        drop(write);
        let mut bytes = Vec::new();
        read.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(FetchError::Pipe)?;
        if bytes.len() as u64 > limit {
            return Err(self.too_large(what, limit));
        }
        loop {
            match answers.next()? {
                Answer::Started { .. } | Answer::Progress(_) => {}
                Answer::PassedOver(said) => self.passed_over(&said),
                Answer::Done { media_type, etag } => {
                    return Ok(Reply::Document(Document {
                        digest: Digest::of(&bytes),
                        bytes,
                        media_type,
                        etag,
                    }));
                }
                Answer::NotModified => return Ok(Reply::NotModified),
                Answer::NotFound(said) => return Ok(Reply::NotFound(Told::new(&said))),
                Answer::Failed(said) => return Err(self.failed(what, &said)),
                Answer::ReceiverGone => return Err(FetchError::OutOfTurn(self.kind)),
            }
        }
    }

    /// Asks for bytes into `sink`; those of `kept` come first, and it gets the others.
    pub(super) fn start(
        &self,
        get: &Get,
        sink: BorrowedFd<'_>,
        kept: Option<BorrowedFd<'_>>,
    ) -> Result<Answers, FetchError> {
        let (ours, theirs) = Channel::pair().map_err(FetchError::Pipe)?;
        let descriptors: Vec<_> = [sink, theirs.as_fd()].into_iter().chain(kept).collect();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = |error| FetchError::Worker(self.kind, error);
        let worker = worker.as_ref().ok_or_else(|| lost(WireError::Closed))?;
        worker.channel.send(get, &descriptors).map_err(lost)?;
        Ok(Answers {
            channel: ours,
            kind: self.kind,
        })
    }

    /// Its bytes come over a network and are worth keeping.
    pub(super) fn is_remote(&self) -> bool {
        self.kind == REGISTRY
    }

    /// Ends the worker, and with it every transfer.
    pub(super) fn stop(&self) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        drop(worker.take());
    }

    /// Tells the user about a place that failed, though another may not.
    pub(super) fn passed_over(&self, said: &str) {
        log::warn!(
            "{}: {}; the next place is asked",
            self.name,
            Told::new(said)
        );
    }

    pub(super) fn failed(&self, what: &str, said: &str) -> FetchError {
        FetchError::Get {
            what: what.to_owned(),
            name: self.name.clone(),
            source: Told::new(said),
        }
    }

    pub(super) fn not_found(&self, what: &str, source: Told) -> FetchError {
        FetchError::NotFound {
            what: what.to_owned(),
            name: self.name.clone(),
            source,
        }
    }

    fn too_large(&self, what: &str, limit: u64) -> FetchError {
        FetchError::TooLarge {
            what: what.to_owned(),
            name: self.name.clone(),
            limit,
        }
    }
}

/// The answers to one request.
pub(super) struct Answers {
    channel: Channel,
    kind: &'static str,
}

impl Answers {
    /// Waits for an answer, or for a message or the end of `other`. `true`: there is an answer.
    pub(super) fn come_before(&self, other: &Channel) -> Result<bool, FetchError> {
        let mut ends = [
            PollFd::new(&self.channel, PollFlags::IN),
            PollFd::new(other, PollFlags::IN),
        ];
        loop {
            match rustix::event::poll(&mut ends, None) {
                Ok(_) => return Ok(!ends[0].revents().is_empty()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(FetchError::Pipe(error.into())),
            }
        }
    }

    pub(super) fn next(&self) -> Result<Answer, FetchError> {
        let received = self.channel.receive();
        let (answer, _) = received.map_err(|error| FetchError::Worker(self.kind, error))?;
        Ok(answer)
    }
}
