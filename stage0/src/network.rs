//! The networks that `--net` names: which conflist of `net.d` each is.
//!
//! `net.d/*.conflist` of the vendor < the administrator < the user: a file masks one of the same file name below it, and
//! an empty one only masks. A network's name is the one inside the file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pod::{Network, NetworkName, NetworkRequest};
use serde::Deserialize;

use crate::error::Error;
use crate::settings::Settings;
use crate::typed::NetworkArg;

/// The most bytes that a conflist may have.
const MAX_CONFLIST: u64 = 1 << 20;
/// The network that needs no file.
const BUILT_IN: &str = "default";

/// A conflist that is in force.
#[derive(Debug)]
pub(crate) struct Conflist {
    /// Its file.
    pub(crate) path: PathBuf,
    /// The name inside it, or why there is none.
    pub(crate) name: Result<NetworkName, String>,
}

/// What `--net` means on this host.
pub(crate) fn resolve(
    typed: &NetworkArg,
    directories: &[PathBuf],
    settings: &Settings,
) -> Result<Network, Error> {
    let requests = match typed {
        NetworkArg::None => return Ok(Network::None),
        NetworkArg::Host => return Ok(Network::Host),
        NetworkArg::Named(requests) => requests,
    };
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::usage(
            "only root can connect a pod to a CNI network",
            Some("an ordinary user has --net=none and --net=host"),
        ));
    }
    let conflists = in_force(directories)?;
    let request = |(name, arguments): &(NetworkName, Vec<(String, String)>)| {
        Ok(NetworkRequest {
            conflist: find(name, &conflists)?,
            name: name.clone(),
            arguments: arguments.clone(),
        })
    };
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    Ok(Network::Cni {
        networks: requests.iter().map(request).collect::<Result<_, Error>>()?,
        plugin_path: settings.cni_path.value.iter().map(text).collect(),
    })
}

/// The path of the conflist `name`; `None` is the built-in one.
fn find(name: &NetworkName, conflists: &[Conflist]) -> Result<Option<String>, Error> {
    let mut named = conflists
        .iter()
        .filter(|conflist| conflist.name.as_ref() == Ok(name));
    match (named.next(), named.next()) {
        (Some(one), Some(other)) => Err(Error::AmbiguousNetwork {
            name: name.clone(),
            files: [one.path.clone(), other.path.clone()],
        }),
        (Some(only), None) => match only.path.to_str() {
            Some(path) => Ok(Some(path.to_owned())),
            None => Err(Error::Conflist {
                path: only.path.clone(),
                why: "its path is not UTF-8".to_owned(),
            }),
        },
        (None, _) if name.as_str() == BUILT_IN => Ok(None),
        (None, _) => match conflists
            .iter()
            .find_map(|c| Some((c, c.name.as_ref().err()?)))
        {
            Some((broken, why)) => Err(Error::Conflist {
                path: broken.path.clone(),
                why: why.clone(),
            }),
            None => Err(Error::NoNetwork(name.clone())),
        },
    }
}

/// The conflists in force, by file name.
pub(crate) fn in_force(directories: &[PathBuf]) -> Result<Vec<Conflist>, Error> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in directories {
        let failed = |e| Error::ConfigDirectory(directory.clone(), e);
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(failed(e)),
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "conflist")
            {
                files.insert(path.file_name().unwrap_or_default().to_owned(), path);
            }
        }
    }
    let loaded = files.into_values().filter_map(|path| {
        let name = name_in(&path).transpose()?;
        Some(Conflist { path, name })
    });
    Ok(loaded.collect())
}

/// The name inside a conflist; `None` for an empty file.
fn name_in(path: &Path) -> Result<Option<NetworkName>, String> {
    #[derive(Deserialize)]
    struct Named {
        name: NetworkName,
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| e.to_string())?;
    file.take(MAX_CONFLIST + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| e.to_string())?;
    if bytes.len() as u64 > MAX_CONFLIST {
        return Err(format!("it is longer than {MAX_CONFLIST} bytes"));
    }
    if bytes.is_empty() {
        return Ok(None);
    }
    let named: Named = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    Ok(Some(named.name))
}
