//! One file of `registries.conf`, as written and as understood. What skua does not know is an error: it could be a rule that
//! was meant to protect.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::prefix::{self, Prefix};
use super::{Place, RegistriesError};
use crate::escape;
use crate::reference::Reference;
use crate::trust::TomlError;

/// What of a file counts.
pub(super) struct Written {
    pub(super) rules: Vec<Rule>,
    pub(super) helpers: Option<Vec<String>>,
}

/// A `[[registry]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) file: PathBuf,
    pub(super) prefix: Prefix,
    /// What stands in place of the prefix, if it is something else.
    pub(super) location: Option<String>,
    pub(super) insecure: bool,
    pub(super) blocked: bool,
    pub(super) mirrors: Vec<Mirror>,
}

/// A `[[registry.mirror]]` table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mirror {
    pub(super) location: String,
    pub(super) insecure: bool,
    pub(super) pull: Pull,
}

/// For which references a mirror is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Pull {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry: Vec<Table>,
    credential_helpers: Option<Vec<String>>,
    /// Version 1.
    registries: Option<IgnoredAny>,
    // There are no short names here, and no layer store of others: these change nothing.
    #[serde(rename = "unqualified-search-registries")]
    _search: Option<Vec<String>>,
    #[serde(rename = "short-name-mode")]
    _mode: Option<String>,
    #[serde(rename = "aliases")]
    _aliases: Option<IgnoredAny>,
    #[serde(rename = "additional-layer-store-auth-helper")]
    _layer_store: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Pull>,
}

impl Written {
    /// Parses and checks the content of `path`.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, RegistriesError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| RegistriesError::NotText(path.to_owned()))?
            .trim_start_matches('\u{feff}');
        let file: File = toml::from_str(text).map_err(|error| {
            RegistriesError::Toml(path.to_owned(), TomlError::new(&error, text))
        })?;
        if file.registries.is_some() {
            return Err(RegistriesError::VersionOne(path.to_owned()));
        }
        let mut rules: Vec<Rule> = Vec::new();
        for table in file.registry {
            let rule = Rule::new(path, table)?;
            match rules.iter().find(|known| known.prefix == rule.prefix) {
                None => rules.push(rule),
                Some(same) if *same == rule => {}
                Some(_) => {
                    return Err(RegistriesError::Twice {
                        file: path.to_owned(),
                        prefix: rule.prefix.to_string(),
                    });
                }
            }
        }
        Ok(Self {
            rules,
            helpers: file.credential_helpers,
        })
    }
}

impl Rule {
    fn new(file: &Path, table: Table) -> Result<Self, RegistriesError> {
        let refuse = |what, value: &str, why| RegistriesError::Value {
            file: file.to_owned(),
            what,
            value: escape::text(value.as_bytes()),
            why,
        };
        let location = table.location.filter(|location| !location.is_empty());
        let location = location
            .map(|text| location_of(&text).map_err(|why| refuse("location", &text, why)))
            .transpose()?;
        let given = table.prefix.filter(|prefix| !prefix.is_empty());
        let Some(given) = given.or_else(|| location.clone()) else {
            return Err(refuse(
                "[[registry]]",
                "",
                "has neither prefix nor location",
            ));
        };
        let prefix = Prefix::parse(&given).map_err(|why| refuse("prefix", &given, why))?;
        let mut mirrors = Vec::new();
        for mirror in table.mirror {
            let location = location_of(&mirror.location)
                .map_err(|why| refuse("mirror location", &mirror.location, why))?;
            let pull = match (table.mirror_by_digest_only, mirror.pull_from_mirror) {
                (true, Some(_)) => {
                    let why = "has pull-from-mirror beside mirror-by-digest-only";
                    return Err(refuse("mirror location", &mirror.location, why));
                }
                (true, None) => Pull::DigestOnly,
                (false, pull) => pull.unwrap_or_default(),
            };
            mirrors.push(Mirror {
                location,
                insecure: mirror.insecure,
                pull,
            });
        }
        Ok(Self {
            file: file.to_owned(),
            location: location.filter(|location| location != prefix.as_str()),
            prefix,
            insecure: table.insecure,
            blocked: table.blocked,
            mirrors,
        })
    }

    /// The place that a location makes of a name with this `rest`.
    pub(super) fn place(
        &self,
        location: &str,
        rest: &str,
        insecure: bool,
        own: &Place,
    ) -> Result<Place, RegistriesError> {
        let reference = Reference::parse(&format!("{location}{rest}")).map_err(|source| {
            RegistriesError::Rewrite {
                prefix: self.prefix.to_string(),
                file: self.file.clone(),
                source: Box::new(source),
            }
        })?;
        let is_own = reference.host == own.host && reference.repository == own.repository;
        Ok(Place {
            host: reference.host,
            repository: reference.repository,
            insecure,
            own: is_own,
        })
    }
}

fn location_of(given: &str) -> Result<String, &'static str> {
    let location = given.trim_end_matches('/');
    prefix::check(location)?;
    Ok(location.to_owned())
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        if self.blocked {
            return f.write_str(" (blocked)");
        }
        let last = match &self.location {
            Some(location) => Some(location.as_str()),
            None if self.prefix.is_wildcard() => None,
            None => Some(self.prefix.as_str()),
        };
        let mut separator = " ->";
        for mirror in &self.mirrors {
            write!(f, "{separator} {}{}", mirror.location, mirror.notes())?;
            separator = ",";
        }
        let note = if self.insecure { " (insecure)" } else { "" };
        match last {
            Some(last) if !self.mirrors.is_empty() || self.location.is_some() => {
                write!(f, "{separator} {last}{note}")
            }
            _ => f.write_str(note),
        }
    }
}

impl Mirror {
    fn notes(&self) -> &'static str {
        match (self.insecure, self.pull) {
            (false, Pull::All) => "",
            (false, Pull::DigestOnly) => " (digest-only)",
            (false, Pull::TagOnly) => " (tag-only)",
            (true, Pull::All) => " (insecure)",
            (true, Pull::DigestOnly) => " (insecure, digest-only)",
            (true, Pull::TagOnly) => " (insecure, tag-only)",
        }
    }
}
