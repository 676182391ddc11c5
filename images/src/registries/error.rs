//! Why `registries.conf` cannot be used, or forbids what was asked for.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::reference::ReferenceError;
use crate::small_file::Foreign;
use crate::trust::TomlError;

/// A failed step of reading or applying `registries.conf`.
#[derive(Debug, Error)]
pub enum RegistriesError {
    /// The file that was named expressly is not there.
    #[error("cannot find {}, which CONTAINERS_REGISTRIES_CONF names", .0.display())]
    Missing(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// A file names programs, and others can have written it.
    #[error("refusing the credential-helpers of {}: {}", .0.display(), .1)]
    Helpers(PathBuf, Foreign),
    /// A directory of drop-ins cannot be listed.
    #[error("cannot list {}", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// There are too many files.
    #[error("cannot read {}: there are more than 256 files before it", .0.display())]
    TooMany(PathBuf),
    /// A file is not UTF-8.
    #[error("cannot parse {}: it is not UTF-8", .0.display())]
    NotText(PathBuf),
    /// A file is not TOML of the known form.
    #[error("cannot parse {}", .0.display())]
    Toml(PathBuf, #[source] TomlError),
    /// It is of the first version of the format.
    #[error(
        "cannot use {}: it is of version 1 ([registries.search] and the like); write [[registry]] tables", .0.display()
    )]
    VersionOne(PathBuf),
    /// A rule says something that cannot be done.
    #[error("cannot use {}: {what} '{value}' {why}", .file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// The key.
        what: &'static str,
        /// What it says, escaped.
        value: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// Two tables of a file have one prefix and say different things.
    #[error("cannot use {}: two [[registry]] tables of '{prefix}' differ", .file.display())]
    Twice {
        /// The file.
        file: PathBuf,
        /// The prefix.
        prefix: String,
    },
    /// The name must not be fetched.
    #[error("'{prefix}' is blocked by {}", .file.display())]
    Blocked {
        /// What is blocked.
        prefix: String,
        /// Who says so.
        file: PathBuf,
    },
    /// A location with the rest of the name is no name.
    #[error("cannot apply '{prefix}' of {}", .file.display())]
    Rewrite {
        /// The rule.
        prefix: String,
        /// Its file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Box<ReferenceError>,
    },
}

impl RegistriesError {
    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Blocked { .. } => {
                Some("skua config lists the rules in force and their files".to_owned())
            }
            Self::Helpers(_, foreign) => Some(foreign.hint().to_owned()),
            _ => None,
        }
    }
}
