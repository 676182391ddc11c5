//! One scope of a policy: which names, which rule. The form of the files in `trust.d`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::file::{self, Found};
use super::key::{MAX_KEY_TEXT, PublicKey};
use super::prefix::{Prefix, PrefixError};
use super::{TrustError, TrustError::Scope as ScopeFailed};
use crate::small_file::By;

/// The most keys that one scope may have.
const MAX_KEYS: usize = 64;

/// A file of `trust.d`, as written.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) scope: Vec<Entry>,
}

/// A `[[scope]]`, as written.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Entry {
    pub(super) prefix: String,
    pub(super) rule: RuleName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed_as: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threshold: Option<usize>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) keys: Vec<String>,
}

/// The name of a rule in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RuleName {
    Signed,
    DigestPinned,
    Reject,
    InsecureAcceptAnything,
}

/// What is wrong with a scope.
#[derive(Debug, Error)]
pub enum ScopeError {
    /// Its prefix.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// `keys`, `threshold` or `signed-as` without signatures.
    #[error("'keys', 'threshold' and 'signed-as' go only with rule = \"signed\"")]
    KeysWithoutSigned,
    /// No keys, or too many.
    #[error("rule = \"signed\" needs 1 to {MAX_KEYS} keys")]
    KeyCount,
    /// A threshold that can never or always be met.
    #[error("a threshold of {0} with {1} keys")]
    Threshold(usize, usize),
}

/// Names below a prefix, and the rule for them.
#[derive(Debug)]
pub struct Scope {
    /// The names.
    pub prefix: Prefix,
    /// The rule.
    pub rule: Rule,
    /// The file that says so.
    pub file: PathBuf,
}

/// When an image of a scope may run.
#[derive(Debug)]
pub enum Rule {
    /// Enough keys have signed it.
    Signed(Signed),
    /// The reference has the digest in it.
    DigestPinned,
    /// Never.
    Reject,
    /// Always.
    InsecureAcceptAnything,
}

/// Whose signatures are wanted.
#[derive(Debug)]
pub struct Signed {
    /// As many different keys must have signed.
    pub threshold: usize,
    /// The repository that signatures name, instead of the scope's prefix: for mirrors and local images.
    pub signed_as: Option<Prefix>,
    pub(super) keys: Vec<String>,
}

impl Scope {
    /// Checks an entry of `file`. Keys are looked at when they are needed.
    pub(super) fn new(entry: Entry, file: &Path) -> Result<Self, TrustError> {
        let given = entry.prefix.clone();
        checked(entry, file).map_err(|e| ScopeFailed {
            file: file.to_owned(),
            prefix: crate::escape::text(given.as_bytes()),
            source: e,
        })
    }
}

fn checked(entry: Entry, file: &Path) -> Result<Scope, ScopeError> {
    let prefix = Prefix::parse(&entry.prefix)?;
    let has_keys = !entry.keys.is_empty() || entry.threshold.is_some() || entry.signed_as.is_some();
    let rule = match entry.rule {
        RuleName::Signed => Rule::Signed(signed(entry)?),
        _ if has_keys => return Err(ScopeError::KeysWithoutSigned),
        RuleName::DigestPinned => Rule::DigestPinned,
        RuleName::Reject => Rule::Reject,
        RuleName::InsecureAcceptAnything => Rule::InsecureAcceptAnything,
    };
    Ok(Scope {
        prefix,
        rule,
        file: file.to_owned(),
    })
}

fn signed(entry: Entry) -> Result<Signed, ScopeError> {
    let (threshold, count) = (entry.threshold.unwrap_or(1), entry.keys.len());
    if count == 0 || count > MAX_KEYS {
        return Err(ScopeError::KeyCount);
    }
    if threshold == 0 || threshold > count {
        return Err(ScopeError::Threshold(threshold, count));
    }
    let signed_as = entry.signed_as.as_deref().map(Prefix::parse).transpose()?;
    Ok(Signed {
        threshold,
        signed_as,
        keys: entry.keys,
    })
}

impl Signed {
    /// How many keys the policy gives.
    #[must_use]
    pub fn given(&self) -> usize {
        self.keys.len()
    }

    /// The keys, each once, read from their files where the scope gives a path.
    ///
    /// # Errors
    /// [`TrustError::Key`] for a text that is no key, and the errors of reading a key file.
    pub fn keys(&self, policy: &Path) -> Result<Vec<PublicKey>, TrustError> {
        let mut keys: Vec<PublicKey> = Vec::with_capacity(self.keys.len());
        for given in &self.keys {
            let key = written_key(given, policy)?;
            if keys
                .iter()
                .all(|known| known.fingerprint() != key.fingerprint())
            {
                keys.push(key);
            }
        }
        if keys.len() < self.threshold {
            return Err(TrustError::FewKeys(
                policy.to_owned(),
                keys.len(),
                self.threshold,
            ));
        }
        Ok(keys)
    }
}

/// A key that a policy gives as text or as the absolute path of a file.
pub(super) fn written_key(given: &str, policy: &Path) -> Result<PublicKey, TrustError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |e| TrustError::Key(path, e)
    };
    if !given.starts_with('/') {
        return PublicKey::parse(given).map_err(failed(policy));
    }
    read_key(Path::new(given), By::Place, None)
}

/// Reads the public key in the file at `path`. It may belong to root, to the caller, or to `invoker`, who became the caller.
///
/// # Errors
/// [`TrustError`] when the file cannot be read, could have been written by others, or holds no public key.
pub fn read_key(path: &Path, by: By, invoker: Option<u32>) -> Result<PublicKey, TrustError> {
    let read = file::read_of(path, MAX_KEY_TEXT as u64, by, invoker);
    let text = match read.map_err(TrustError::of_key)? {
        Found::Text(text) => text,
        Found::Mask => String::new(),
    };
    PublicKey::parse(&text).map_err(|e| TrustError::Key(path.to_owned(), e))
}

impl Rule {
    /// The rule's name, as it is written in a policy.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Signed(_) => RuleName::Signed,
            Self::DigestPinned => RuleName::DigestPinned,
            Self::Reject => RuleName::Reject,
            Self::InsecureAcceptAnything => RuleName::InsecureAcceptAnything,
        }
        .as_str()
    }
}

impl RuleName {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::DigestPinned => "digest-pinned",
            Self::Reject => "reject",
            Self::InsecureAcceptAnything => "insecure-accept-anything",
        }
    }
}
