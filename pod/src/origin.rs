//! Who asked for what is in a manifest, so that a plan can be explained.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Who asked for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// Skua itself, for every pod.
    BuiltIn,
    /// A file of the host's configuration.
    HostPolicy,
    /// The app's image.
    Image,
    /// The command line that made the pod.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BuiltIn => "built in",
            Self::HostPolicy => "host policy",
            Self::Image => "image",
            Self::CommandLine => "command line",
        })
    }
}

/// The origin of each field that somebody asked for; what is not named is built in. It decides nothing.
///
/// A key is the name of a field, or of a field and one of its elements: `user`, `environment.PATH`, `mounts./data`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    /// Who asked for the field.
    #[must_use]
    pub fn of(&self, field: &str) -> Origin {
        self.0.get(field).copied().unwrap_or(Origin::BuiltIn)
    }

    /// Who asked for an element of the field.
    #[must_use]
    pub fn of_element(&self, field: &str, element: &str) -> Origin {
        self.of(&format!("{field}.{element}"))
    }

    /// Records who asked for the field.
    pub fn set(&mut self, field: &str, origin: Origin) {
        self.0.insert(field.to_owned(), origin);
    }

    /// Records who asked for an element of the field.
    pub fn set_element(&mut self, field: &str, element: &str, origin: Origin) {
        self.set(&format!("{field}.{element}"), origin);
    }

    /// Nothing is recorded, as in a manifest of an older skua.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
