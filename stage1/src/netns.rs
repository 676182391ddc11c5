//! The pod's network namespace, held open by the keeper, and what the networks say about the pod's `/etc`.
//!
//! **Runs as** the keeper. **Needs** the inside. **Leaves** the pod in its networks. **Undone by** [`crate::network::del`].

use std::fs::File;
use std::os::fd::AsRawFd;

use ipnetwork::IpNetwork;
use pod::{Network, PodManifest};

use crate::error::Error;
use crate::host;
use crate::network::{self, Joined, Loopback};
use crate::op::HostFile;
use crate::rootfs::HostFiles;

/// A network namespace that outlives its processes.
#[derive(Debug)]
pub(crate) struct Netns {
    /// Keeps it alive.
    _open: File,
    /// Where plugins find it.
    pub(crate) path: String,
}

impl Netns {
    /// Opens the one of process `pid`, if the pod is in CNI networks.
    pub(crate) fn open(manifest: &PodManifest, pid: u32) -> Result<Option<Self>, Error> {
        let Network::Cni { .. } = manifest.network else {
            return Ok(None);
        };
        let open = File::open(format!("/proc/{pid}/ns/net")).map_err(Error::Netns)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd());
        Ok(Some(Self { _open: open, path }))
    }
}

/// The files that the host gives to the pod: in the host's network the host's own, and the pod's name.
pub(crate) fn host_files(manifest: &PodManifest, joined: &[Joined]) -> HostFiles {
    let name = &manifest.hostname;
    let addresses: Vec<_> = joined
        .iter()
        .flat_map(|network| network.addresses.iter().map(IpNetwork::ip))
        .collect();
    let mut contents = vec![(HostFile::Hostname, format!("{name}\n").into_bytes())];
    let mut add = |file, text: String| contents.push((file, text.into_bytes()));
    match manifest.network {
        Network::None => add(HostFile::Hosts, network::hosts(name, &addresses)),
        Network::Cni { .. } => {
            add(HostFile::Hosts, network::hosts(name, &addresses));
            add(
                HostFile::ResolvConf,
                network::resolv_conf(joined, Loopback::Own),
            );
        }
        Network::Host => {
            add(
                HostFile::ResolvConf,
                network::resolv_conf(joined, Loopback::Hosts),
            );
            let hosts = network::hosts_of_host(host::etc("hosts"), name);
            contents.push((HostFile::Hosts, hosts));
        }
    }
    HostFiles { contents }
}
