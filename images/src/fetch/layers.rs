//! Missing layers become trees: several at a time, each downloaded, hashed, decompressed and unpacked at once.
//!
//! The trees are locked in the order of their diff ids before the first byte is asked for, so two fetches that share layers
//! cannot wait for each other; the second waits for the first, or takes over when it dies. All become part of the store
//! together, after one wait for the disk.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::Told;
use super::part::{Part, forget};
use super::protocol::{Answer, Get, UnpackAnswer, UnpackJob};
use super::resolve::{LayerSource, Resolved};
use super::source::{Answers, Source};
use super::workers::Worker;
use super::{Event, FetchError, Fetcher};
use crate::reference::ImageName;
use crate::store::{Begin, Owners, StoreError, TreeMeta, TreeWriter};
use crate::unpack::{Expect, LayerReport, Limits};

/// Blobs above this size are kept while they come, to continue with after a break.
const KEEP_ABOVE: u64 = 1 << 20;

/// What came faster than this is sooner fetched again than written to disk, which the kernel begins to do after that time.
const QUICK: Duration = Duration::from_secs(20);

/// More than that is no faster, and the source worker has only so many descriptors.
const MAX_THREADS: usize = 32;

/// How much of a layer may wait between the two workers.
const PIPE_SIZE: usize = 1 << 20;

/// Unpacks every layer of the image that the store has not.
pub(super) fn complete(
    fetcher: &Fetcher<'_>,
    source: &Source,
    name: &ImageName,
    resolved: &Resolved,
) -> Result<(), FetchError> {
    check_sizes(fetcher, source, &resolved.layers)?;
    let missing = lock(fetcher, &resolved.layers)?;
    let event = Event::Resolved(name, &resolved.manifest.digest, missing.len());
    fetcher.progress.on(event);
    for (layer, _) in &missing {
        fetcher.progress.on(Event::Layer(&layer.digest, layer.size));
    }
    let begun = Instant::now();
    let done = in_parallel(fetcher, source, missing)?;
    if begun.elapsed() < QUICK && !fetcher.keep_blobs {
        forget_parts(fetcher, resolved);
    }
    Ok(TreeWriter::commit_all(done)?)
}

/// Unpacks one layer into `tree`, whatever the store has.
pub(super) fn again(
    fetcher: &Fetcher<'_>,
    source: &Source,
    layer: &LayerSource,
    tree: TreeWriter,
) -> Result<(TreeWriter, TreeMeta), FetchError> {
    let limits = fetcher.limits.clone();
    let layer = Layer {
        fetcher,
        source,
        layer,
        limits,
    };
    let done = layer.complete(tree)?;
    forget(&fetcher.part(&layer.layer.digest));
    Ok(done)
}

/// Removes bytes of layers that were kept to continue with.
pub(super) fn forget_parts(fetcher: &Fetcher<'_>, resolved: &Resolved) {
    for layer in &resolved.layers {
        forget(&fetcher.part(&layer.digest));
    }
}

/// Blobs that are larger than all that may come out of them are not even begun.
fn check_sizes(
    fetcher: &Fetcher<'_>,
    source: &Source,
    layers: &[LayerSource],
) -> Result<(), FetchError> {
    let add = |sum: u64, layer: &LayerSource| sum.saturating_add(layer.size);
    let sum = Used {
        entries: 0,
        bytes: layers.iter().fold(0, add),
    };
    sum.check(&fetcher.limits, source)
}

/// The missing layers, largest first, with their trees locked.
fn lock<'a>(
    fetcher: &Fetcher<'_>,
    layers: &'a [LayerSource],
) -> Result<Vec<(&'a LayerSource, TreeWriter)>, StoreError> {
    let mut in_order: Vec<&LayerSource> = layers.iter().collect();
    in_order.sort_by_key(|layer| layer.diff_id);
    let mut missing = Vec::new();
    for layer in in_order {
        if let Begin::Write(tree) = fetcher.store.begin_tree(&layer.diff_id)? {
            missing.push((layer, tree));
        }
    }
    missing.sort_by_key(|(layer, _)| layer.size);
    Ok(missing)
}

type Work<'a> = (&'a LayerSource, TreeWriter);
type Done = (TreeWriter, TreeMeta);

/// One more thread than processors: one that waits for the network leaves room for one that unpacks. The first failure ends
/// all transfers; what fails because of that is not told.
fn in_parallel(
    fetcher: &Fetcher<'_>,
    source: &Source,
    missing: Vec<Work<'_>>,
) -> Result<Vec<Done>, FetchError> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = missing.len().min(processors + 1).min(MAX_THREADS);
    let queue = Mutex::new(missing);
    let done = Mutex::new(Ok(Vec::new()));
    let work = || {
        loop {
            let next = locked(&queue).pop();
            let Some((layer, tree)) = next else { return };
            let used = locked(&done)
                .as_ref()
                .map_or(Used::default(), |done| Used::of(done));
            let layer = Layer {
                fetcher,
                source,
                layer,
                limits: used.rest_of(&fetcher.limits),
            };
            let outcome = layer.complete(tree);
            let mut done = locked(&done);
            match (outcome, done.as_mut()) {
                (Ok(tree), Ok(trees)) => trees.push(tree),
                (Err(error), Ok(_)) => {
                    *done = Err(error);
                    locked(&queue).clear();
                    source.stop();
                }
                (_, Err(_)) => {}
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    Used::of(&done).check(&fetcher.limits, source)?;
    Ok(done)
}

/// What the new layers of an image have cost together.
#[derive(Default)]
struct Used {
    entries: u64,
    bytes: u64,
}

impl Used {
    fn of(done: &[Done]) -> Self {
        done.iter().fold(Self::default(), |sum, (_, meta)| Self {
            entries: sum.entries.saturating_add(meta.report.entries),
            bytes: sum.bytes.saturating_add(meta.report.file_bytes),
        })
    }

    /// What is left for one more layer.
    fn rest_of(&self, limits: &Limits) -> Limits {
        Limits {
            entries: limits.entries.saturating_sub(self.entries),
            bytes: limits.bytes.saturating_sub(self.bytes),
            ..limits.clone()
        }
    }

    /// Layers that were unpacked side by side knew nothing of each other.
    fn check(&self, limits: &Limits, source: &Source) -> Result<(), FetchError> {
        for (what, used, limit) in [
            ("entries", self.entries, limits.entries),
            ("bytes", self.bytes, limits.bytes),
        ] {
            if used > limit {
                return Err(FetchError::Limit {
                    name: source.name.clone(),
                    what,
                    limit,
                });
            }
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Layer<'a> {
    fetcher: &'a Fetcher<'a>,
    source: &'a Source,
    layer: &'a LayerSource,
    limits: Limits,
}

/// How one try to unpack a layer failed.
enum Failure {
    /// The kept bytes, or those that came, were not the blob's.
    Corrupt(FetchError),
    Other(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Other(error)
    }
}

impl Layer<'_> {
    /// Fills `tree`. Bytes kept from an earlier fetch that turn out to be wrong are given up once.
    fn complete(&self, mut tree: TreeWriter) -> Result<Done, FetchError> {
        let mut part = self.open_part()?;
        let had_some = part.as_ref().is_some_and(|part| part.length > 0);
        let report = match self.fill(&tree, part.as_mut()) {
            Ok(report) => report,
            Err(Failure::Corrupt(_)) if had_some => {
                part.iter().try_for_each(Part::empty)?;
                tree = tree.restart()?;
                self.fill(&tree, part.as_mut())
                    .map_err(|failure| self.give_up(failure, &part))?
            }
            Err(failure) => return Err(self.give_up(failure, &part)),
        };
        self.fetcher
            .progress
            .on(Event::Unpacked(&self.layer.digest));
        let meta = TreeMeta {
            diff_id: self.layer.diff_id,
            blob: self.layer.digest,
            blob_size: self.layer.size,
            owners: self.fetcher.owners.clone(),
            report,
        };
        Ok((tree, meta))
    }

    fn give_up(&self, failure: Failure, part: &Option<Part>) -> FetchError {
        match failure {
            Failure::Corrupt(error) => {
                if let Some(part) = part {
                    forget(&part.path);
                }
                error
            }
            Failure::Other(error) => error,
        }
    }

    /// One try: a pipe, an unpack worker at its end, and the source worker at its beginning.
    fn fill(&self, tree: &TreeWriter, part: Option<&mut Part>) -> Result<LayerReport, Failure> {
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
        let answers = self.source.start(&get, write.as_fd(), kept)?;
        drop(write);
        let transfer = self.watch(&answers, &unpacker, part);
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
    ) -> Result<bool, FetchError> {
        let what = format!("layer {}", self.layer.digest);
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
                Answer::Done { .. } => return Ok(true),
                Answer::ReceiverGone => return Ok(false),
                Answer::NotFound(said) | Answer::Failed(said) => {
                    return Err(self.source.failed(&what, &said));
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
        match answer? {
            Ok(report) => Ok(report),
            Err(failure) => {
                let error = FetchError::Unpack {
                    digest: self.layer.digest,
                    name: self.source.name.clone(),
                    source: Told::new(&failure.message),
                };
                Err(if failure.corrupt {
                    Failure::Corrupt(error)
                } else {
                    Failure::Other(error)
                })
            }
        }
    }

    fn open_part(&self) -> Result<Option<Part>, FetchError> {
        if self.layer.size <= KEEP_ABOVE || !self.source.is_remote() {
            return Ok(None);
        }
        let path = self.fetcher.part(&self.layer.digest);
        Part::open(&path).map_err(|error| FetchError::Part(path, error))
    }
}
