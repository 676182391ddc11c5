//! What can be wrong with a trust policy.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::key::KeyError;
use super::scope::ScopeError;

/// A policy that cannot be used. Nothing is trusted then.
#[derive(Debug, Error)]
pub enum TrustError {
    /// A directory of policy files.
    #[error("cannot read trust policies in {}", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// A policy or key file.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file that should have a key.
    #[error("cannot read key {}", .0.display())]
    ReadKey(PathBuf, #[source] io::Error),
    /// A policy file that cannot be written.
    #[error("cannot write trust policy {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// A file or directory that somebody else owns.
    #[error("refusing {}: it belongs to user {}, neither root nor the caller", .0.display(), .1)]
    ForeignOwner(PathBuf, u32),
    /// A file or directory that others can write.
    #[error("refusing {}: its mode {:04o} lets others write it", .0.display(), .1)]
    Writable(PathBuf, u32),
    /// A directory with too many files.
    #[error("refusing {}: more than {} policy files", .0.display(), .1)]
    ManyFiles(PathBuf, usize),
    /// A file that is not UTF-8.
    #[error("refusing {}: not a text file", .0.display())]
    NotText(PathBuf),
    /// A policy file that is not of the form.
    #[error("cannot parse trust policy {}", .0.display())]
    Toml(PathBuf, #[source] TomlError),
    /// A scope that makes no sense.
    #[error("scope '{prefix}' in {}", .file.display())]
    Scope {
        /// The policy file.
        file: PathBuf,
        /// As written, escaped.
        prefix: String,
        /// What is wrong.
        #[source]
        source: ScopeError,
    },
    /// Two scopes for one prefix.
    #[error("scope '{prefix}' is both in {} and in {}", .first.display(), .second.display())]
    Twice {
        /// The prefix.
        prefix: String,
        /// A policy file.
        first: PathBuf,
        /// Another, or the same.
        second: PathBuf,
    },
    /// A key that cannot be used.
    #[error("unusable key in {}", .0.display())]
    Key(PathBuf, #[source] KeyError),
    /// There is no layer that could be written.
    #[error("no directory for trust policies is known")]
    NoLayer,
    /// A scope that another file has than the one that is to be written.
    #[error("scope '{}' is in {} already", .0, .1.display())]
    Elsewhere(String, PathBuf),
    /// What was imported before.
    #[error("there is an import already: {}", .0.display())]
    Imported(PathBuf),
    /// Fewer keys would be left than must have signed.
    #[error("scope '{prefix}' wants signatures by {threshold} keys, and would have {left}")]
    TooFewLeft {
        /// The prefix.
        prefix: String,
        /// How many must have signed.
        threshold: usize,
        /// How many keys would be left.
        left: usize,
    },
    /// A scope that asks for no signatures.
    #[error("scope '{}' in {} has another rule than \"signed\"", .0, .1.display())]
    OtherRule(String, PathBuf),
    /// A scope that is not there.
    #[error("there is no scope '{0}'")]
    NoScope(String),
    /// A key that a scope does not have.
    #[error("scope '{0}' has no key {1}")]
    NoKey(String, String),
    /// Keys that are the same key.
    #[error("a scope in {} has {} different keys for a threshold of {}", .0.display(), .1, .2)]
    FewKeys(PathBuf, usize, usize),
}

impl TrustError {
    /// That of a file that should have a key.
    pub(super) fn of_key(self) -> Self {
        match self {
            Self::Read(path, error) => Self::ReadKey(path, error),
            other => other,
        }
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Writable(path, _) => Some(format!("chmod go-w {}", path.display())),
            Self::ForeignOwner(path, _) => Some(format!(
                "copy it, or chown it to yourself or root: {}",
                path.display()
            )),
            Self::Elsewhere(_, file) | Self::OtherRule(_, file) => {
                Some(format!("edit {}, or remove it there first", file.display()))
            }
            Self::NoScope(_) | Self::NoKey(..) => {
                Some("'skua trust list' shows all scopes and their keys".to_owned())
            }
            Self::TooFewLeft { prefix, left, .. } => Some(format!(
                "first 'skua trust add --threshold {left} --prefix {prefix} KEY' with a key that stays, or remove the scope: \
                 'skua trust rm --prefix {prefix}'"
            )),
            Self::Imported(_) => Some(
                "'skua trust import --replace' takes all its scopes out, and those of the new file in".to_owned(),
            ),
            Self::Twice { .. } => Some("take one of them out".to_owned()),
            _ => None,
        }
    }

    /// The error and its causes in one line.
    pub(super) fn fmt_joined(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What is wrong with a TOML file, in one line.
#[derive(Debug, Error)]
#[error("line {line}: {message}")]
pub struct TomlError {
    line: usize,
    message: String,
}

impl TomlError {
    /// Of what the parser says about `text`.
    #[must_use]
    pub fn new(error: &toml::de::Error, text: &str) -> Self {
        let start = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..start]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        Self {
            line,
            message: crate::escape::text(error.message().as_bytes()),
        }
    }
}
