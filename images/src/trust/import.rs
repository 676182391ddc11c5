//! Import of containers' `policy.json` (podman, skopeo): what has the same meaning here becomes scopes, and what has not is an error.
//!
//! | there | here |
//! |---|---|
//! | `default`, transport `docker` scope `""` | prefix `*`, and `oci:` … where they differ |
//! | transports `docker`, `oci`, `oci-archive`, `docker-archive` | prefixes |
//! | `insecureAcceptAnything`, `reject` | the rules of those names |
//! | `sigstoreSigned` with keys | `signed`; several of one key each: a threshold of all |
//! | `remapIdentity` from the scope itself | `signed-as` |
//! | `signedBy`, Fulcio, Rekor, wildcards, tags, other identities | an error |
//!
//! The other transports are of images that do not exist here, and are left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Deserialize;
use thiserror::Error;

use super::key::KeyError;
use super::prefix::{LOCAL, Prefix, PrefixError};
use super::scope::{Entry, File, RuleName, read_key};
use super::written::Layer;
use super::{PublicKey, TrustError};
use crate::escape;
use crate::small_file::By;
use crate::strict_json::{self, JsonError};

/// The most bytes of a `policy.json`.
const MAX_POLICY: usize = 4 << 20;

/// Why a `policy.json` cannot be imported.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It is not of the form.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Something that has no counterpart.
    #[error("scope '{scope}' of transport {transport}")]
    Unsupported {
        /// The transport, or `default`.
        transport: String,
        /// The scope, escaped.
        scope: String,
        /// What it is.
        #[source]
        what: Unsupported,
    },
}

/// What of a scope has no counterpart here.
#[derive(Debug, Error)]
pub enum Unsupported {
    /// Its name.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// A key.
    #[error("its key is unusable: {0}")]
    Key(KeyError),
    /// A key file.
    #[error(transparent)]
    KeyFile(#[from] Box<TrustError>),
    /// A key that is not base64.
    #[error("its keyData is not base64")]
    KeyData,
    /// Signatures of GnuPG.
    #[error("GnuPG signatures ('signedBy') are not supported")]
    SignedBy,
    /// Certificates or transparency logs.
    #[error("signatures with certificates or transparency logs are not supported")]
    Keyless,
    /// An identity that cannot be said here.
    #[error("signedIdentity '{0}' has no counterpart")]
    Identity(&'static str),
    /// Requirements that cannot hold together here.
    #[error("this combination of requirements has no counterpart")]
    Combination,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

#[derive(Clone, Deserialize)]
#[serde(tag = "type", deny_unknown_fields, rename_all = "camelCase")]
enum Requirement {
    InsecureAcceptAnything,
    Reject,
    SignedBy(serde::de::IgnoredAny),
    SigstoreSigned(Box<Sigstore>),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Sigstore {
    key_path: Option<PathBuf>,
    key_paths: Option<Vec<PathBuf>>,
    key_data: Option<String>,
    key_datas: Option<Vec<String>>,
    fulcio: Option<serde::de::IgnoredAny>,
    pki: Option<serde::de::IgnoredAny>,
    rekor_public_key_path: Option<serde::de::IgnoredAny>,
    rekor_public_key_paths: Option<serde::de::IgnoredAny>,
    rekor_public_key_data: Option<serde::de::IgnoredAny>,
    rekor_public_key_datas: Option<serde::de::IgnoredAny>,
    signed_identity: Option<Identity>,
}

#[derive(Clone, Deserialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Identity {
    #[serde(rename = "matchExact")]
    Exact,
    #[serde(rename = "matchRepoDigestOrExact")]
    RepoDigestOrExact,
    #[serde(rename = "matchRepository")]
    Repository,
    #[serde(rename = "exactReference", rename_all = "camelCase")]
    OneReference {
        #[serde(rename = "dockerReference")]
        _docker_reference: String,
    },
    #[serde(rename = "exactRepository", rename_all = "camelCase")]
    OneRepository {
        #[serde(rename = "dockerRepository")]
        _docker_repository: String,
    },
    #[serde(rename = "remapIdentity", rename_all = "camelCase")]
    Remap {
        prefix: String,
        signed_prefix: String,
    },
}

/// What came of a `policy.json`.
#[derive(Debug)]
pub struct Imported {
    /// The scopes, as they are written.
    pub(super) entries: Vec<Entry>,
    /// Transports that were left out.
    pub left_out: Vec<String>,
}

/// The name of the policy file that an import writes.
const FILE: &str = "policy.json.toml";
const HEADER: &str = "# Written by 'skua trust import'. Another with --replace writes it anew.\n";

/// What becomes of an earlier import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// It stays, and there is no other.
    Keep,
    /// Its scopes go.
    Replace,
}

impl Imported {
    /// The prefixes of the scopes, and the rule of each.
    pub fn scopes(&self) -> impl Iterator<Item = (&str, &'static str)> {
        self.entries
            .iter()
            .map(|entry| (entry.prefix.as_str(), entry.rule.as_str()))
    }

    /// Writes the scopes into the last of `layers`; the file's path.
    ///
    /// # Errors
    /// [`TrustError::Imported`] when there was another import, which is not to be replaced; [`TrustError::Elsewhere`] when another file of
    /// that layer has one of the prefixes; errors of reading and writing.
    pub fn save(self, layers: &[PathBuf], earlier: Earlier) -> Result<PathBuf, TrustError> {
        let layer = Layer::lock(layers)?;
        let path = layer.directory.join(FILE);
        if earlier == Earlier::Keep && path.symlink_metadata().is_ok() {
            return Err(TrustError::Imported(path));
        }
        for scope in super::Policy::load(layers)?.scopes() {
            let same = |entry: &Entry| entry.prefix == scope.prefix.as_str();
            if layer.has(&scope.file) && scope.file != path && self.entries.iter().any(same) {
                return Err(TrustError::Elsewhere(
                    scope.prefix.to_string(),
                    scope.file.clone(),
                ));
            }
        }
        layer.write(
            &path,
            HEADER,
            &File {
                scope: self.entries,
            },
        )?;
        Ok(path)
    }
}

/// Reads a `policy.json`; keys are read from the files that it names.
///
/// # Errors
/// [`ImportError`] for the first thing that has no counterpart: a part of a policy may be weaker than the whole.
pub fn policy_json(bytes: &[u8]) -> Result<Imported, ImportError> {
    let mut policy: Policy = strict_json::from_slice(bytes, MAX_POLICY)?;
    let mut docker = policy.transports.remove("docker").unwrap_or_default();
    let everywhere = docker.remove("").unwrap_or_else(|| policy.default.clone());
    let mut entries = vec![entry("docker", "", "*".to_owned(), &everywhere)?];
    for (scope, requirements) in docker {
        entries.push(entry("docker", &scope, scope.clone(), &requirements)?);
    }
    for kind in LOCAL {
        let transport = kind.trim_end_matches(':');
        let mut scopes = policy.transports.remove(transport).unwrap_or_default();
        scopes
            .entry(String::new())
            .or_insert_with(|| policy.default.clone());
        for (scope, requirements) in scopes {
            entries.push(entry(
                transport,
                &scope,
                format!("{kind}{scope}"),
                &requirements,
            )?);
        }
    }
    let left_out = policy
        .transports
        .into_keys()
        .map(|name| escape::text(name.as_bytes()));
    Ok(Imported {
        entries,
        left_out: left_out.collect(),
    })
}

fn entry(
    transport: &str,
    scope: &str,
    prefix: String,
    requirements: &[Requirement],
) -> Result<Entry, ImportError> {
    rule(&prefix, requirements).map_err(|what| ImportError::Unsupported {
        transport: transport.to_owned(),
        scope: escape::text(scope.as_bytes()),
        what,
    })
}

fn rule(prefix: &str, requirements: &[Requirement]) -> Result<Entry, Unsupported> {
    let prefix = Prefix::parse(prefix)?;
    let mut entry = Entry {
        prefix: prefix.to_string(),
        rule: RuleName::Signed,
        signed_as: None,
        threshold: None,
        keys: Vec::new(),
    };
    match requirements {
        [Requirement::Reject] => entry.rule = RuleName::Reject,
        [Requirement::InsecureAcceptAnything] => entry.rule = RuleName::InsecureAcceptAnything,
        [Requirement::SigstoreSigned(one)] => {
            entry.signed_as = signed_as(&prefix, one)?;
            entry.keys = keys(one)?;
        }
        several => {
            for requirement in several {
                let Requirement::SigstoreSigned(one) = requirement else {
                    return Err(match requirement {
                        Requirement::SignedBy(_) => Unsupported::SignedBy,
                        _ => Unsupported::Combination,
                    });
                };
                let (origin, key) = (signed_as(&prefix, one)?, keys(one)?);
                let differs = !entry.keys.is_empty() && origin != entry.signed_as;
                if differs || key.len() != 1 || entry.keys.contains(&key[0]) {
                    return Err(Unsupported::Combination);
                }
                entry.signed_as = origin;
                entry.keys.extend(key);
            }
            entry.threshold = Some(entry.keys.len());
        }
    }
    if entry.rule == RuleName::Signed && entry.keys.is_empty() {
        return Err(Unsupported::Combination);
    }
    Ok(entry)
}

fn keys(sigstore: &Sigstore) -> Result<Vec<String>, Unsupported> {
    let Sigstore {
        key_path,
        key_paths,
        key_data,
        key_datas,
        ..
    } = sigstore;
    let certificates = sigstore.fulcio.is_some() || sigstore.pki.is_some();
    let log = sigstore.rekor_public_key_path.is_some()
        || sigstore.rekor_public_key_paths.is_some()
        || sigstore.rekor_public_key_data.is_some()
        || sigstore.rekor_public_key_datas.is_some();
    if certificates || log {
        return Err(Unsupported::Keyless);
    }
    let mut keys = Vec::new();
    for path in key_path.iter().chain(key_paths.iter().flatten()) {
        keys.push(read_key(Path::new(path), By::Place, None).map_err(Box::new)?);
    }
    for data in key_data.iter().chain(key_datas.iter().flatten()) {
        let text = base64::prelude::BASE64_STANDARD
            .decode(data)
            .map_err(|_| Unsupported::KeyData)?;
        let text = String::from_utf8(text).map_err(|_| Unsupported::KeyData)?;
        keys.push(PublicKey::parse(&text).map_err(Unsupported::Key)?);
    }
    let mut texts: Vec<String> = Vec::new();
    for key in keys {
        let text = key.to_text();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    Ok(texts)
}

/// The repository that signatures must name, where that is not the image's own.
fn signed_as(scope: &Prefix, sigstore: &Sigstore) -> Result<Option<String>, Unsupported> {
    let unsupported = |identity| Err(Unsupported::Identity(identity));
    match &sigstore.signed_identity {
        None | Some(Identity::RepoDigestOrExact | Identity::Repository) => Ok(None),
        Some(Identity::Remap {
            prefix,
            signed_prefix,
        }) if Prefix::parse(prefix)? == *scope => {
            Ok(Some(Prefix::parse(signed_prefix)?.to_string()))
        }
        Some(Identity::Remap { .. }) => unsupported("remapIdentity of another prefix"),
        Some(Identity::Exact) => unsupported("matchExact"),
        Some(Identity::OneReference { .. }) => unsupported("exactReference"),
        Some(Identity::OneRepository { .. }) => unsupported("exactRepository"),
    }
}
