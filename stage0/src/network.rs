//! The networks that `--net` names: which conflist of `net.d` each is.
//!
//! `net.d/*.conflist` of the vendor < the administrator < the user: a file masks one of the same file name below it, and
//! an empty one only masks. A network's name is the one inside the file. What is built in counts as `default.conflist` and
//! `pasta.conflist` below the vendor's, so that an empty file takes it away.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use images::small_file::{self, By};
use pod::{Network, NetworkName, NetworkRequest};
use serde::Deserialize;

use crate::context::Context;
use crate::error::Error;
use crate::settings::Settings;
use crate::typed::NetworkArg;

/// The most bytes that a conflist may have.
const MAX_CONFLIST: usize = 1 << 20;
/// The networks that need no file: for root, and for ordinary users.
const BUILT_IN: [&str; 2] = ["default", PASTA];
/// The network of ordinary users.
const PASTA: &str = "pasta";

/// A conflist that is in force.
#[derive(Debug)]
pub(crate) struct Conflist {
    /// Its file.
    pub(crate) path: PathBuf,
    /// The name inside it; none in one that only masks. Or why it is not known.
    pub(crate) name: Result<Option<NetworkName>, String>,
}

impl Conflist {
    /// Whether it takes the built-in network `name` away.
    fn masks(&self, name: &str) -> bool {
        let stem = self.path.file_stem().and_then(|stem| stem.to_str());
        self.name == Ok(None) && stem == Some(name)
    }
}

/// The network that is typed, or else configured. What is wrong with that one is told with its file: who typed nothing
/// cannot know of it.
pub(crate) fn of_pod(
    typed: Option<&NetworkArg>,
    context: &Context,
    settings: &Settings,
) -> Result<Network, Error> {
    match (typed, &settings.net.from) {
        (Some(typed), _) => resolve(typed, context, settings),
        (None, None) => resolve(&settings.net.value, context, settings),
        (None, Some(file)) => resolve(&settings.net.value, context, settings)
            .map_err(|error| Error::NetworkOf(file.clone(), Box::new(error))),
    }
}

/// What `--net` means on this host.
fn resolve(typed: &NetworkArg, context: &Context, settings: &Settings) -> Result<Network, Error> {
    let requests = match typed {
        NetworkArg::None => return Ok(Network::None),
        NetworkArg::Host => return Ok(Network::Host),
        NetworkArg::Named(requests) => requests,
    };
    check_caller(requests)?;
    let conflists = in_force(&context.config("net.d"))?;
    let request = |(name, arguments): &(NetworkName, Vec<(String, String)>)| {
        Ok(NetworkRequest {
            conflist: find(name, &conflists)?,
            name: name.clone(),
            arguments: arguments.clone(),
        })
    };
    let own = context.libexec.program("skua-cni-pasta")?;
    let own = own.parent().map(Path::to_owned);
    let own = own.filter(|_| requests.iter().any(|(name, _)| name.as_str() == PASTA));
    let path = own.iter().chain(&settings.cni_path.value);
    Ok(Network::Cni {
        networks: requests.iter().map(request).collect::<Result<_, Error>>()?,
        plugin_path: path
            .map(|path| path.to_string_lossy().into_owned())
            .collect(),
    })
}

/// Plugins of host networks need root; pasta is for those who are not.
fn check_caller(requests: &[(NetworkName, Vec<(String, String)>)]) -> Result<(), Error> {
    let pasta = |(name, _): &(NetworkName, _)| name.as_str() == PASTA;
    match (nix::unistd::geteuid().is_root(), requests) {
        (true, requests) if requests.iter().any(pasta) => Err(Error::usage(
            "--net=pasta is for ordinary users",
            Some("root has --net=default"),
        )),
        (false, requests) if !requests.iter().all(pasta) => Err(Error::usage(
            "only root can connect a pod to a CNI network",
            Some("an ordinary user has --net=none, --net=host and --net=pasta"),
        )),
        _ => Ok(()),
    }
}

/// The path of the conflist `name`; `None` is the built-in one.
fn find(name: &NetworkName, conflists: &[Conflist]) -> Result<Option<String>, Error> {
    let mut named = conflists.iter().filter(|conflist| {
        conflist
            .name
            .as_ref()
            .is_ok_and(|n| n.as_ref() == Some(name))
    });
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
        (None, _) => absent(name, conflists),
    }
}

/// What `name` is when no file has it: built in, unless a file takes that away, or is broken and could be the one that was meant.
fn absent(name: &NetworkName, conflists: &[Conflist]) -> Result<Option<String>, Error> {
    let broken = |c: &Conflist| Some((c.path.clone(), c.name.as_ref().err()?.clone()));
    if let Some((path, why)) = conflists.iter().find_map(broken) {
        return Err(Error::Conflist { path, why });
    }
    if !BUILT_IN.contains(&name.as_str()) {
        return Err(Error::NoNetwork(name.clone(), known(conflists)));
    }
    match conflists.iter().find(|c| c.masks(name.as_str())) {
        Some(mask) => Err(Error::MaskedNetwork(name.clone(), mask.path.clone())),
        None => Ok(None),
    }
}

/// What `--net` could have named as root, sorted.
fn known(conflists: &[Conflist]) -> Vec<String> {
    let described = conflists
        .iter()
        .filter_map(|c| c.name.as_ref().ok()?.as_ref());
    let mut names: Vec<String> = described.map(ToString::to_string).collect();
    names.extend(["none", "host", "default"].map(str::to_owned));
    names.sort_unstable();
    names.dedup();
    names
}

/// The network that the caller has without a file, unless one takes its place or takes it away.
pub(crate) fn built_in(conflists: &[Conflist]) -> Option<NetworkName> {
    let name = match nix::unistd::geteuid().is_root() {
        true => BUILT_IN[0],
        false => PASTA,
    };
    let name = NetworkName::parse(name).ok()?;
    matches!(find(&name, conflists), Ok(None)).then_some(name)
}

/// The conflists in force, by file name.
pub(crate) fn in_force(directories: &[PathBuf]) -> Result<Vec<Conflist>, Error> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for directory in directories {
        let failed = |e| Error::ConfigDirectory(directory.clone(), e);
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !directory.is_symlink() => continue,
            Err(e) => return Err(failed(e)),
        };
        small_file::check_directory(directory).map_err(failed)?;
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
    let loaded = files.into_values().map(|path| Conflist {
        name: name_in(&path),
        path,
    });
    Ok(loaded.collect())
}

/// The name inside a conflist; `None` for an empty file.
fn name_in(path: &Path) -> Result<Option<NetworkName>, String> {
    #[derive(Deserialize)]
    struct Named {
        name: NetworkName,
    }
    let bytes = small_file::required(path, MAX_CONFLIST, By::Trusted).map_err(|e| e.to_string())?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let named: Named = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    Ok(Some(named.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories of configuration with these files, each a layer, file name and content.
    fn layers(files: &[(usize, &str, &str)]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let root = tempfile::tempdir().unwrap();
        let directories: Vec<PathBuf> = (0..3)
            .map(|layer| root.path().join(layer.to_string()))
            .collect();
        for (layer, name, content) in files {
            fs::create_dir_all(&directories[*layer]).unwrap();
            fs::write(directories[*layer].join(name), content).unwrap();
        }
        (root, directories)
    }

    fn found(files: &[(usize, &str, &str)], name: &str) -> Result<Option<String>, String> {
        let (root, directories) = layers(files);
        let conflists = in_force(&directories).unwrap();
        let path =
            find(&NetworkName::parse(name).unwrap(), &conflists).map_err(|e| e.to_string())?;
        let root = format!("{}/", root.path().display());
        Ok(path.map(|path| path.replace(&root, "")))
    }

    #[test]
    fn a_file_masks_one_of_the_same_name_and_an_empty_one_only_masks() {
        let net = r#"{"name":"net"}"#;
        let default = r#"{"name":"default"}"#;
        let both = [(0, "a.conflist", net), (2, "a.conflist", net)];
        assert_eq!(found(&both, "net").unwrap().unwrap(), "2/a.conflist");
        let masked = [(0, "a.conflist", net), (1, "a.conflist", "")];
        assert!(
            found(&masked, "net")
                .unwrap_err()
                .contains("no network 'net'")
        );
        assert_eq!(found(&[], "default"), Ok(None));
        let replaced = [(1, "x.conflist", default)];
        assert_eq!(
            found(&replaced, "default").unwrap().unwrap(),
            "1/x.conflist"
        );
    }

    #[test]
    fn two_files_for_one_network_and_broken_files_are_told() {
        let default = r#"{"name":"default"}"#;
        let net = r#"{"name":"net"}"#;
        let twice = [(0, "a.conflist", net), (1, "b.conflist", net)];
        assert!(
            found(&twice, "net")
                .unwrap_err()
                .contains("described twice")
        );
        let broken = [(0, "a.conflist", "{"), (1, "b.conflist", net)];
        assert_eq!(found(&broken, "net").unwrap().unwrap(), "1/b.conflist");
        assert!(found(&broken, "other").unwrap_err().contains("a.conflist"));
        for name in ["default", "pasta"] {
            assert!(found(&broken, name).unwrap_err().contains("a.conflist"));
        }
        let masked = [
            (0, "default.conflist", default),
            (1, "default.conflist", ""),
        ];
        assert!(found(&masked, "default").unwrap_err().contains("is empty"));
        assert_eq!(found(&masked, "pasta"), Ok(None));
        let hostile = [(0, "a.conflist", r#"{"name":"../x"}"#), (0, "b.conf", net)];
        assert!(found(&hostile, "net").unwrap_err().contains("a.conflist"));
    }
}
