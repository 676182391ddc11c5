//! The pod's network namespace, held open by the keeper, and what the networks say about the pod's `/etc`.
//!
//! **Runs as** the inside, which sends it, and the keeper. **Needs** the inside's namespaces. **Leaves** the pod in its networks. **Undone by** [`crate::network::del`].

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use ipnetwork::IpNetwork;
use pod::{Network, PodManifest};

use crate::error::Error;
use crate::host;
use crate::network::{self, Joined, Loopback};
use crate::op::HostFile;
use crate::plan::Plan;
use crate::rootfs::HostFiles;

/// A network namespace that outlives its processes.
#[derive(Debug)]
pub(crate) struct Netns {
    /// Keeps it alive.
    _open: OwnedFd,
    /// Where plugins find it.
    pub(crate) path: String,
}

impl Netns {
    /// Keeps what the inside has sent.
    pub(crate) fn hold(open: OwnedFd) -> Self {
        let path = format!("/proc/{}/fd/{}", std::process::id(), open.as_raw_fd());
        Self { _open: open, path }
    }
}

/// The one of this process, for the keeper to hold. Nobody else can open it without CAP_SYS_PTRACE, which a unit need not have.
pub(crate) fn own(plan: &Plan) -> Result<Option<OwnedFd>, Error> {
    if plan.keeper.networks.is_empty() {
        return Ok(None);
    }
    let opened = File::open("/proc/self/ns/net").map_err(Error::Netns)?;
    Ok(Some(opened.into()))
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
