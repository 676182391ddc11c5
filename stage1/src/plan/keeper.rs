//! The part of a plan that the keeper carries out, outside the pod: what it makes for the inside, where it puts it, and what
//! it undoes at the end. Its phases take their orders from here.

use std::path::PathBuf;

use pod::{
    AppName, IdMap, IdMapChoice, Network, NetworkRequest, Origin, PodManifest, VolumeSource,
};

/// The keeper's orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keeper {
    /// Directories of the pod directory, parents first.
    pub(crate) directories: Vec<Directory>,
    /// Device nodes of the pod: only root can make them.
    pub(crate) nodes: Vec<DeviceNode>,
    /// The user who is to own the user namespace, if not the keeper's.
    pub(crate) owner: Option<u32>,
    /// How the id maps are written.
    pub(crate) map_writer: MapWriter,
    /// The networks to be joined, in this order.
    pub(crate) networks: Vec<NetworkRequest>,
    /// Who asked for the network.
    pub(crate) network_origin: Origin,
    /// The pod's directory is removed at the end.
    pub(crate) remove: bool,
}

/// A node for a device that an app asked for, as `devices/<app>/<number>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceNode {
    /// The app.
    pub(crate) app: AppName,
    /// Its place in the app's list.
    pub(crate) number: usize,
    /// The device.
    pub(crate) device: pod::Device,
}

/// A directory that the pod needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Its path below the pod directory.
    pub(crate) path: PathBuf,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Whose it is.
    pub(crate) owner: Owner,
    /// Who asked for it.
    pub(crate) origin: Origin,
}

/// Who owns a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The keeper's user.
    Keeper,
    /// User 0 of the pod.
    Pod,
}

/// How the id maps of the inside are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MapWriter {
    /// By the keeper, as root.
    Keeper,
    /// By the keeper, which gives up `setgroups(2)` for it.
    KeeperWithoutGroups,
    /// By the host's setuid programs.
    Programs {
        /// `newuidmap`.
        users: String,
        /// `newgidmap`.
        groups: String,
    },
}

impl Keeper {
    /// Decides.
    pub(super) fn new(manifest: &PodManifest, id_map: &IdMap) -> Self {
        let (owner, nodes) = match manifest.id_map {
            IdMapChoice::Range { .. } => (id_map.uids.first(), nodes(manifest)),
            IdMapChoice::Subordinate { .. } | IdMapChoice::Single { .. } => (None, Vec::new()),
        };
        Self {
            directories: directories(manifest),
            nodes,
            owner: owner.map(|extent| extent.host),
            map_writer: MapWriter::of(&manifest.id_map),
            networks: match &manifest.network {
                Network::Cni { networks, .. } => networks.clone(),
                Network::None | Network::Host => Vec::new(),
            },
            network_origin: manifest.origins.of("network"),
            remove: manifest.remove,
        }
    }
}

impl MapWriter {
    /// How the map of this choice is written.
    pub(crate) fn of(choice: &IdMapChoice) -> Self {
        match choice {
            IdMapChoice::Range { .. } => Self::Keeper,
            IdMapChoice::Single { .. } => Self::KeeperWithoutGroups,
            IdMapChoice::Subordinate {
                newuidmap,
                newgidmap,
                ..
            } => Self::Programs {
                users: newuidmap.clone(),
                groups: newgidmap.clone(),
            },
        }
    }
}

fn nodes(manifest: &PodManifest) -> Vec<DeviceNode> {
    let of_app = |app: &pod::App| {
        let name = app.name.clone();
        let devices = app.devices.clone().into_iter().enumerate();
        devices.map(move |(number, device)| DeviceNode {
            app: name.clone(),
            number,
            device,
        })
    };
    manifest.apps.iter().flat_map(of_app).collect()
}

fn directories(manifest: &PodManifest) -> Vec<Directory> {
    let mut all = Vec::new();
    let mut add = |path: String, mode, owner, origin| {
        all.push(Directory {
            path: PathBuf::from(path),
            mode,
            owner,
            origin,
        });
    };
    let built_in = Origin::BuiltIn;
    add("apps".to_owned(), 0o755, Owner::Keeper, built_in);
    add("status".to_owned(), 0o700, Owner::Pod, built_in);
    add("rootfs".to_owned(), 0o755, Owner::Keeper, built_in);
    for app in &manifest.apps {
        let rootfs = format!("rootfs/{}", app.name);
        add(format!("apps/{}", app.name), 0o755, Owner::Keeper, built_in);
        add(rootfs.clone(), 0o755, Owner::Keeper, built_in);
        add(format!("{rootfs}/upper"), 0o755, Owner::Pod, built_in);
        add(format!("{rootfs}/work"), 0o700, Owner::Pod, built_in);
    }
    let mut first = true;
    for volume in &manifest.volumes {
        let VolumeSource::Empty { mode, .. } = volume.source else {
            continue;
        };
        if std::mem::take(&mut first) {
            add("volumes".to_owned(), 0o755, Owner::Keeper, built_in);
        }
        let name = volume.name.as_str();
        let origin = manifest.origins.of_element("volumes", name);
        add(format!("volumes/{name}"), mode, Owner::Pod, origin);
    }
    all
}
