//! Whether a tag was moved back: to an older image, as signed data say.
//!
//! The date is `created` of the config, which the signed manifest covers. Where both images have one and they differ, it
//! decides. Where it does not tell, an image that the tag stood for before is older than the one it stands for now. What
//! the store has counts only while its signatures do: an image whose key was revoked holds nobody back.

use std::fmt;

use jiff::Timestamp;
use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::resolve::Resolved;
use super::{FetchError, Fetcher};
use crate::digest::Digest;
use crate::evidence::Evidence;
use crate::reference::ImageName;
use crate::store::{CONFIG_LIMIT, MANIFEST_LIMIT, RefRecord, Store};
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

/// How `name` would be moved back by `resolved`, if it would. Only tags can be moved.
pub(super) fn moved_back(
    fetcher: &Fetcher<'_>,
    name: &ImageName,
    resolved: &Resolved,
    evidence: &Evidence,
) -> Result<Option<MovedBack>, FetchError> {
    let manifest = &resolved.manifest;
    let (Some(policy), ImageName::Registry(_), None) = (fetcher.policy, name, name.pinned()) else {
        return Ok(None);
    };
    let Some(record) = fetcher.store.ref_record(name)? else {
        return Ok(None);
    };
    let offered = policy.decide(name, &manifest.digest, &manifest.bytes, evidence);
    if record.manifest == manifest.digest || !matches!(offered, Ok(Accepted::Signed { .. })) {
        return Ok(None);
    }
    let Some(known) = known(fetcher.store, policy, name, &record) else {
        return Ok(None);
    };
    let offered = Dated {
        manifest: manifest.digest,
        created: created(&resolved.config.bytes),
    };
    let by_date = match (offered.created, known.created) {
        (Some(offered), Some(known)) if offered < known => true,
        (Some(offered), Some(known)) if offered > known => return Ok(None),
        _ if record.before.contains(&offered.manifest) => false,
        _ => return Ok(None),
    };
    Ok(Some(MovedBack {
        name: name.to_string(),
        offered,
        known,
        by_date,
    }))
}

/// What the name stands for in the store, as long as it is signed by keys that are trusted now. What is damaged there is
/// fetched again and holds nobody back.
fn known(store: &Store, policy: &Policy, name: &ImageName, record: &RefRecord) -> Option<Dated> {
    let bytes = store.read_blob(&record.manifest, MANIFEST_LIMIT).ok()?;
    let mut evidence = Evidence::load(&store.evidence_dir(&record.manifest)).ok()?;
    if let Some(index) = record.index {
        evidence.add_index(index);
    }
    let accepted = policy.decide(name, &record.manifest, &bytes, &evidence);
    if !matches!(accepted, Ok(Accepted::Signed { .. })) {
        return None;
    }
    let manifest: ImageManifest = strict_json::from_slice(&bytes, bytes.len()).ok()?;
    let config = Digest::parse(manifest.config().digest().as_ref()).ok()?;
    let config = store.read_blob(&config, CONFIG_LIMIT).ok()?;
    Some(Dated {
        manifest: record.manifest,
        created: created(&config),
    })
}

fn created(config: &[u8]) -> Option<Timestamp> {
    let config: ImageConfiguration = strict_json::from_slice(config, config.len()).ok()?;
    config.created().as_ref()?.parse().ok()
}
