//! The coordinator's view of a source worker: documents and blobs, whole or as a stream into a pipe.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags};

use super::error::Told;
use super::places::{Places, Served};
use super::protocol::{Answer, Get, Request};
use super::workers::{Lost, Worker};
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
    places: Places,
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
        let mut places = Places::default();
        let (kind, worker) = match name {
            ImageName::Registry(reference) => {
                let (worker, names) = registry::start(fetcher, reference)?;
                places = Places::new(names);
                (REGISTRY, worker)
            }
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
            places,
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
        self.document(what, &get, limit, &mut self.places.ask())
    }

    /// The manifest or index with this digest.
    pub(super) fn manifest_of(
        &self,
        what: &str,
        digest: &Digest,
        limit: u64,
    ) -> Result<Reply, FetchError> {
        let get = Get::Manifest {
            name: Some(digest.to_string()),
            etag: None,
            limit,
        };
        self.right(what, &get, limit, |document| {
            self.check(what, document, digest)
        })
    }

    /// The index of manifests that refer to `digest`.
    pub(super) fn referrers(
        &self,
        what: &str,
        digest: Digest,
        limit: u64,
    ) -> Result<Reply, FetchError> {
        let get = Get::Referrers { digest, limit };
        self.document(what, &get, limit, &mut self.places.ask())
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
        let reply = self.right(what, &get, size, |document| {
            self.check(what, document, &digest)?;
            self.check_size(what, document, size)
        })?;
        match reply {
            Reply::Document(document) => Ok(document.bytes),
            Reply::NotFound(source) => Err(self.not_found(what, source)),
            Reply::NotModified => Err(FetchError::OutOfTurn(self.kind)),
        }
    }

    /// A document that `check` finds right, of one place after the other.
    fn right(
        &self,
        what: &str,
        get: &Get,
        limit: u64,
        check: impl Fn(&Document) -> Result<(), FetchError>,
    ) -> Result<Reply, FetchError> {
        loop {
            let mut served = self.places.ask();
            let reply = self.document(what, get, limit, &mut served)?;
            match &reply {
                Reply::Document(document) => match check(document) {
                    Ok(()) => return Ok(reply),
                    Err(error) => self.blame(what, error, &served)?,
                },
                Reply::NotFound(_) | Reply::NotModified => return Ok(reply),
            }
        }
    }

    /// For a new request.
    pub(super) fn ask(&self) -> Served {
        self.places.ask()
    }

    /// What was served is wrong, as `error` says. Fails when there is no other place to ask for `what`.
    pub(super) fn blame(
        &self,
        what: &str,
        error: FetchError,
        served: &Served,
    ) -> Result<(), FetchError> {
        let wrong = format!("{what}: {}", error.wrong_bytes());
        match self.places.blame(served, &wrong) {
            Some(blamed) => {
                let (name, blamed) = (&self.name, blamed.join(", "));
                log::warn!(
                    "{name}: {}; the next place is asked",
                    Told::new(&format!("{blamed} serves wrong bytes: {wrong}"))
                );
                Ok(())
            }
            None if self.places.have_lied() => Err(self.failed(what, "")),
            None => Err(error),
        }
    }

    /// Fails unless `document` has this size.
    pub(super) fn check_size(
        &self,
        what: &str,
        document: &Document,
        size: u64,
    ) -> Result<(), FetchError> {
        if document.bytes.len() as u64 == size {
            return Ok(());
        }
        Err(FetchError::Size {
            what: what.to_owned(),
            name: self.name.clone(),
            size,
        })
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

    fn document(
        &self,
        what: &str,
        get: &Get,
        limit: u64,
        served: &mut Served,
    ) -> Result<Reply, FetchError> {
        let (read, write) = io::pipe().map_err(FetchError::Pipe)?;
        let answers = self.start(what, get, served, write.as_fd(), None)?;
        drop(write);
        let mut bytes = Vec::new();
        read.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(FetchError::Pipe)?;
        if bytes.len() as u64 > limit {
            return Err(self.too_large(what, limit));
        }
        loop {
            match answers.next().map_err(|error| self.lost(what, error))? {
                Answer::Started { .. } | Answer::Progress(_) => {}
                Answer::PassedOver(said) => self.passed_over(&said),
                Answer::From(place) => served.from(place),
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

    /// Asks for `what` into `sink`; those of `kept` come first, and it gets the others.
    pub(super) fn start(
        &self,
        what: &str,
        get: &Get,
        served: &Served,
        sink: BorrowedFd<'_>,
        kept: Option<BorrowedFd<'_>>,
    ) -> Result<Answers, FetchError> {
        let (ours, theirs) = Channel::pair().map_err(FetchError::Pipe)?;
        let request = Request {
            get: get.clone(),
            avoid: served.avoided.clone(),
        };
        let descriptors: Vec<_> = [sink, theirs.as_fd()].into_iter().chain(kept).collect();
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = |lost| FetchError::worker(self.fetching(what), lost);
        let Some(worker) = worker.as_ref() else {
            return Err(lost(Lost::stopped(self.kind)));
        };
        let sent = worker.channel.send(&request, &descriptors);
        sent.map_err(|error| lost(worker.lost(self.kind, error)))?;
        Ok(Answers(ours))
    }

    fn fetching(&self, what: &str) -> String {
        format!("fetch {what} of {}", self.name)
    }

    /// The worker does not answer for `what` as it should.
    pub(super) fn lost(&self, what: &str, error: WireError) -> FetchError {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = match worker.as_ref() {
            Some(worker) => worker.lost(self.kind, error),
            None => Lost::stopped(self.kind),
        };
        FetchError::worker(self.fetching(what), lost)
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
            source: Told::new(&self.places.with_liars(said)),
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
pub(super) struct Answers(Channel);

impl Answers {
    /// Waits for an answer, or for a message or the end of `other`. `true`: there is an answer.
    pub(super) fn come_before(&self, other: &Channel) -> Result<bool, FetchError> {
        let mut ends = [
            PollFd::new(&self.0, PollFlags::IN),
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

    pub(super) fn next(&self) -> Result<Answer, WireError> {
        Ok(self.0.receive()?.0)
    }
}
