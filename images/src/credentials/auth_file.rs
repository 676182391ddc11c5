//! One `auth.json` or `config.json`: which of its entries belongs to a repository.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credential, CredentialsError};
use crate::small_file::{By, Foreign, SmallFile};
use crate::strict_json;

const MAX_FILE: usize = 1024 * 1024;

/// What of a file counts.
#[derive(Default, Deserialize)]
pub(super) struct AuthFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    /// Programs, by registry or namespace.
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    /// The program that has what is not in the file.
    #[serde(default, rename = "credsStore")]
    store: String,
    /// Why no program that it names is run.
    #[serde(skip)]
    pub(super) foreign: Option<Foreign>,
}

/// Where a file says that the credential is.
pub(super) enum Match<'a> {
    Entry(&'a str, &'a Entry),
    Helper(&'a str),
    Nowhere,
}

/// Credentials in the file itself.
#[derive(Default, Deserialize)]
pub(super) struct Entry {
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

    /// The credential, if the entry makes sense.
    pub(super) fn credential(&self) -> Option<Credential> {
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

impl AuthFile {
    /// Reads a file; none when it is missing.
    pub(super) fn load(path: &Path) -> Result<Option<Self>, CredentialsError> {
        let failed = |error| CredentialsError::Read(path.to_owned(), error);
        let found = SmallFile::find(path, By::Place).map_err(failed)?;
        let Some(file) = found else { return Ok(None) };
        let foreign = file.foreign();
        let bytes = file.bytes(MAX_FILE).map_err(failed)?;
        let read: Self = strict_json::from_slice(&bytes, MAX_FILE)
            .map_err(|error| CredentialsError::Parse(path.to_owned(), error))?;
        Ok(Some(Self { foreign, ..read }))
    }

    /// What has the longest prefix of `host/repository`; of two with the same, the program.
    pub(super) fn find(&self, host: &str, repository: &str) -> Match<'_> {
        let wanted = format!("{host}/{repository}");
        let entries = self.auths.iter().filter(|(_, entry)| !entry.is_empty());
        let entry = longest(entries, &wanted);
        let helper = longest(self.helpers.iter(), &wanted);
        match (entry, helper) {
            (Some((_, key, entry)), None) => Match::Entry(key, entry),
            (Some((length, key, entry)), Some((of_helper, ..))) if length > of_helper => {
                Match::Entry(key, entry)
            }
            (_, Some((_, _, helper))) => Match::Helper(helper),
            (None, None) if self.store.is_empty() => Match::Nowhere,
            (None, None) => Match::Helper(&self.store),
        }
    }
}

fn longest<'a, T>(
    entries: impl Iterator<Item = (&'a String, &'a T)>,
    wanted: &str,
) -> Option<(usize, &'a str, &'a T)> {
    entries
        .map(|(key, value)| (normal(key), key, value))
        .filter(|(prefix, _, _)| is_path_prefix(prefix, wanted))
        .map(|(prefix, key, value)| (prefix.len(), key.as_str(), value))
        .max_by_key(|(length, _, _)| *length)
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
