//! Changing a policy: the scopes that `skua trust add` keeps in the highest layer of `trust.d`, one file for each prefix.
//!
//! The file has the keys themselves in it, not their paths: what was checked when it was added is what is trusted.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::file::{self, Found};
use super::key::{Fingerprint, PublicKey};
use super::policy::{self, MAX_FILE, Policy};
use super::scope::{Entry, File, RuleName, Scope, read_key, written_key};
use super::written::{self, Layer};
use super::{Prefix, Rule, TrustError};
use crate::small_file::By;

const HEADER: &str =
    "# Written by 'skua trust add'. What is changed here counts from the next run on.\n";

/// The scope of `skua trust add` for one prefix, locked against other writers until it is dropped.
pub struct Editor {
    prefix: Prefix,
    path: PathBuf,
    file: File,
    index: usize,
    /// Scopes of the same prefix in a lower layer, hidden by ours.
    hides: Option<PathBuf>,
    heir: Option<Heir>,
    layer: Layer,
}

/// The scope that decides about images of a prefix when its own is gone.
#[derive(Clone, Debug)]
pub struct Heir {
    /// Its prefix, the same or a shorter one.
    pub prefix: String,
    /// The name of its rule.
    pub rule: &'static str,
    /// Its file.
    pub file: PathBuf,
    rejects: bool,
}

impl Heir {
    fn new(scope: &Scope) -> Self {
        Self {
            prefix: scope.prefix.to_string(),
            rule: scope.rule.name(),
            file: scope.file.clone(),
            rejects: matches!(scope.rule, Rule::Reject),
        }
    }
}

impl Editor {
    /// Opens the scope of `prefix` in the last of `layers`, an empty one when there is none.
    ///
    /// # Errors
    /// [`TrustError::Elsewhere`] when another file of the layer has it; the errors of reading policies.
    pub fn open(layers: &[PathBuf], prefix: Prefix) -> Result<Self, TrustError> {
        let layer = Layer::lock(layers)?;
        let path = layer.directory.join(file_name(&prefix));
        let same = |scope: &&Scope| scope.prefix == prefix && scope.file != path;
        let policy = Policy::load(layers)?;
        if let Some(scope) = policy
            .scopes()
            .filter(same)
            .find(|scope| layer.has(&scope.file))
        {
            return Err(TrustError::Elsewhere(
                prefix.to_string(),
                scope.file.clone(),
            ));
        }
        let lower = Policy::load(&layers[..layers.len() - 1])?;
        let hidden = lower.scopes().find(same);
        let wider = |scope: &&Scope| scope.prefix != prefix && scope.prefix.covers(prefix.as_str());
        let heir = hidden
            .or_else(|| policy.scopes().find(wider))
            .map(Heir::new);
        let hides = hidden.map(|scope| scope.file.clone());
        let file = match file::read(&path, MAX_FILE) {
            Ok(Found::Text(text)) => policy::parse(&text, &path)?,
            Ok(Found::Mask) => File::default(),
            Err(TrustError::Read(_, e)) if e.kind() == io::ErrorKind::NotFound => File::default(),
            Err(e) => return Err(e),
        };
        let ours = |entry: &Entry| Prefix::parse(&entry.prefix).is_ok_and(|p| p == prefix);
        let index = file.scope.iter().position(ours).unwrap_or(file.scope.len());
        Ok(Self {
            prefix,
            path,
            file,
            index,
            hides,
            heir,
            layer,
        })
    }

    /// The file that is written.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a lower layer with a scope of this prefix, which ours hides as long as it exists.
    #[must_use]
    pub fn hides(&self) -> Option<&Path> {
        self.hides.as_deref()
    }

    /// The scope that decides when this one is gone.
    #[must_use]
    pub fn heir(&self) -> Option<&Heir> {
        self.heir.as_ref()
    }

    /// The keys of the scope.
    ///
    /// # Errors
    /// [`TrustError`] when one of them is unusable.
    pub fn keys(&self) -> Result<Vec<PublicKey>, TrustError> {
        match self.file.scope.get(self.index) {
            Some(entry) => entry
                .keys
                .iter()
                .map(|key| written_key(key, &self.path))
                .collect(),
            None => Ok(Vec::new()),
        }
    }

    /// Adds keys that are not there, and sets what is given.
    ///
    /// # Errors
    /// [`TrustError`] when the scope has another rule than `signed` or would make no sense.
    pub fn add(
        &mut self,
        keys: &[PublicKey],
        threshold: Option<usize>,
        signed_as: Option<&Prefix>,
    ) -> Result<(), TrustError> {
        let known: Vec<Fingerprint> = self.keys()?.iter().map(PublicKey::fingerprint).collect();
        if self.index == self.file.scope.len() {
            self.file.scope.push(Entry {
                prefix: self.prefix.to_string(),
                rule: RuleName::Signed,
                signed_as: None,
                threshold: None,
                keys: Vec::new(),
            });
        }
        let entry = &mut self.file.scope[self.index];
        // What is left of a scope whose last key was taken out.
        if entry.rule == RuleName::Reject {
            entry.rule = RuleName::Signed;
        }
        if entry.rule != RuleName::Signed {
            return Err(TrustError::OtherRule(
                self.prefix.to_string(),
                self.path.clone(),
            ));
        }
        for key in keys {
            let text = key.to_text();
            if !known.contains(&key.fingerprint()) && !entry.keys.contains(&text) {
                entry.keys.push(text);
            }
        }
        entry.threshold = threshold.or(entry.threshold);
        entry.signed_as = signed_as.map(Prefix::to_string).or(entry.signed_as.take());
        self.save()
    }

    /// Takes keys out. With the last one the scope goes, unless another would then decide and not reject: who takes a key away wants to
    /// trust less, so the scope stays and rejects. Keys are named by files or by fingerprints, of which eight digits are enough.
    ///
    /// # Errors
    /// [`TrustError`] when a key is not there, or fewer keys would be left than the threshold asks for.
    pub fn remove(&mut self, named: &[String]) -> Result<Vec<PublicKey>, TrustError> {
        let (entry, keys) = (self.index, self.keys()?);
        let mut gone: Vec<usize> = Vec::new();
        for name in named {
            let fingerprint = match is_fingerprint(name) {
                true => name.strip_prefix("sha256:").unwrap_or(name).to_owned(),
                false => read_key(Path::new(name), By::CommandLine, None)?
                    .fingerprint()
                    .hex(),
            };
            let same = |key: &PublicKey| key.fingerprint().hex().starts_with(&fingerprint);
            let found = (0..keys.len()).filter(|at| same(&keys[*at]));
            let before = gone.len();
            gone.extend(found);
            if gone.len() == before {
                let shown = crate::escape::text(name.as_bytes());
                return Err(TrustError::NoKey(self.prefix.to_string(), shown));
            }
        }
        if let Some(entry) = self.file.scope.get_mut(entry) {
            let mut at = 0..;
            entry
                .keys
                .retain(|_| at.next().is_some_and(|at| !gone.contains(&at)));
            match (entry.keys.len(), entry.threshold.unwrap_or(1)) {
                (0, _) if self.heir.as_ref().is_some_and(|heir| !heir.rejects) => {
                    entry.rule = RuleName::Reject;
                    (entry.threshold, entry.signed_as) = (None, None);
                    self.save()?;
                }
                (0, _) => self.remove_scope()?,
                (left, threshold) if left < threshold => {
                    let prefix = self.prefix.to_string();
                    return Err(TrustError::TooFewLeft {
                        prefix,
                        threshold,
                        left,
                    });
                }
                _ => self.save()?,
            }
        }
        let is_gone = |(at, key)| gone.contains(&at).then_some(key);
        Ok(keys.into_iter().enumerate().filter_map(is_gone).collect())
    }

    /// Takes the whole scope out.
    ///
    /// # Errors
    /// [`TrustError`] when the file cannot be written or removed.
    pub fn remove_scope(&mut self) -> Result<(), TrustError> {
        if self.index < self.file.scope.len() {
            self.file.scope.remove(self.index);
        }
        if self.file.scope.is_empty() {
            return written::remove(&self.path)
                .map_err(|e| TrustError::Write(self.path.clone(), e));
        }
        self.save()
    }

    /// Whether the scope rejects all that it is about.
    #[must_use]
    pub fn rejects(&self) -> bool {
        let entry = self.file.scope.get(self.index);
        entry.is_some_and(|entry| entry.rule == RuleName::Reject)
    }

    /// Fails when there is no scope that could be changed.
    ///
    /// # Errors
    /// [`TrustError::Elsewhere`] or [`TrustError::NoScope`].
    pub fn must_exist(&self) -> Result<(), TrustError> {
        if self.index < self.file.scope.len() {
            return Ok(());
        }
        let prefix = self.prefix.to_string();
        Err(match &self.hides {
            Some(file) => TrustError::Elsewhere(prefix, file.clone()),
            None => TrustError::NoScope(prefix),
        })
    }

    fn save(&self) -> Result<(), TrustError> {
        self.layer.write(&self.path, HEADER, &self.file)
    }
}

/// A file name for a prefix, no two the same: what is not plain is written as `%XX`, `/` as `+`.
fn file_name(prefix: &Prefix) -> OsString {
    let mut name = String::new();
    for byte in prefix.as_str().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b':' => {
                name.push(char::from(byte));
            }
            b'/' => name.push('+'),
            other => name.push_str(&format!("%{other:02X}")),
        }
    }
    if name.len() > 200 {
        name = format!("{}%", crate::digest::Digest::of(name.as_bytes()).hex());
    }
    OsString::from(format!("{name}.toml"))
}

/// Eight digits or more of a fingerprint, with or without the name of its algorithm.
fn is_fingerprint(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    (8..=64).contains(&digits.len())
        && digits
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
