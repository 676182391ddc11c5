//! One layer becomes a tree: a source worker writes into a pipe, an unpack worker reads from it, and the coordinator listens
//! to both.
//!
//! The bytes that come may be wrong: kept from an earlier fetch and damaged, or of a place that serves others than were asked
//! for. Then all of it is thrown away and the layer is asked for anew: nothing is ever continued on top of wrong bytes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::budget::Share;
use super::error::Told;
use super::keep::{self, Kept};
use super::part::{Part, forget};
use super::places::Served;
use super::protocol::{Answer, Fault, Get, UnpackAnswer, UnpackJob, UnpackSays};
use super::resolve::LayerSource;
use super::source::{Answers, Source};
use super::workers::Worker;
use super::{Event, FetchError, Fetcher};
use crate::store::{Owners, TreeMeta, TreeWriter};
use crate::unpack::{Expect, LayerReport};
use crate::wire::WireError;

/// Blobs above this size are kept while they come, to continue with after a break.
const KEEP_ABOVE: u64 = 1 << 20;

/// How much of a layer may wait between the two workers.
const PIPE_SIZE: usize = 1 << 20;

/// A tree that waits to become part of the store.
pub(super) type Done = (TreeWriter, TreeMeta);

/// A layer to unpack, wherever its bytes come from.
pub(super) struct Unpacking<'a> {
    pub(super) fetcher: &'a Fetcher<'a>,
    /// The image, for messages.
    pub(super) name: &'a str,
    pub(super) layer: &'a LayerSource,
    /// Of what all layers of the image may cost together.
    pub(super) share: Share<'a>,
}

/// A layer to fetch and unpack.
pub(super) struct Layer<'a> {
    pub(super) source: &'a Source,
    pub(super) unpacking: Unpacking<'a>,
}

/// How one try to unpack a layer failed.
pub(super) enum Failure {
    /// The bytes were not the blob's.
    Corrupt(FetchError),
    Other(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Other(error)
    }
}

impl Unpacking<'_> {
    /// Starts an unpack worker that reads the blob from `blob`.
    pub(super) fn start(
        &self,
        tree: &TreeWriter,
        blob: BorrowedFd<'_>,
    ) -> Result<Worker, FetchError> {
        if let Owners::Range { base } = self.fetcher.owners {
            tree.set_owner(base, base)?;
        }
        let unpacker = self.fetcher.workers.unpack(tree.dir().as_fd());
        let unpacker = unpacker.map_err(|error| FetchError::Spawn("unpack", error))?;
        let job = UnpackJob {
            expect: Expect {
                media_type: self.layer.media_type.clone(),
                size: self.layer.size,
                digest: self.layer.digest,
                diff_id: self.layer.diff_id,
            },
            squash: self.fetcher.owners == Owners::Squashed,
            limits: self.fetcher.limits.clone(),
        };
        let sent = unpacker.channel.send(&job, &[blob]);
        sent.map_err(|error| self.lost(&unpacker, error))?;
        Ok(unpacker)
    }

    /// Waits for its end.
    pub(super) fn end(&self, unpacker: &Worker) -> Result<LayerReport, Failure> {
        let answer = loop {
            if let Some(answer) = self.hear(unpacker)? {
                break answer;
            }
        };
        self.conclude(answer)
    }

    /// Takes what it says, which it has said or will: the end, or that it needs more room.
    fn hear(&self, unpacker: &Worker) -> Result<Option<UnpackAnswer>, FetchError> {
        let lost = |error| self.lost(unpacker, error);
        let (said, _) = unpacker.channel.receive().map_err(lost)?;
        let need = match said {
            UnpackSays::Done(answer) => return Ok(Some(answer)),
            UnpackSays::More(need) => need,
        };
        let given = self.share.more(need).unwrap_or_default();
        unpacker.channel.send(&given, &[]).map_err(lost)?;
        Ok(None)
    }

    /// The unpack worker does not answer as it should.
    fn lost(&self, unpacker: &Worker, error: WireError) -> FetchError {
        let doing = format!("unpack layer {} of {}", self.layer.digest, self.name);
        FetchError::worker(doing, unpacker.lost("unpack", error))
    }

    /// What went wrong is the bytes' fault first: what was too much may have been another blob.
    fn conclude(&self, answer: UnpackAnswer) -> Result<LayerReport, Failure> {
        answer.map_err(|failure| {
            let error = FetchError::Unpack {
                digest: self.layer.digest,
                name: self.name.to_owned(),
                fault: failure.fault,
                source: Told::new(&failure.message),
            };
            match self.share.refused() {
                _ if failure.fault == Fault::Corrupt => Failure::Corrupt(error),
                Some(too_much) => Failure::Other(FetchError::limit(self.name, too_much)),
                None => Failure::Other(error),
            }
        })
    }

    /// The tree with its record.
    pub(super) fn done(self, tree: TreeWriter, report: LayerReport) -> Done {
        self.share.settle(&report);
        let unpacked = Event::Unpacked(&self.layer.digest);
        self.fetcher.progress.on(unpacked);
        let meta = TreeMeta {
            diff_id: self.layer.diff_id,
            blob: self.layer.digest,
            blob_size: self.layer.size,
            owners: self.fetcher.owners.clone(),
            report,
        };
        (tree, meta)
    }
}

impl Layer<'_> {
    /// Fills `tree`, from the kept blob if there is one. Bytes kept from an earlier fetch that turn out to be wrong are given
    /// up once, then places that serve wrong bytes are left, one after the other.
    pub(super) fn complete(self, tree: TreeWriter) -> Result<Done, FetchError> {
        let mut tree = match keep::unpack(&self.unpacking, tree)? {
            Kept::Unpacked(tree, report) => return Ok(self.unpacking.done(tree, report)),
            Kept::Not(tree) => tree,
        };
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
            self.unpacking.share.return_all();
        };
        Ok(self.unpacking.done(tree, report))
    }

    fn what(&self) -> String {
        format!("layer {}", self.unpacking.layer.digest)
    }

    /// One try: a pipe, an unpack worker at its end, and the source worker at its beginning.
    fn fill(
        &self,
        tree: &TreeWriter,
        part: Option<&mut Part>,
        served: &mut Served,
    ) -> Result<LayerReport, Failure> {
        let (read, write) = io::pipe().map_err(FetchError::Pipe)?;
        // A smaller pipe is slower and nothing else.
        let _ = rustix::pipe::fcntl_setpipe_size(&write, PIPE_SIZE);
        let unpacker = self.unpacking.start(tree, read.as_fd())?;
        drop(read);
        let layer = self.unpacking.layer;
        let get = Get::Blob {
            digest: layer.digest,
            size: layer.size,
            etag: part.as_ref().and_then(|part| part.etag.clone()),
        };
        let kept = part.as_ref().map(|part| part.file.as_fd());
        let answers = self
            .source
            .start(&self.what(), &get, served, write.as_fd(), kept)?;
        drop(write);
        // Whose fault a failure was: of the transfer, unless the unpack worker stopped it.
        match self.watch(&answers, &unpacker, part, served)? {
            Some(answer) => self.unpacking.conclude(answer),
            None => self.unpacking.end(&unpacker),
        }
    }

    /// Follows a transfer to its end, or until the unpack worker ends it, whose answer it then is.
    fn watch(
        &self,
        answers: &Answers,
        unpacker: &Worker,
        mut part: Option<&mut Part>,
        served: &mut Served,
    ) -> Result<Option<UnpackAnswer>, FetchError> {
        let unpacking = &self.unpacking;
        loop {
            // A source worker that waits for its registry does not notice that nobody wants the bytes any more.
            if !answers.come_before(&unpacker.channel)? {
                match unpacking.hear(unpacker)? {
                    Some(answer) => return Ok(Some(answer)),
                    None => continue,
                }
            }
            let lost = |error| self.source.lost(&self.what(), error);
            match answers.next().map_err(lost)? {
                Answer::Started { etag } => {
                    if let Some(part) = &mut part {
                        part.note(etag);
                    }
                }
                Answer::Progress(at) => {
                    let at = Event::At(&unpacking.layer.digest, at);
                    unpacking.fetcher.progress.on(at);
                }
                Answer::PassedOver(said) => self.source.passed_over(&said),
                Answer::From(place) => served.from(place),
                Answer::Done { .. } | Answer::ReceiverGone => return Ok(None),
                Answer::NotFound(said) | Answer::Failed(said) => {
                    return Err(self.source.failed(&self.what(), &said));
                }
                Answer::NotModified => return Err(FetchError::NotModified),
            }
        }
    }

    fn open_part(&self) -> Result<Option<Part>, FetchError> {
        let layer = self.unpacking.layer;
        if layer.size <= KEEP_ABOVE || !self.source.is_remote() {
            return Ok(None);
        }
        let path = self.unpacking.fetcher.part(&layer.digest);
        Part::open(&path).map_err(|error| FetchError::Part(path, error))
    }
}
