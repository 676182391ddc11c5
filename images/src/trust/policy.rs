//! The policy: all scopes of all layers of `trust.d`.
//!
//! ```text
//! /usr/lib/skua/trust.d/*.toml          the vendor's
//! /etc/skua/trust.d/*.toml              the administrator's
//! $XDG_CONFIG_HOME/skua/trust.d/*.toml  the user's; not for root
//! ```
//!
//! A file hides those of the same name in lower layers, an empty one just hides. Of two scopes with one prefix that of the
//! higher layer counts; in one layer they are an error, because nobody could say which was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::file::{Directory, Found};
use super::scope::{File, Scope};
use super::{TomlError, TrustError};

/// The most bytes that a policy file may have.
pub(super) const MAX_FILE: u64 = 1 << 20;
/// The most files that a layer may have.
const MAX_FILES: usize = 1024;

/// Which images may run.
#[derive(Debug, Default)]
pub struct Policy {
    /// Longest prefix first.
    scopes: Vec<Scope>,
}

impl Policy {
    /// Reads the layers of `trust.d`, lowest precedence first; each may be missing.
    ///
    /// # Errors
    /// [`TrustError`]: an unreadable, malformed or writable file is never skipped, since it may hold a rejection.
    pub fn load(directories: &[PathBuf]) -> Result<Self, TrustError> {
        let mut hidden = BTreeSet::new();
        let mut scopes = BTreeMap::new();
        for layer in directories.iter().rev() {
            let Some(directory) = Directory::open(layer)? else {
                continue;
            };
            if directory.names.len() > MAX_FILES {
                return Err(TrustError::ManyFiles(layer.clone(), MAX_FILES));
            }
            let mut found = BTreeMap::new();
            for name in &directory.names {
                if hidden.insert(name.clone()) {
                    let path = layer.join(name);
                    let text = directory.read(name, &path, MAX_FILE)?;
                    add(&mut found, scopes_of(text, &path)?)?;
                }
            }
            for (prefix, scope) in found {
                scopes.entry(prefix).or_insert(scope);
            }
        }
        let mut scopes: Vec<Scope> = scopes.into_values().collect();
        scopes.sort_by_key(|scope| std::cmp::Reverse(scope.prefix.length()));
        Ok(Self { scopes })
    }

    /// Every scope in force, longest prefix first.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.scopes.iter()
    }

    /// The scope that decides about images of that identity.
    #[must_use]
    pub fn scope_of(&self, identity: &str) -> Option<&Scope> {
        self.scopes
            .iter()
            .find(|scope| scope.prefix.covers(identity))
    }
}

/// Parses a policy file.
pub(super) fn parse(text: &str, path: &Path) -> Result<File, TrustError> {
    toml::from_str(text).map_err(|e| TrustError::Toml(path.to_owned(), TomlError::new(&e, text)))
}

fn scopes_of(found: Found, path: &Path) -> Result<Vec<Scope>, TrustError> {
    match found {
        Found::Mask => Ok(Vec::new()),
        Found::Text(text) => parse(&text, path)?
            .scope
            .into_iter()
            .map(|entry| Scope::new(entry, path))
            .collect(),
    }
}

/// Adds scopes of one layer, each prefix once.
fn add(layer: &mut BTreeMap<String, Scope>, scopes: Vec<Scope>) -> Result<(), TrustError> {
    for scope in scopes {
        if let Some(other) = layer.get(scope.prefix.as_str()) {
            return Err(TrustError::Twice {
                prefix: scope.prefix.to_string(),
                first: other.file.clone(),
                second: scope.file,
            });
        }
        layer.insert(scope.prefix.as_str().to_owned(), scope);
    }
    Ok(())
}
