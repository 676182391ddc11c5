//! Credentials for a repository, from containers' `auth.json` and Docker's `config.json`.
//!
//! Read by the coordinator, which may; only the one that matches is given to the registry worker.
//!
//! ```text
//! $REGISTRY_AUTH_FILE, or else the first that has a match of
//! $XDG_RUNTIME_DIR/containers/auth.json  $XDG_CONFIG_HOME/containers/auth.json (~/.config)
//! $DOCKER_CONFIG/config.json (~/.docker)
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::strict_json;

const MAX_FILE: usize = 1024 * 1024;

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
        directory("XDG_RUNTIME_DIR").map(|at| at.join("containers/auth.json")),
        config.map(|at| at.join("containers/auth.json")),
        docker.map(|at| at.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The credential for `host/repository`: of the first file with a match the one with the longest prefix.
///
/// # Errors
/// When a file that exists cannot be read or understood; a missing file has no credentials.
pub fn find(
    files: &[PathBuf],
    host: &str,
    repository: &str,
) -> Result<Option<Credential>, CredentialsError> {
    for file in files {
        let Some(auths) = load(file)? else { continue };
        if let Some((key, entry)) = best(&auths, host, repository) {
            return entry
                .credential()
                .ok_or_else(|| {
                    CredentialsError::Entry(file.clone(), key.escape_debug().to_string())
                })
                .map(Some);
        }
    }
    Ok(None)
}

#[derive(Default, Deserialize)]
struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
}

impl Entry {
    /// Docker leaves an empty entry where a credential helper has the secret.
    fn is_empty(&self) -> bool {
        [&self.auth, &self.username, &self.identity_token]
            .iter()
            .all(|field| field.as_deref().unwrap_or_default().is_empty())
    }

    fn credential(&self) -> Option<Credential> {
        if let Some(token) = self
            .identity_token
            .as_ref()
            .filter(|token| !token.is_empty())
        {
            return Some(Credential::IdentityToken(token.clone()));
        }
        if let (Some(user), Some(password)) = (&self.username, &self.password) {
            return Some(Credential::Password {
                user: user.clone(),
                password: password.clone(),
            });
        }
        let decoded = STANDARD.decode(self.auth.as_ref()?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Credential::Password {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        })
    }
}

fn load(path: &Path) -> Result<Option<BTreeMap<String, Entry>>, CredentialsError> {
    let failed = |error| CredentialsError::Read(path.to_owned(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let parsed: AuthFile = strict_json::from_slice(&bytes, MAX_FILE)
        .map_err(|error| CredentialsError::Parse(path.to_owned(), error))?;
    Ok(Some(parsed.auths))
}

fn best<'a>(
    auths: &'a BTreeMap<String, Entry>,
    host: &str,
    repository: &str,
) -> Option<(&'a str, &'a Entry)> {
    let wanted = format!("{host}/{repository}");
    auths
        .iter()
        .filter(|(_, entry)| !entry.is_empty())
        .map(|(key, entry)| (normal(key), key, entry))
        .filter(|(prefix, _, _)| is_path_prefix(prefix, &wanted))
        .max_by_key(|(prefix, _, _)| prefix.len())
        .map(|(_, key, entry)| (key.as_str(), entry))
}

/// The name of a registry or repository as references write it. Docker keeps keys such as `https://index.docker.io/v1/`.
fn normal(key: &str) -> String {
    let (bare, is_url) = match key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
    {
        Some(rest) => (rest, true),
        None => (key, false),
    };
    let bare = bare.trim_end_matches('/');
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    };
    if path.is_empty() || (is_url && matches!(path, "v1" | "v2")) {
        host.to_owned()
    } else {
        format!("{host}/{path}")
    }
}

fn is_path_prefix(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth_file(directory: &Path, json: &str) -> PathBuf {
        let path = directory.join("auth.json");
        std::fs::write(&path, json).unwrap();
        path
    }

    fn user(found: Option<Credential>) -> Option<String> {
        found.map(|credential| match credential {
            Credential::Password { user, .. } => user,
            Credential::IdentityToken(token) => format!("token {token}"),
        })
    }

    #[test]
    fn the_longest_prefix_at_a_boundary_wins() {
        let directory = tempfile::tempdir().unwrap();
        let encoded = |user: &str| STANDARD.encode(format!("{user}:secret:with:colons"));
        let file = auth_file(
            directory.path(),
            &format!(
                r#"{{"auths":{{
                    "quay.io":{{"auth":"{}"}},
                    "quay.io/org":{{"auth":"{}"}},
                    "quay.io/org/repo":{{"auth":"{}"}},
                    "https://index.docker.io/v1/":{{"auth":"{}"}},
                    "helper.example":{{}},
                    "token.example":{{"auth":"eA==","identitytoken":"t"}},
                    "plain.example:5000":{{"username":"plain","password":"p"}}
                }},"credsStore":"x"}}"#,
                encoded("host"),
                encoded("org"),
                encoded("repo"),
                encoded("hub"),
            ),
        );
        for (host, repository, expected) in [
            ("quay.io", "other", Some("host")),
            ("quay.io", "org/x", Some("org")),
            ("quay.io", "organisation", Some("host")),
            ("quay.io", "org/repo", Some("repo")),
            ("quay.io", "org/repo/deeper", Some("repo")),
            ("docker.io", "library/debian", Some("hub")),
            ("helper.example", "x", None),
            ("token.example", "x", Some("token t")),
            ("plain.example:5000", "x", Some("plain")),
            ("plain.example", "x", None),
            ("evil-quay.io", "org", None),
            ("quay.io.evil", "org", None),
        ] {
            let found = find(std::slice::from_ref(&file), host, repository).unwrap();
            assert_eq!(user(found).as_deref(), expected, "{host}/{repository}");
        }
        let found = find(&[file], "quay.io", "org").unwrap();
        assert!(
            matches!(found, Some(Credential::Password { password, .. }) if password == "secret:with:colons")
        );
    }

    #[test]
    fn a_missing_file_is_no_error_and_a_broken_one_is() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        assert_eq!(find(&[missing], "h", "r").unwrap(), None);
        let twice = auth_file(directory.path(), r#"{"auths":{"h":{},"h":{}}}"#);
        assert!(matches!(
            find(&[twice], "h", "r"),
            Err(CredentialsError::Parse(..))
        ));
        let garbled = auth_file(directory.path(), r#"{"auths":{"h":{"auth":"%%%"}}}"#);
        assert!(matches!(
            find(&[garbled], "h", "r"),
            Err(CredentialsError::Entry(..))
        ));
    }

    #[test]
    fn an_explicit_file_hides_the_others() {
        let lookup = |explicit: &'static str| {
            move |name: &str| match name {
                "REGISTRY_AUTH_FILE" => Some(OsString::from(explicit)),
                "HOME" => Some("/home/u".into()),
                "XDG_RUNTIME_DIR" => Some("relative".into()),
                _ => None,
            }
        };
        assert_eq!(files(lookup("x.json")), [PathBuf::from("x.json")]);
        assert_eq!(
            files(lookup("")),
            [
                PathBuf::from("/home/u/.config/containers/auth.json"),
                PathBuf::from("/home/u/.docker/config.json")
            ]
        );
    }

    #[test]
    fn secrets_do_not_show_in_debug_output() {
        let secret = Credential::Password {
            user: "u".into(),
            password: "hunter2".into(),
        };
        assert_eq!(format!("{secret:?}"), "Password");
    }
}
