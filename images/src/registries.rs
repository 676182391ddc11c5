//! containers' `registries.conf`, version 2: where the images of a name really are, and which names are blocked.
//!
//! ```text
//! /etc/containers/registries.conf          ~/.config/containers/registries.conf     one: the user's hides the other
//! /etc/containers/registries.conf.d/*.conf ~/.config/containers/registries.conf.d/  in order; the user's file hides /etc's
//! ```
//!
//! Nothing here has a say in trust: that concerns the name that was typed, wherever its bytes come from.

mod error;
mod prefix;
mod written;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

pub use error::RegistriesError;

use crate::reference::Reference;
use crate::small_file::{By, SmallFile};
use written::{Pull, Rule, Written};

const MAX_FILE: usize = 1024 * 1024;
const MAX_FILES: usize = 256;

/// The name that stands for the auth files in `credential-helpers`.
pub const AUTH_FILES: &str = "containers-auth.json";

/// Where the files are looked for.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Directories `containers`, the least important first; each may be missing.
    pub directories: Vec<PathBuf>,
    /// The only file to read, instead of all that.
    pub only: Option<PathBuf>,
}

/// The configuration in force.
#[derive(Debug, Default)]
pub struct Registries {
    files: Vec<PathBuf>,
    rules: Vec<Rule>,
    /// With the file that names them.
    helpers: Option<(Vec<String>, PathBuf)>,
}

/// One place where an image may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `host` or `host:port`.
    pub host: String,
    /// The repository.
    pub repository: String,
    /// Certificates are not checked there, and TLS is not needed.
    pub insecure: bool,
    /// It is the place that the name says.
    pub own: bool,
}

impl Registries {
    /// Reads all files that count.
    ///
    /// # Errors
    /// [`RegistriesError`]; files that are missing do not count, but one that is named expressly does.
    pub fn load(layers: &Layers) -> Result<Self, RegistriesError> {
        let mut registries = Self::default();
        if let Some(only) = &layers.only {
            if !registries.add(only)? {
                return Err(RegistriesError::Missing(only.clone()));
            }
            return Ok(registries);
        }
        // A link that leads nowhere counts: reading it fails.
        let main = |directory: &PathBuf| {
            directory.join("registries.conf").is_symlink()
                || directory.join("registries.conf").exists()
        };
        let first = layers.directories.iter().rposition(main).unwrap_or(0);
        let directories = &layers.directories[first..];
        if let Some(directory) = directories.first() {
            registries.add(&directory.join("registries.conf"))?;
        }
        for directory in directories {
            for file in drop_ins(&directory.join("registries.conf.d"))? {
                registries.add(&file)?;
            }
        }
        Ok(registries)
    }

    /// Reads one file, whose rules replace earlier ones of the same prefix. `false`: there is none.
    fn add(&mut self, path: &Path) -> Result<bool, RegistriesError> {
        let failed = |error| RegistriesError::Read(path.to_owned(), error);
        let file = SmallFile::find(path, By::Place).map_err(failed)?;
        let Some(file) = file else { return Ok(false) };
        let foreign = file.foreign();
        let bytes = file.bytes(MAX_FILE).map_err(failed)?;
        if self.files.len() == MAX_FILES {
            return Err(RegistriesError::TooMany(path.to_owned()));
        }
        let written = Written::parse(path, &bytes)?;
        for rule in written.rules {
            self.rules.retain(|known| known.prefix != rule.prefix);
            self.rules.push(rule);
        }
        if let Some(helpers) = written.helpers {
            let foreign = foreign.filter(|_| helpers.iter().any(|helper| helper != AUTH_FILES));
            if let Some(foreign) = foreign {
                return Err(RegistriesError::Helpers(path.to_owned(), foreign));
            }
            self.helpers = Some((helpers, path.to_owned()));
        }
        self.files.push(path.to_owned());
        Ok(true)
    }

    /// The files that were read, the most important last.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Each rule in one line, with the file that it stands in.
    pub fn summary(&self) -> impl Iterator<Item = (String, &Path)> {
        self.rules
            .iter()
            .map(|rule| (rule.to_string(), rule.file.as_path()))
    }

    /// Who knows credentials, in order.
    #[must_use]
    pub fn helpers(&self) -> Vec<String> {
        match &self.helpers {
            Some((helpers, _)) => helpers.clone(),
            None => vec![AUTH_FILES.to_owned()],
        }
    }

    /// The file that says who knows credentials, if one does.
    #[must_use]
    pub fn helpers_file(&self) -> Option<&Path> {
        self.helpers.as_ref().map(|(_, file)| file.as_path())
    }

    /// The places to ask for an image, in order.
    ///
    /// # Errors
    /// When the name is blocked, or a location and the rest of the name make no name together.
    pub fn places(&self, reference: &Reference) -> Result<Vec<Place>, RegistriesError> {
        let own = Place {
            host: reference.host.clone(),
            repository: reference.repository.clone(),
            insecure: false,
            own: true,
        };
        let name = format!("{}/{}", reference.host, reference.repository);
        let Some((rule, rest)) = self.rule(&name) else {
            return Ok(vec![own]);
        };
        if rule.blocked {
            return Err(RegistriesError::Blocked {
                prefix: rule.prefix.to_string(),
                file: rule.file.clone(),
            });
        }
        let pinned = reference.digest.is_some();
        let mut places = Vec::new();
        for mirror in &rule.mirrors {
            let wanted = match mirror.pull {
                Pull::All => true,
                Pull::DigestOnly => pinned,
                Pull::TagOnly => !pinned,
            };
            if wanted {
                places.push(rule.place(&mirror.location, rest, mirror.insecure, &own)?);
            }
        }
        places.push(match &rule.location {
            Some(location) => rule.place(location, rest, rule.insecure, &own)?,
            None => Place {
                insecure: rule.insecure,
                ..own
            },
        });
        Ok(places)
    }

    /// The rule with the longest prefix of `name`, and what of the name comes after that.
    fn rule<'a>(&self, name: &'a str) -> Option<(&Rule, &'a str)> {
        let matching = self.rules.iter();
        matching
            .filter_map(|rule| Some((rule, rule.prefix.rest(name)?)))
            .max_by_key(|(rule, _)| rule.prefix.length())
    }
}

/// The `*.conf` files of a directory, in the order of their names.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>, RegistriesError> {
    let failed = |error| RegistriesError::Directory(directory.to_owned(), error);
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !directory.is_symlink() => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension() == Some(OsStr::new("conf")) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests;
