//! Whether a tag was moved back: to an older image, as signed data say.
//!
//! The date is `created` of the config, which the signed manifest covers. Where both images have one and they differ, it
//! decides. Where it does not tell, an image that the tag stood for before is older than the one it stands for now. What
//! the store has counts only while its signatures do: an image whose key was revoked holds nobody back. Where the store has a
//! record of the tag, but what that names is damaged, nothing can be told, and nothing is followed.

use std::fmt;

use jiff::Timestamp;
use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::resolve::Resolved;
use super::{FetchError, Fetcher};
use crate::digest::Digest;
use crate::evidence::{Evidence, EvidenceError};
use crate::reference::ImageName;
use crate::store::{
    CONFIG_LIMIT, MANIFEST_LIMIT, RefRecord, Store, StoreError, content_digest, document,
};
use crate::strict_json;
use crate::trust::{Accepted, Policy};

/// A move to an older image.
#[derive(Debug, thiserror::Error)]
#[error("image {name} was moved back: to {offered}, {}{known}", self.reason())]
pub struct MovedBack {
    name: String,
    offered: Dated,
    known: Dated,
    by_date: bool,
}

impl MovedBack {
    fn reason(&self) -> &'static str {
        match self.by_date {
            true => "which is older than ",
            false => "which it stood for before ",
        }
    }

    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        format!(
            "the store keeps {}; --allow-downgrade accepts the older image",
            self.known.manifest
        )
    }
}

/// A move of which nobody can tell whether it is one to an older image.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell whether image {name} was moved back to an older one")]
pub struct PastUnknown {
    name: String,
    #[source]
    damage: Damage,
}

/// What is wrong with what a tag stands for in the store.
#[derive(Debug, thiserror::Error)]
enum Damage {
    /// The record itself.
    #[error(transparent)]
    Record(StoreError),
    /// Its manifest or config.
    #[error(transparent)]
    Document(#[from] StoreError),
    /// Its signatures.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
}

impl PastUnknown {
    /// What to do about it.
    pub(super) fn hint(&self) -> String {
        let name = &self.name;
        let repair = match self.damage {
            Damage::Record(_) => format!("'skua image rm {name}' forgets what it stood for"),
            Damage::Document(_) | Damage::Evidence(_) => format!(
                "'skua image verify --repair {name}' fetches again from its registry what it stands for in the store, and so does another fetch of the same archive"
            ),
        };
        format!("{repair}; --allow-downgrade accepts any image")
    }
}

/// A manifest and what its config says about its age.
#[derive(Debug)]
struct Dated {
    manifest: Digest,
    created: Option<Timestamp>,
}

impl fmt::Display for Dated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.manifest)?;
        match self.created {
            Some(created) => write!(f, "of {created}"),
            None => f.write_str("without a date"),
        }
    }
}

/// Refuses to move `name` back to `resolved`, or where that cannot be told. Only tags can be moved.
pub(super) fn check(
    fetcher: &Fetcher<'_>,
    name: &ImageName,
    resolved: &Resolved,
    evidence: &Evidence,
) -> Result<(), FetchError> {
    let manifest = &resolved.manifest;
    let (Some(policy), ImageName::Registry(_), None) = (fetcher.policy, name, name.pinned()) else {
        return Ok(());
    };
    let unknown = |damage| {
        let name = name.to_string();
        FetchError::PastUnknown(Box::new(PastUnknown { name, damage }))
    };
    let record = fetcher.store.ref_record(name);
    let Some(record) = record.map_err(|e| unknown(Damage::Record(e)))? else {
        return Ok(());
    };
    let offered = policy.decide(name, &manifest.digest, &manifest.bytes, evidence);
    if record.manifest == manifest.digest || !matches!(offered, Ok(Accepted::Signed { .. })) {
        return Ok(());
    }
    let known = known(fetcher.store, policy, name, &record).map_err(unknown)?;
    let offered = Dated {
        manifest: manifest.digest,
        created: created(&resolved.config.bytes),
    };
    match known.and_then(|known| moved_back(name, &record, offered, known)) {
        Some(back) => Err(FetchError::MovedBack(Box::new(back))),
        None => Ok(()),
    }
}

fn moved_back(
    name: &ImageName,
    record: &RefRecord,
    offered: Dated,
    known: Dated,
) -> Option<MovedBack> {
    let by_date = match (offered.created, known.created) {
        (Some(offered), Some(known)) if offered < known => true,
        (Some(offered), Some(known)) if offered > known => return None,
        _ if record.before.contains(&offered.manifest) => false,
        _ => return None,
    };
    Some(MovedBack {
        name: name.to_string(),
        offered,
        known,
        by_date,
    })
}

/// What the name stands for in the store, as long as it is signed by keys that are trusted now. Of signatures that suffice, a
/// damaged one more takes nothing away.
fn known(
    store: &Store,
    policy: &Policy,
    name: &ImageName,
    record: &RefRecord,
) -> Result<Option<Dated>, Damage> {
    let bytes = store.read_blob(&record.manifest, MANIFEST_LIMIT)?;
    let (mut evidence, damage) = Evidence::load_whole(&store.evidence_dir(&record.manifest))?;
    if let Some(index) = record.index {
        evidence.add_index(index);
    }
    let accepted = policy.decide(name, &record.manifest, &bytes, &evidence);
    if !matches!(accepted, Ok(Accepted::Signed { .. })) {
        return damage.map_or(Ok(None), |damage| Err(damage.into()));
    }
    let manifest: ImageManifest = document("manifest", &record.manifest, &bytes)?;
    let config = content_digest("manifest", &record.manifest, manifest.config().digest())?;
    let config = store.read_blob(&config, CONFIG_LIMIT)?;
    Ok(Some(Dated {
        manifest: record.manifest,
        created: created(&config),
    }))
}

fn created(config: &[u8]) -> Option<Timestamp> {
    let config: ImageConfiguration = strict_json::from_slice(config, config.len()).ok()?;
    config.created().as_ref()?.parse().ok()
}
