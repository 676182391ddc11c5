//! One layer becomes a tree: a source worker writes into a pipe, an unpack worker reads from it, and the coordinator listens
//! to both.
//!
//! The bytes that come may be wrong: kept from an earlier fetch and damaged, or of a place that serves others than were asked
//! for. Then all of it is thrown away and the layer is asked for anew: nothing is ever continued on top of wrong bytes.

use std::io;
use std::os::fd::AsFd;

use super::error::Told;
use super::part::{Part, forget};
use super::places::Served;
use super::protocol::{Answer, Get, UnpackAnswer, UnpackJob};
use super::resolve::LayerSource;
use super::source::{Answers, Source};
use super::workers::Worker;
use super::{Event, FetchError, Fetcher};
use crate::store::{Owners, TreeMeta, TreeWriter};
use crate::unpack::{Expect, LayerReport, Limits};

/// Blobs above this size are kept while they come, to continue with after a break.
const KEEP_ABOVE: u64 = 1 << 20;

/// How much of a layer may wait between the two workers.
const PIPE_SIZE: usize = 1 << 20;

/// A tree that waits to become part of the store.
pub(super) type Done = (TreeWriter, TreeMeta);

/// A layer to unpack.
pub(super) struct Layer<'a> {
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) source: &'a Source,
    pub(super) layer: &'a LayerSource,
    pub(super) limits: Limits,
}

/// How one try to unpack a layer failed.
enum Failure {
    /// The bytes were not the blob's.
    Corrupt(FetchError),
    Other(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Other(error)
    }
}

impl Layer<'_> {
    /// Fills `tree`. Bytes kept from an earlier fetch that turn out to be wrong are given up once, then places that serve
    /// wrong bytes are left, one after the other.
    pub(super) fn complete(&self, mut tree: TreeWriter) -> Result<Done, FetchError> {
        let mut part = self.open_part()?;
        let mut had_some = part.as_ref().is_some_and(|part| part.length > 0);
        let report = loop {
            let mut served = self.source.ask();
            let error = match self.fill(&tree, part.as_mut(), &mut served) {
                Ok(report) => break report,
                Err(Failure::Other(error)) => return Err(error),
                Err(Failure::Corrupt(error)) => error,
            };
            // Not emptied but replaced: the source worker may still be writing into it.
            if let Some(part) = part.take() {
                forget(&part.path);
            }
            if !std::mem::take(&mut had_some) {
                self.source.blame(&self.what(), error, &served)?;
            }
            part = self.open_part()?;
            tree = tree.restart()?;
        };
        let unpacked = Event::Unpacked(&self.layer.digest);
        self.fetcher.progress.on(unpacked);
        let meta = TreeMeta {
            diff_id: self.layer.diff_id,
            blob: self.layer.digest,
            blob_size: self.layer.size,
            owners: self.fetcher.owners.clone(),
            report,
        };
        Ok((tree, meta))
    }

    fn what(&self) -> String {
        format!("layer {}", self.layer.digest)
    }

    /// One try: a pipe, an unpack worker at its end, and the source worker at its beginning.
    fn fill(
        &self,
        tree: &TreeWriter,
        part: Option<&mut Part>,
        served: &mut Served,
    ) -> Result<LayerReport, Failure> {
        if let Owners::Range { base } = self.fetcher.owners {
            tree.set_owner(base, base).map_err(FetchError::Store)?;
        }
        let (read, write) = io::pipe().map_err(FetchError::Pipe)?;
        // A smaller pipe is slower and nothing else.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_SIZE);
        let unpacker = self
            .fetcher
            .workers
            .unpack(tree.dir().as_fd())
            .map_err(|error| FetchError::Spawn("unpack", error))?;
        let lost = |error| FetchError::Worker("unpack", error);
        unpacker
            .channel
            .send(&self.job(), &[read.as_fd()])
            .map_err(lost)?;
        drop(read);
        let get = Get::Blob {
            digest: self.layer.digest,
            size: self.layer.size,
            etag: part.as_ref().and_then(|part| part.etag.clone()),
        };
        let kept = part.as_ref().map(|part| part.file.as_fd());
        let answers = self.source.start(&get, served, write.as_fd(), kept)?;
        drop(write);
        let transfer = self.watch(&answers, &unpacker, part, served);
        let answer = unpacker.channel.receive::<UnpackAnswer>().map_err(lost);
        self.conclude(transfer, answer.map(|(answer, _)| answer))
    }

    fn job(&self) -> UnpackJob {
        UnpackJob {
            expect: Expect {
                media_type: self.layer.media_type.clone(),
                size: self.layer.size,
                digest: self.layer.digest,
                diff_id: self.layer.diff_id,
            },
            squash: self.fetcher.owners == Owners::Squashed,
            limits: self.limits.clone(),
        }
    }

    /// Follows a transfer to its end. `false`: the unpack worker has ended it.
    fn watch(
        &self,
        answers: &Answers,
        unpacker: &Worker,
        mut part: Option<&mut Part>,
        served: &mut Served,
    ) -> Result<bool, FetchError> {
        loop {
            // A source worker that waits for its registry does not notice that nobody wants the bytes any more.
            if !answers.come_before(&unpacker.channel)? {
                return Ok(false);
            }
            match answers.next()? {
                Answer::Started { etag } => {
                    if let Some(part) = &mut part {
                        part.note(etag);
                    }
                }
                Answer::Progress(at) => {
                    self.fetcher.progress.on(Event::At(&self.layer.digest, at));
                }
                Answer::PassedOver(said) => self.source.passed_over(&said),
                Answer::From(place) => served.from(place),
                Answer::Done { .. } => return Ok(true),
                Answer::ReceiverGone => return Ok(false),
                Answer::NotFound(said) | Answer::Failed(said) => {
                    return Err(self.source.failed(&self.what(), &said));
                }
                Answer::NotModified => return Err(FetchError::NotModified),
            }
        }
    }

    /// Whose fault it was: of the transfer, unless the unpack worker stopped it.
    fn conclude(
        &self,
        transfer: Result<bool, FetchError>,
        answer: Result<UnpackAnswer, FetchError>,
    ) -> Result<LayerReport, Failure> {
        transfer?;
        answer?.map_err(|failure| {
            let error = FetchError::Unpack {
                digest: self.layer.digest,
                name: self.source.name.clone(),
                source: Told::new(&failure.message),
            };
            match failure.corrupt {
                true => Failure::Corrupt(error),
                false => Failure::Other(error),
            }
        })
    }

    fn open_part(&self) -> Result<Option<Part>, FetchError> {
        if self.layer.size <= KEEP_ABOVE || !self.source.is_remote() {
            return Ok(None);
        }
        let path = self.fetcher.part(&self.layer.digest);
        Part::open(&path).map_err(|error| FetchError::Part(path, error))
    }
}
