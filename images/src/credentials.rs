//! Credentials for a repository, from containers' `auth.json`, Docker's `config.json`, and the programs that they name.
//!
//! Read by the coordinator, which may; only the one that matches is given to the registry worker.
//!
//! ```text
//! $REGISTRY_AUTH_FILE, or else the first that has a match of
//! $CREDENTIALS_DIRECTORY/skua.auth.json
//! $XDG_RUNTIME_DIR/containers/auth.json  $XDG_CONFIG_HOME/containers/auth.json (~/.config)
//! $DOCKER_CONFIG/config.json (~/.docker)
//! ```

mod auth_file;
mod complaints;
mod helper;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::registries::AUTH_FILES;
use crate::small_file::Foreign;
use crate::{escape, strict_json};
use auth_file::{AuthFile, Match};
pub use complaints::Complaint;
pub use helper::HelperError;

/// A user name and password, or an identity token that is exchanged for access tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Credential {
    /// For basic authentication, and to ask for tokens.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token of a token server.
    IdentityToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::IdentityToken(_) => "IdentityToken",
        })
    }
}

/// A credential, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// What is sent.
    pub credential: Credential,
    /// The file or the program that has it, for messages.
    pub origin: String,
}

/// As a message has it: whose it is, and where it was found.
impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = &self.origin;
        match &self.credential {
            Credential::Password { user, .. } => {
                write!(f, "user '{user}' with the password of {origin}")
            }
            Credential::IdentityToken(_) => write!(f, "the identity token of {origin}"),
        }
    }
}

/// Why credentials could not be read.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read credentials {0}")]
    Read(PathBuf, #[source] io::Error),
    /// The file is no auth file.
    #[error("cannot parse credentials {0}")]
    Parse(PathBuf, #[source] strict_json::JsonError),
    /// The entry of a registry is not base64 of `user:password`.
    #[error("cannot use credentials for {1} in {0}: `auth` is not base64 of user:password")]
    Entry(PathBuf, String),
    /// A file names a program, and others can have written it.
    #[error("refusing to run {1}, which {0} names: {2}")]
    Foreign(PathBuf, String, Foreign),
    /// A program does not give them.
    #[error("cannot get credentials for {host} from {program}")]
    Helper {
        /// The registry.
        host: String,
        /// The program, escaped.
        program: String,
        /// Why.
        #[source]
        source: HelperError,
    },
}

/// The auth files of this process, most important first.
#[must_use]
pub fn files(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let directory = |name: &str| {
        variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if let Some(only) = variable("REGISTRY_AUTH_FILE").filter(|file| !file.is_empty()) {
        return vec![PathBuf::from(only)];
    }
    let home = directory("HOME");
    let below_home = |path: &str| home.as_ref().map(|home| home.join(path));
    let config = directory("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let docker = directory("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    [
        directory("CREDENTIALS_DIRECTORY").map(|at| at.join("skua.auth.json")),
        directory("XDG_RUNTIME_DIR").map(|at| at.join("containers/auth.json")),
        config.map(|at| at.join("containers/auth.json")),
        docker.map(|at| at.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The credential for `host/repository`, of the first of `helpers` that has one. They are names of programs, and
/// [`AUTH_FILES`] for `files`: of the first file with a match the one with the longest prefix.
///
/// # Errors
/// When a file that exists cannot be read or understood, or a program fails; a missing file has no credentials.
pub fn find(
    files: &[PathBuf],
    helpers: &[String],
    host: &str,
    repository: &str,
) -> Result<Option<Login>, CredentialsError> {
    for helper in helpers {
        let found = if helper == AUTH_FILES {
            in_files(files, host, repository)?
        } else {
            ask(helper, host)?
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn in_files(
    files: &[PathBuf],
    host: &str,
    repository: &str,
) -> Result<Option<Login>, CredentialsError> {
    for path in files {
        let Some(file) = AuthFile::load(path)? else {
            continue;
        };
        let found = match file.find(host, repository) {
            Match::Entry(key, entry) => {
                let unusable =
                    || CredentialsError::Entry(path.clone(), escape::text(key.as_bytes()));
                Some(Login {
                    credential: entry.credential().ok_or_else(unusable)?,
                    origin: path.display().to_string(),
                })
            }
            Match::Helper(name) => match file.foreign {
                Some(foreign) => {
                    let program = helper::program(&escape::text(name.as_bytes()));
                    return Err(CredentialsError::Foreign(path.clone(), program, foreign));
                }
                None => ask(name, host)?,
            },
            Match::Nowhere => None,
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn ask(helper: &str, host: &str) -> Result<Option<Login>, CredentialsError> {
    let program = helper::program(&escape::text(helper.as_bytes()));
    match helper::credential(helper, host) {
        Ok(found) => Ok(found.map(|credential| Login {
            credential,
            origin: program,
        })),
        Err(source) => Err(CredentialsError::Helper {
            host: host.to_owned(),
            program,
            source,
        }),
    }
}

#[cfg(test)]
mod tests;
