//! The networks of a pod, by CNI plugins: joined before the apps start, left when they have ended.
//!
//! **Runs as** the keeper, outside the pod (and `gc`, when the keeper is gone).
//! **Needs** the pod's network namespace as a path that plugins can open; for networks of the host, root.
//! **Leaves** one record per network below `net/`, written before its first plugin runs.
//! **Undone by** [`del`], at the pod's end or by `gc`: as often as it takes, for DEL is idempotent.

mod call;
mod capability;
mod chain;
mod conflist;
mod error;
mod json;
mod masquerade;
mod ports;
mod reply;
mod resolver;
mod stand_in;

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use pod::{
    CONTRACT_VERSION, NetworkFile, NetworkRequest, NetworkUse, PodDir, PodManifest, PortMapping,
};

use capability::asked;
use chain::Chain;
use conflist::Conflist;
pub(crate) use error::NetworkError;
pub(crate) use ports::Held;
pub(crate) use reply::Joined;
pub(crate) use resolver::{Loopback, hosts, hosts_of_host, resolv_conf};
use stand_in::StandIn;

/// The capability of plugins that publish ports.
const PORT_MAPPINGS: &str = "portMappings";

/// The CNI networks that a pod is to join, checked as far as that can be done without doing anything.
pub(crate) struct Networks {
    networks: Vec<Network>,
    /// What the first that can publish publishes.
    ports: Vec<PortMapping>,
}

struct Network {
    list: Conflist,
    record: NetworkFile,
}

/// Where the pod's network namespace is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Netns<'a> {
    /// A path that plugins can open: `/proc/<pid>/fd/<number>` of a process that holds it.
    At(&'a str),
    /// It ended with the pod.
    Gone,
}

impl Networks {
    /// Loads the conflists that the pod asks for, finds their plugins, and works out what each is told. Plugins run only
    /// to be asked for their version, when a list names several, and for their status, from CNI 1.1 on.
    pub(crate) fn load(manifest: &PodManifest) -> Result<Self, NetworkError> {
        let pod::Network::Cni {
            networks,
            plugin_path,
        } = &manifest.network
        else {
            return match manifest.ports.is_empty() {
                true => Ok(Self {
                    networks: Vec::new(),
                    ports: Vec::new(),
                }),
                false => Err(NetworkError::NoPorts),
            };
        };
        check_plugin_path(plugin_path)?;
        let mut loaded: Vec<Network> = Vec::new();
        for request in networks {
            if loaded.iter().any(|other| other.record.name == request.name) {
                return Err(NetworkError::Twice(request.name.to_string()));
            }
            let interface = format!("eth{}", loaded.len());
            loaded.push(Network::load(manifest, request, plugin_path, interface)?);
        }
        publish(&mut loaded, &manifest.ports)?;
        loaded.iter_mut().try_for_each(Network::probe)?;
        Ok(Self {
            networks: loaded,
            ports: manifest.ports.clone(),
        })
    }

    /// Takes the published ports from the host, if their plugin does not.
    pub(crate) fn hold_ports(&self) -> Result<Held, NetworkError> {
        let mut networks = self.networks.iter();
        match networks.find(|network| network.publishes()) {
            Some(network) => ports::hold(&network.list, &self.ports),
            None => Ok(Held::default()),
        }
    }

    /// Joins every network in order. When one fails, those before it and it itself are left again.
    pub(crate) fn add(
        &self,
        dir: &PodDir,
        netns: &str,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<Vec<Joined>, NetworkError> {
        let (mut joined, mut published) = (Vec::new(), false);
        for network in &self.networks {
            let added = network.add(dir, netns, interrupt).and_then(|one| {
                let first = network.publishes() && !published;
                published |= first;
                let ports = if first { &self.ports[..] } else { &[] };
                ports::reach(&network.list, ports, &one).map(|()| one)
            });
            match added {
                Ok(one) => joined.push(one),
                Err(cause) => {
                    return Err(NetworkError::Add {
                        network: network.list.name.clone(),
                        cause: Box::new(cause),
                        cleanup: del(dir, Netns::At(netns)),
                    });
                }
            }
        }
        Ok(joined)
    }
}

impl Network {
    /// Whether it can publish ports: the first that can does.
    fn publishes(&self) -> bool {
        self.list.has_capability(PORT_MAPPINGS)
    }

    fn load(
        manifest: &PodManifest,
        request: &NetworkRequest,
        plugin_path: &[String],
        interface: String,
    ) -> Result<Self, NetworkError> {
        let list = Conflist::load(request)?;
        let asked = asked(&list, &request.arguments)?;
        let record = NetworkFile {
            version: CONTRACT_VERSION,
            name: request.name.clone(),
            container_id: manifest.id.clone(),
            interface,
            plugin_path: plugin_path.to_vec(),
            arguments: asked.arguments,
            cni_version: list.versions.last().copied().unwrap_or_default().to_owned(),
            conflist: list.document.clone(),
            capabilities: asked.capabilities,
            addresses: Vec::new(),
            result: None,
        };
        Ok(Self { list, record })
    }

    /// What only the plugins can tell.
    fn probe(&mut self) -> Result<(), NetworkError> {
        let chain = Chain::new(&self.list, &self.record, "");
        chain.find_all()?;
        if self.list.versions.len() > 1 {
            let version = chain.negotiate(&self.list.versions)?;
            self.record.cni_version = version.to_owned();
        }
        if self.record.cni_version == "1.1.0" {
            Chain::new(&self.list, &self.record, "").status()?;
        }
        Ok(())
    }

    fn add(
        &self,
        dir: &PodDir,
        netns: &str,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<Joined, NetworkError> {
        let mut record = self.record.clone();
        let mut joined = Joined::default();
        make_directory(dir)?;
        save(dir, &record)?;
        for at in 0..self.list.plugins.len() {
            let chain = Chain {
                interrupt,
                ..Chain::new(&self.list, &record, netns)
            };
            let (result, now) = chain.add(at, record.result.as_ref())?;
            record.addresses = now.addresses.iter().map(ToString::to_string).collect();
            record.result = Some(result);
            joined = now;
            save(dir, &record)?;
        }
        Ok(joined)
    }
}

/// Leaves every network of which there is a record, last joined first, and removes the records of those that were left.
/// All that failed is returned; its records stay for `gc`.
pub(crate) fn del(dir: &PodDir, netns: Netns<'_>) -> Vec<NetworkError> {
    let (records, mut errors) = load_records(dir);
    for record in records.into_iter().rev() {
        let failed = leave(&record, netns);
        if failed.is_empty() {
            let path = dir.network(&record.name);
            if let Err(e) = fs::remove_file(&path) {
                errors.push(NetworkError::Remove(path, e));
            }
        }
        let network = |e| NetworkError::Del(record.name.to_string(), Box::new(e));
        errors.extend(failed.into_iter().map(network));
    }
    errors
}

/// Removes what records there are: nobody will try to leave these networks again.
pub(crate) fn forget(dir: &PodDir) -> Vec<NetworkError> {
    let files = match record_files(dir) {
        Ok(files) => files,
        Err(e) => return vec![NetworkError::List(dir.net(), e)],
    };
    let removed = files.into_iter().map(|file| (fs::remove_file(&file), file));
    let failed = removed.filter_map(|(removed, file)| Some((removed.err()?, file)));
    failed
        .map(|(e, file)| NetworkError::Remove(file, e))
        .collect()
}

/// Of a dead pod: writes records that a crash has torn anew from its manifest, as they were before the first plugin ran. One
/// that cannot be written so goes: what the network keeps for the pod, such as an address, is left to the network.
pub(crate) fn mend(dir: &PodDir, manifest: Option<&PodManifest>) -> Vec<NetworkError> {
    let mut given_up = Vec::new();
    for file in record_files(dir).unwrap_or_default() {
        let error = match pod::load::<NetworkFile>(&file) {
            Err(error) if error.is_malformed() => error,
            // What else there is, DEL will see.
            _ => continue,
        };
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let known = manifest.and_then(|manifest| Networks::load(manifest).ok());
        let mut known = known.into_iter().flat_map(|networks| networks.networks);
        let Some(network) = known.find(|network| network.record.name.as_str() == name) else {
            let removed = fs::remove_file(&file);
            given_up.push(NetworkError::LostRecord(name.into_owned(), error));
            given_up.extend(removed.err().map(|e| NetworkError::Remove(file, e)));
            continue;
        };
        if let Err(error) = save(dir, &network.record) {
            given_up.push(error);
        }
    }
    given_up
}

fn leave(record: &NetworkFile, netns: Netns<'_>) -> Vec<NetworkError> {
    let list = match Conflist::parse(record.conflist.clone()) {
        Ok(list) => list,
        Err(why) => return vec![NetworkError::Conflist(record.name.to_string(), why)],
    };
    match netns {
        Netns::At(path) => Chain::new(&list, record, path).del(),
        Netns::Gone => leave_without(&list, record),
    }
}

/// When the pod's namespace is gone, plugins get one in its place. When all they then object is that what they should
/// remove does not exist, an earlier DEL got as far as that before it was killed: the rest needs no namespace.
fn leave_without(list: &Conflist, record: &NetworkFile) -> Vec<NetworkError> {
    let failed = match StandIn::for_network(record) {
        Ok(Some(stand_in)) => Chain::new(list, record, stand_in.path()).del(),
        Ok(None) => return Chain::new(list, record, "").del(),
        Err(e) => vec![e],
    };
    match !failed.is_empty() && failed.iter().all(NetworkError::says_it_is_gone) {
        true => Chain::new(list, record, "").del(),
        false => failed,
    }
}

/// What a pod's record keeps of the networks that it is in. A record that cannot be read keeps nothing; DEL will say so.
pub(crate) fn uses(dir: &PodDir) -> Vec<NetworkUse> {
    let (records, _) = load_records(dir);
    let kept = |record: NetworkFile| NetworkUse {
        name: record.name,
        interface: record.interface,
        addresses: record.addresses,
    };
    records.into_iter().map(kept).collect()
}

/// All records, in the order in which the networks were joined, and what is wrong with others.
fn load_records(dir: &PodDir) -> (Vec<NetworkFile>, Vec<NetworkError>) {
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    match record_files(dir) {
        Ok(files) => {
            for file in files {
                match pod::load::<NetworkFile>(&file) {
                    Ok(record) => records.push(record),
                    Err(e) => errors.push(NetworkError::LoadRecord(e)),
                }
            }
        }
        Err(e) => errors.push(NetworkError::List(dir.net(), e)),
    }
    // `eth9` comes before `eth10`.
    records.sort_by_key(|record| (record.interface.len(), record.interface.clone()));
    (records, errors)
}

fn record_files(dir: &PodDir) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir.net()) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            files.push(path);
        }
    }
    Ok(files)
}

fn make_directory(dir: &PodDir) -> Result<(), NetworkError> {
    let path = dir.net();
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&path);
    made.map_err(|e| NetworkError::MakeDirectory(path, e))
}

fn save(dir: &PodDir, record: &NetworkFile) -> Result<(), NetworkError> {
    let saved = pod::save(&dir.network(&record.name), record);
    saved.map_err(|e| NetworkError::Record(record.name.to_string(), e))
}

/// Gives the published ports to the first network that can publish: two would fight over the host's ports.
fn publish(networks: &mut [Network], ports: &[PortMapping]) -> Result<(), NetworkError> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut able = networks
        .iter_mut()
        .filter(|network| network.list.has_capability(PORT_MAPPINGS));
    let first = able.next().ok_or(NetworkError::NoPorts)?;
    let mappings = capability::port_mappings(ports);
    first
        .record
        .capabilities
        .insert(PORT_MAPPINGS.to_owned(), mappings);
    Ok(())
}

fn check_plugin_path(path: &[String]) -> Result<(), NetworkError> {
    let good = |directory: &&String| directory.starts_with('/') && !directory.contains([':', '\0']);
    match path.iter().find(|directory| !good(directory)) {
        Some(bad) => Err(NetworkError::PluginPath(error::quote(bad))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod fake_tests;
#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod scratch;
