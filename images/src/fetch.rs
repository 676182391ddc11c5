//! The coordinator of a fetch: a name becomes an image that is complete in the store, or nothing changes.
//!
//! It talks to no network and unpacks nothing. A *source worker* (registry or layout) gets bytes, one *unpack worker* for each
//! layer makes a tree of them; the coordinator reads the small documents, with their digests checked, asks the trust policy,
//! joins the two by a pipe, and records what has become complete.

mod budget;
mod compare;
mod document;
mod error;
mod keep;
mod layer;
mod layers;
pub mod layout_worker;
mod limits;
mod local;
mod part;
mod places;
mod platform;
pub mod protocol;
mod referrers;
mod registry;
mod resolve;
mod rollback;
mod signatures;
mod source;
pub mod unpack_worker;
pub mod workers;

use std::path::{Path, PathBuf};

pub use compare::Changed;
#[cfg(any(test, fuzzing))]
pub(crate) use document::understand;
pub use error::FetchError;
pub use limits::DocumentLimits;
use resolve::{Before, Now, Resolved};
use source::Source;
use workers::Workers;

use crate::digest::Digest;
use crate::evidence::{Evidence, Item};
use crate::reference::ImageName;
use crate::registries::Layers;
use crate::store::{Image, Owners, RefRecord, Store};
use crate::trust::Policy;
use crate::unpack::Limits;

/// Hears how a fetch goes on. All calls may come from several threads.
pub trait Progress: Sync {
    /// Something has happened.
    fn on(&self, event: Event<'_>);
}

/// What happens during a fetch.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The name stands for this manifest, with so many layers that are not in the store.
    Resolved(&'a ImageName, &'a Digest, usize),
    /// Another fetch is unpacking the layer, and is waited for.
    Waiting(&'a Digest),
    /// The layer is wanted; it has so many bytes.
    Layer(&'a Digest, u64),
    /// So many bytes of the layer have come.
    At(&'a Digest, u64),
    /// The layer is unpacked.
    Unpacked(&'a Digest),
}

/// How to fetch: what holds for all images of one call.
pub struct Fetcher<'a> {
    /// Where images go.
    pub store: &'a Store,
    /// Which images are accepted; absent: all, because the user said so.
    pub policy: Option<&'a Policy>,
    /// Who starts confined processes.
    pub workers: &'a dyn Workers,
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// Whose the unpacked files are.
    pub owners: Owners,
    /// What its documents may be.
    pub documents: DocumentLimits,
    /// What a layer may cost.
    pub limits: Limits,
    /// Plain HTTP to any registry, not only on the loopback interface.
    pub plain_http: bool,
    /// TLS without a check of certificates.
    pub any_certificate: bool,
    /// Where it is said where registries really are.
    pub registries: Layers,
    /// Files with credentials, most important first.
    pub credentials: Vec<PathBuf>,
    /// Directories with certificates for registries, most important first.
    pub certificates: Vec<PathBuf>,
    /// A file of certificate authorities to use instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Detached signatures of the image's manifest.
    pub signatures: Vec<Item>,
    /// A tag may be moved back to an older image.
    pub allow_downgrade: bool,
    /// Layer blobs are kept as they were fetched, beside the trees.
    pub keep_blobs: bool,
}

/// A fetched image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its manifest.
    pub manifest: Digest,
    /// The index that it was chosen from.
    pub index: Option<Digest>,
    /// It was complete in the store before, and its name still stands for it.
    pub unchanged: bool,
}

impl Fetcher<'_> {
    /// Makes `name` complete in the store.
    ///
    /// # Errors
    /// A [`FetchError`]; the store is then as before, but for parts of layers to continue with.
    pub fn fetch(&self, name: &ImageName) -> Result<Fetched, FetchError> {
        if name.is_stdin() {
            return Err(FetchError::Nameless(name.to_string()));
        }
        self.judge_name(name)?;
        let known = self.known(name)?;
        if let Some(known) = known.as_ref().filter(|_| name.pinned().is_some()) {
            return self.touch(name, known);
        }
        let source = Source::open(self, name)?;
        let before = known.as_ref().map(Known::before);
        let resolved = match resolve::resolve(&source, name, before.as_ref())? {
            Now::Changed(resolved) => resolved,
            Now::Unchanged(etag) => {
                let image = known.ok_or(FetchError::NotModified)?.image;
                return self.touch(name, &Known { image, etag });
            }
        };
        self.take(&source, name, &resolved)
    }

    /// Makes the image `from` complete in the store under the name `name`, by which it is judged.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`].
    pub fn fetch_as(&self, from: &ImageName, name: &ImageName) -> Result<Fetched, FetchError> {
        self.judge_name(name)?;
        let source = Source::open(self, from)?;
        let resolved = resolve::resolve(&source, from, None)?.resolved()?;
        self.take(&source, name, &resolved)
    }

    fn take(
        &self,
        source: &Source,
        name: &ImageName,
        resolved: &Resolved,
    ) -> Result<Fetched, FetchError> {
        let evidence = self.evidence(source, name, resolved)?;
        self.judge(name, resolved, &evidence)?;
        self.history(name, resolved, &evidence)?;
        layers::complete(self, source, name, resolved)?;
        if self.keep_blobs {
            keep::all(self, source, resolved)?;
        }
        layers::forget_parts(self, resolved);
        // Layers take their time: another fetch may have found a newer image meanwhile.
        let history = self.history(name, resolved, &evidence)?;
        self.record(name, resolved, &evidence, history)
    }

    /// What becomes of the record of the name, unless it must not be moved back.
    fn history(
        &self,
        name: &ImageName,
        resolved: &Resolved,
        evidence: &Evidence,
    ) -> Result<History, FetchError> {
        match rollback::check(self, name, resolved, evidence) {
            Ok(()) => Ok(History::Continued),
            Err(error) if error.is_downgrade() && self.allow_downgrade => Ok(History::Forgotten),
            Err(error) => Err(error),
        }
    }

    /// What the store already has under `name`, if that is complete and trusted as it is.
    fn known(&self, name: &ImageName) -> Result<Option<Known>, FetchError> {
        // A store that is damaged there is repaired by fetching again.
        let Ok(Some(image)) = self.store.image(name) else {
            return Ok(None);
        };
        if !self.signatures.is_empty()
            || (self.keep_blobs && !self.store.has_layer_blobs(&image)?)
        {
            return Ok(None);
        }
        let directory = self.store.evidence_dir(&image.manifest_digest);
        let Ok(mut evidence) = Evidence::load(&directory) else {
            return Ok(None);
        };
        if let Some(index) = image.index_digest {
            evidence.add_index(index);
        }
        let trusted = self.policy.is_none_or(|policy| {
            let decision = policy.decide(name, &image.manifest_digest, &image.manifest, &evidence);
            decision.is_ok()
        });
        let etag = self.store.ref_record(name)?.and_then(|record| record.etag);
        Ok(trusted.then_some(Known { image, etag }))
    }

    /// All evidence about the image: what the store has, what the source has, what the user gives.
    fn evidence(
        &self,
        source: &Source,
        name: &ImageName,
        resolved: &Resolved,
    ) -> Result<Evidence, FetchError> {
        let directory = self.store.evidence_dir(&resolved.manifest.digest);
        let (mut evidence, _replaced) = Evidence::load_whole(&directory)?;
        for item in &self.signatures {
            evidence.add(item.clone())?;
        }
        signatures::gather(source, resolved, &mut evidence)?;
        if let Some(index) = &resolved.index {
            evidence.add_index(index.digest);
        }
        // Two requests more, so only where what there is does not suffice.
        if self.judge(name, resolved, &evidence).is_err() {
            referrers::gather(source, resolved, &mut evidence)?;
        }
        Ok(evidence)
    }

    /// Before anybody is asked: neither a registry nor a credential helper hears of what cannot run.
    fn judge_name(&self, name: &ImageName) -> Result<(), FetchError> {
        match self.policy {
            Some(policy) => policy.decide_by_name(name).map_err(FetchError::Refused),
            None => Ok(()),
        }
    }

    fn judge(
        &self,
        name: &ImageName,
        resolved: &Resolved,
        evidence: &Evidence,
    ) -> Result<(), FetchError> {
        let manifest = &resolved.manifest;
        match self.policy {
            Some(policy) => policy
                .decide(name, &manifest.digest, &manifest.bytes, evidence)
                .map(drop)
                .map_err(FetchError::Refused),
            None => Ok(()),
        }
    }

    /// Documents, evidence and, last, the name.
    fn record(
        &self,
        name: &ImageName,
        resolved: &Resolved,
        evidence: &Evidence,
        history: History,
    ) -> Result<Fetched, FetchError> {
        let manifest = resolved.manifest.digest;
        self.store.put_blob(&resolved.config.bytes)?;
        self.store.put_blob(&resolved.manifest.bytes)?;
        if let Some(index) = &resolved.index {
            self.store.put_blob(&index.bytes)?;
        }
        self.store.put_evidence(&manifest, evidence)?;
        let index = resolved.index.as_ref().map(|index| index.digest);
        self.set_ref(name, manifest, index, resolved.etag.clone(), history)?;
        Ok(Fetched {
            manifest,
            index,
            unchanged: false,
        })
    }

    /// Records that the name has been resolved again, to the same.
    fn touch(&self, name: &ImageName, known: &Known) -> Result<Fetched, FetchError> {
        let manifest = known.image.manifest_digest;
        let (index, etag) = (known.image.index_digest, known.etag.clone());
        self.set_ref(name, manifest, index, etag, History::Continued)?;
        Ok(Fetched {
            manifest,
            index,
            unchanged: true,
        })
    }

    fn set_ref(
        &self,
        name: &ImageName,
        manifest: Digest,
        index: Option<Digest>,
        etag: Option<String>,
        history: History,
    ) -> Result<(), FetchError> {
        let before = match (history, self.store.ref_record(name)) {
            (History::Continued, Ok(Some(earlier))) => earlier.history(&manifest),
            // A record that cannot be read is replaced.
            _ => Vec::new(),
        };
        let record = RefRecord {
            name: name.to_string(),
            manifest,
            index,
            resolved: jiff::Timestamp::now().to_string(),
            etag,
            before,
        };
        Ok(self.store.set_ref(name, &record)?)
    }

    /// Where the first bytes of a blob are kept to continue with.
    fn part(&self, digest: &Digest) -> PathBuf {
        self.store.inbox().join(format!("{}.part", digest.hex()))
    }

    fn part_etag(part: &Path) -> PathBuf {
        part.with_extension("etag")
    }
}

/// What becomes of the record of what a name stood for before.
#[derive(Clone, Copy)]
enum History {
    Continued,
    /// The user went back: what came between holds nobody back any more.
    Forgotten,
}

/// A complete image of the store, and what the registry called the version of its name.
struct Known {
    image: Image,
    etag: Option<String>,
}

impl Known {
    fn before(&self) -> Before<'_> {
        Before {
            etag: self.etag.as_deref(),
            top: self
                .image
                .index_digest
                .unwrap_or(self.image.manifest_digest),
        }
    }
}
