//! The decision about one image: made at every run, from files alone.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::TrustError;
use super::finding::{Finding, Outcome, judge};
use super::key::{Fingerprint, PublicKey};
use super::policy::Policy;
use super::scope::{Rule, Scope, Signed};
use super::subject::Subject;
use crate::digest::Digest;
use crate::escape;
use crate::evidence::{Evidence, Item};
use crate::reference::ImageName;

/// Why an image may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// Enough keys of its scope have signed it.
    Signed {
        /// The scope's prefix.
        prefix: String,
        /// The keys whose signatures were verified.
        keys: Vec<Fingerprint>,
        /// The file with the scope.
        policy: PathBuf,
    },
    /// The scope wants a digest in the name, and there is one.
    DigestPinned {
        /// The scope's prefix.
        prefix: String,
        /// The file with the scope.
        policy: PathBuf,
    },
    /// The scope accepts anything.
    InsecureAcceptAnything {
        /// The scope's prefix.
        prefix: String,
        /// The file with the scope.
        policy: PathBuf,
    },
}

/// An image that may not run, and why.
#[derive(Debug, Error)]
#[error("image {image} is not trusted: {reason}")]
pub struct Refusal {
    image: String,
    identity: String,
    reason: Box<Reason>,
}

/// Why an image may not run.
#[derive(Debug)]
pub enum Reason {
    /// No scope has it.
    NoScope,
    /// Its scope rejects it.
    Rejected(PathBuf, String),
    /// Its scope wants a digest in the name.
    NotPinned(PathBuf, String),
    /// Its scope wants signatures that are not there.
    Unsigned(Box<Unsigned>),
    /// The keys of its scope are unusable.
    Keys(TrustError),
    /// The manifest has not the digest that it is called by.
    Manifest,
}

/// What was wanted and what was there.
#[derive(Debug)]
pub struct Unsigned {
    prefix: String,
    policy: PathBuf,
    threshold: usize,
    keys: usize,
    findings: Vec<Finding>,
}

/// What the name of an image says about it.
enum ByName<'a> {
    /// It is enough.
    Accepted(Accepted),
    /// This scope wants signatures by these keys.
    Wanted(&'a Scope, &'a Signed, Vec<PublicKey>),
}

impl Policy {
    /// Whether the image `name`, with this manifest, may run.
    ///
    /// # Errors
    /// [`Refusal`], which says why not.
    pub fn decide(
        &self,
        name: &ImageName,
        digest: &Digest,
        manifest: &[u8],
        evidence: &Evidence,
    ) -> Result<Accepted, Refusal> {
        let identity = name.identity();
        self.judge(name, &identity, digest, manifest, evidence)
            .map_err(|reason| Refusal::new(name, reason))
    }

    /// Whether there can be an image `name` that may run: so that nobody is asked for one that cannot.
    ///
    /// # Errors
    /// [`Refusal`], as [`Policy::decide`] would say it of every such image.
    pub fn decide_by_name(&self, name: &ImageName) -> Result<(), Refusal> {
        self.by_name(name, &name.identity())
            .map(drop)
            .map_err(|reason| Refusal::new(name, reason))
    }

    fn judge(
        &self,
        name: &ImageName,
        identity: &str,
        digest: &Digest,
        manifest: &[u8],
        evidence: &Evidence,
    ) -> Result<Accepted, Reason> {
        if Digest::of(manifest) != *digest {
            return Err(Reason::Manifest);
        }
        let (scope, signed, keys) = match self.by_name(name, identity)? {
            ByName::Accepted(accepted) => return Ok(accepted),
            ByName::Wanted(scope, signed, keys) => (scope, signed, keys),
        };
        let (prefix, policy) = (scope.prefix.to_string(), scope.file.clone());
        let repository = repository_of(scope, signed, identity);
        let subject = Subject::new(name, repository, *digest, manifest, evidence.indexes());
        let threshold = signed.threshold;
        match enough(&keys, &subject, evidence, threshold) {
            Ok(keys) => Ok(Accepted::Signed {
                prefix,
                keys,
                policy,
            }),
            Err(findings) => Err(Reason::Unsigned(Box::new(Unsigned {
                prefix,
                policy,
                threshold,
                keys: keys.len(),
                findings,
            }))),
        }
    }

    /// What the name alone decides.
    fn by_name(&self, name: &ImageName, identity: &str) -> Result<ByName<'_>, Reason> {
        let scope = self.scope_of(identity).ok_or(Reason::NoScope)?;
        let (prefix, policy) = (scope.prefix.to_string(), scope.file.clone());
        match &scope.rule {
            Rule::Signed(signed) => {
                let keys = signed.keys(&scope.file).map_err(Reason::Keys)?;
                Ok(ByName::Wanted(scope, signed, keys))
            }
            Rule::Reject => Err(Reason::Rejected(policy, prefix)),
            Rule::InsecureAcceptAnything => {
                Ok(ByName::Accepted(Accepted::InsecureAcceptAnything {
                    prefix,
                    policy,
                }))
            }
            Rule::DigestPinned if name.pinned().is_some() => {
                Ok(ByName::Accepted(Accepted::DigestPinned { prefix, policy }))
            }
            Rule::DigestPinned => Err(Reason::NotPinned(policy, prefix)),
        }
    }

    /// Judges every piece of evidence under the scope that decides; none when the scope wants no signatures.
    ///
    /// # Errors
    /// [`TrustError`] when the scope's keys are unusable.
    pub fn findings(
        &self,
        name: &ImageName,
        digest: &Digest,
        manifest: &[u8],
        evidence: &Evidence,
    ) -> Result<Vec<Finding>, TrustError> {
        let identity = name.identity();
        let Some((scope, Rule::Signed(signed))) =
            self.scope_of(&identity).map(|scope| (scope, &scope.rule))
        else {
            return Ok(Vec::new());
        };
        let keys = signed.keys(&scope.file)?;
        let repository = repository_of(scope, signed, &identity);
        let subject = Subject::new(name, repository, *digest, manifest, evidence.indexes());
        Ok(evidence
            .items()
            .map(|item| found(item, judge(item, &keys, &subject)))
            .collect())
    }
}

/// What signatures must name: with `signed-as`, that takes the place of the scope's prefix.
fn repository_of(scope: &Scope, signed: &Signed, identity: &str) -> String {
    match (&signed.signed_as, scope.prefix.rest(identity)) {
        (Some(origin), Some(rest)) => format!("{origin}{rest}"),
        _ => identity.to_owned(),
    }
}

/// The keys that have signed, as soon as there are enough; else what became of every piece of evidence.
fn enough(
    keys: &[PublicKey],
    subject: &Subject<'_>,
    evidence: &Evidence,
    threshold: usize,
) -> Result<Vec<Fingerprint>, Vec<Finding>> {
    let mut signers = Vec::new();
    let mut judged = Vec::new();
    for item in evidence.items() {
        let outcome = judge(item, keys, subject);
        if let Outcome::Verified { key, .. } = &outcome
            && !signers.contains(key)
        {
            signers.push(*key);
            if signers.len() >= threshold {
                return Ok(signers);
            }
        }
        judged.push((item, outcome));
    }
    Err(judged
        .into_iter()
        .map(|(item, outcome)| found(item, outcome))
        .collect())
}

fn found(item: &Item, outcome: Outcome) -> Finding {
    Finding {
        item: item.label(),
        outcome,
    }
}

impl Refusal {
    fn new(name: &ImageName, reason: Reason) -> Self {
        Self {
            image: escape::text(name.to_string().as_bytes()),
            identity: escape::text(name.identity().as_bytes()),
            reason: Box::new(reason),
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match &*self.reason {
            Reason::NoScope => format!(
                "trust the keys of its publisher with 'skua trust add --prefix {} KEY'",
                self.identity
            ),
            Reason::NotPinned(..) => format!("name the image as {}@sha256:…", self.identity),
            Reason::Keys(error) => error.hint().unwrap_or_default(),
            Reason::Manifest => "fetch it again".to_owned(),
            Reason::Rejected(..) | Reason::Unsigned(_) => {
                format!(
                    "'skua trust test {}' shows each rule and the keys that it wants",
                    self.image
                )
            }
        }
    }

    /// Why, as data.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = |f: &mut fmt::Formatter<'_>, prefix: &str, policy: &Path| {
            write!(f, "scope {prefix} of {} ", policy.display())
        };
        match self {
            Self::NoScope => f.write_str("no scope of the trust policy has it"),
            Self::Rejected(policy, prefix) => {
                scope(f, prefix, policy)?;
                f.write_str("rejects it")
            }
            Self::NotPinned(policy, prefix) => {
                scope(f, prefix, policy)?;
                f.write_str("wants a digest in its name")
            }
            Self::Unsigned(unsigned) => {
                scope(f, &unsigned.prefix, &unsigned.policy)?;
                unsigned.fmt(f)
            }
            Self::Keys(error) => error.fmt_joined(f),
            Self::Manifest => f.write_str("its manifest has another digest"),
        }
    }
}

/// The most failures that one line names.
const MAX_NAMED: usize = 4;

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            threshold,
            keys,
            findings,
            ..
        } = self;
        match (threshold, keys) {
            (1, 1) => f.write_str("wants a signature by its key")?,
            (1, _) => write!(f, "wants a signature by one of its {keys} keys")?,
            _ => write!(f, "wants signatures by {threshold} of its {keys} keys")?,
        }
        let failures: Vec<String> = findings.iter().filter_map(Finding::failure).collect();
        let mut signers: Vec<Fingerprint> = findings.iter().filter_map(Finding::signer).collect();
        signers.sort_unstable();
        signers.dedup();
        match (signers.len(), failures.len()) {
            (0, 0) => return f.write_str(", and it has none"),
            (0, _) => f.write_str(": ")?,
            (signers, 0) => return write!(f, ", and it has {signers}"),
            (signers, _) => write!(f, ", and it has {signers}: ")?,
        }
        f.write_str(&failures[..failures.len().min(MAX_NAMED)].join("; "))?;
        match failures.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl Finding {
    /// The key whose signature was verified.
    #[must_use]
    pub fn signer(&self) -> Option<Fingerprint> {
        match self.outcome {
            Outcome::Verified { key, .. } => Some(key),
            Outcome::Failed(_) => None,
        }
    }

    fn failure(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Failed(failure) => Some(format!("{}: {failure}", self.item)),
            _ => None,
        }
    }
}
