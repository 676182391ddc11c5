//! The decision whether an image may run: at every run, from files alone.

use std::path::PathBuf;

use images::digest::Digest;
use images::evidence::{Evidence, Item};
use images::reference::ImageName;
use images::store::{Image, MANIFEST_LIMIT, Store};
use images::trust::{Accepted, Finding, Policy};
use pod::{InsecureOption, PodManifest, Trust};

use crate::context::Context;
use crate::error::Error;

/// The policy in force, and the signatures given on the command line.
pub(crate) struct Judge {
    /// Absent with `--insecure-options=image`: nothing is asked then.
    policy: Option<Policy>,
    given: Vec<Item>,
}

impl Judge {
    /// Loads the policy; `given` are the signatures of the command line.
    pub(crate) fn new(given: Vec<Item>, context: &Context) -> Result<Self, Error> {
        let insecure = context.allows(InsecureOption::Image);
        let policy = (!insecure).then(|| Policy::load(&context.config("trust.d")));
        Ok(Self {
            policy: policy.transpose()?,
            given,
        })
    }

    /// The signatures of the command line.
    pub(crate) fn given(&self) -> &[Item] {
        &self.given
    }

    /// Why `image` may run. A signature of the command line that made it so is kept beside the image.
    pub(crate) fn decide(&self, image: &Subject<'_>, store: &Store) -> Result<Trust, Error> {
        let Some(policy) = &self.policy else {
            return Ok(Trust::InsecureOption);
        };
        let mut evidence = image.evidence(store)?;
        for item in &self.given {
            evidence.add(item.clone())?;
        }
        let accepted = policy.decide(image.name, image.digest, image.manifest, &evidence)?;
        if !self.given.is_empty() {
            store.put_evidence(image.digest, &evidence)?;
        }
        Ok(trust(accepted))
    }
}

impl Judge {
    /// Fingerprints of all keys of the image's scope whose signatures are verified, sorted.
    pub(crate) fn signers(&self, image: &Subject<'_>, store: &Store) -> Result<Vec<String>, Error> {
        let Some(policy) = &self.policy else {
            return Ok(Vec::new());
        };
        let evidence = image.evidence(store)?;
        let findings = policy.findings(image.name, image.digest, image.manifest, &evidence)?;
        let mut signers: Vec<String> = findings
            .iter()
            .filter_map(Finding::signer)
            .map(|key| key.to_string())
            .collect();
        signers.sort_unstable();
        signers.dedup();
        Ok(signers)
    }
}

/// The signatures in these files. Each is read once: it may be a pipe.
pub(crate) fn signatures(files: &[PathBuf]) -> Result<Vec<Item>, Error> {
    let items = files.iter().map(|path| Item::load_detached(path));
    Ok(items.collect::<Result<_, _>>()?)
}

/// An image as the policy sees it.
pub(crate) struct Subject<'a> {
    /// Its name.
    name: &'a ImageName,
    /// Digest of its manifest.
    digest: &'a Digest,
    /// The manifest.
    manifest: &'a [u8],
    /// The index that lists it.
    index: Option<Digest>,
}

impl<'a> From<&'a Image> for Subject<'a> {
    fn from(image: &'a Image) -> Self {
        Self {
            name: &image.name,
            digest: &image.manifest_digest,
            manifest: &image.manifest,
            index: image.index_digest,
        }
    }
}

impl Subject<'_> {
    /// What the store has to prove where the image comes from: signatures of its manifest, and of its index.
    pub(crate) fn evidence(&self, store: &Store) -> Result<Evidence, Error> {
        let mut evidence = Evidence::load(&store.evidence_dir(self.digest))?;
        if let Some(index) = self.index {
            evidence.merge(Evidence::load(&store.evidence_dir(&index))?);
            evidence.add_index(index);
        }
        Ok(evidence)
    }
}

/// Judges the images of a pod that was made before: the policy may have changed since.
pub(crate) fn again(manifest: &PodManifest, context: &Context) -> Result<(), Error> {
    let store = context.store()?;
    let judge = Judge::new(Vec::new(), context)?;
    for (image, _) in manifest.images() {
        let name = ImageName::parse_recorded(&image.reference)?;
        let digest = Digest::parse(&image.manifest)?;
        // The name may stand for another image by now; the pod has the one that its manifest says.
        match store.image(&name)? {
            Some(image) if image.manifest_digest == digest => {
                judge.decide(&Subject::from(&image), &store)?
            }
            _ => {
                let bytes = store.read_blob(&digest, MANIFEST_LIMIT)?;
                let subject = Subject {
                    name: &name,
                    digest: &digest,
                    manifest: &bytes,
                    index: None,
                };
                judge.decide(&subject, &store)?
            }
        };
    }
    Ok(())
}

/// The decision as the pod's record has it.
fn trust(accepted: Accepted) -> Trust {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    match accepted {
        Accepted::Signed {
            prefix,
            keys,
            policy,
        } => Trust::Signed {
            prefix,
            keys: keys.iter().map(ToString::to_string).collect(),
            policy: text(policy),
        },
        Accepted::DigestPinned { prefix, policy } => Trust::DigestPinned {
            prefix,
            policy: text(policy),
        },
        Accepted::InsecureAcceptAnything { prefix, policy } => Trust::InsecureAcceptAnything {
            prefix,
            policy: text(policy),
        },
    }
}
