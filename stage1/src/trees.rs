//! Files and directories of the host as detached mounts, so that nothing of the host's tree is reachable from them.
//!
//! **Runs as** the keeper (root) or the inside (ordinary user). **Needs** the right to clone mounts. **Leaves** descriptors.
//! **Undone by** closing them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;

use crate::error::Error;
use crate::idmap::{self, MountUsers};
use crate::plan::{Opener, Plan, Role, Tree};
use crate::sys;

/// What stage2 gets as descriptors.
#[derive(Debug)]
pub(crate) struct Handed {
    /// The directory `apps/`, read-only.
    pub(crate) apps: OwnedFd,
    /// The directory `status/`.
    pub(crate) status: OwnedFd,
    /// The stage2 binary, read-only: nobody can write to it through `/proc/1/exe`.
    pub(crate) stage2: OwnedFd,
}

/// All detached mounts of a pod.
#[derive(Debug)]
pub(crate) struct Trees {
    /// In the order of [`Plan::trees`].
    pub(crate) trees: Vec<OwnedFd>,
    /// For stage2.
    pub(crate) handed: Handed,
}

/// How many descriptors [`Handed`] has.
pub(crate) const HANDED: usize = 3;

impl From<Trees> for Vec<OwnedFd> {
    /// The trees, then what stage2 gets.
    fn from(all: Trees) -> Self {
        let Handed {
            apps,
            status,
            stage2,
        } = all.handed;
        let mut mounts = all.trees;
        mounts.extend([apps, status, stage2]);
        mounts
    }
}

impl TryFrom<Vec<OwnedFd>> for Trees {
    type Error = ();
    fn try_from(mut mounts: Vec<OwnedFd>) -> Result<Self, ()> {
        let at = mounts.len().checked_sub(HANDED).ok_or(())?;
        let handed = <[OwnedFd; HANDED]>::try_from(mounts.split_off(at)).map_err(drop)?;
        let [apps, status, stage2] = handed;
        Ok(Self {
            trees: mounts,
            handed: Handed {
                apps,
                status,
                stage2,
            },
        })
    }
}

/// As root, opens the trees for the inside; an ordinary user's inside does it itself.
pub(crate) fn open_as_keeper(plan: &Plan, stage2: &Path) -> Result<Option<Trees>, Error> {
    match plan.opener {
        Opener::Keeper { .. } => open(plan, stage2).map(Some),
        Opener::Inside => Ok(None),
    }
}

/// Opens all trees of the plan, and what stage2 gets. The working directory is the pod's.
pub(crate) fn open(plan: &Plan, stage2: &Path) -> Result<Trees, Error> {
    let maps = Maps::new(plan)?;
    let trees = plan
        .trees
        .iter()
        .map(|tree| one(tree, &maps, plan))
        .collect::<Result<_, _>>()?;
    let plain = |path, read_only| clone(Path::new(path), false, FLAGS | read_only, None);
    Ok(Trees {
        trees,
        handed: Handed {
            apps: plain("apps", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC)?,
            status: plain("status", MOUNT_ATTR_NOEXEC)?,
            stage2: clone(stage2, false, FLAGS | MOUNT_ATTR_RDONLY, None)?,
        },
    })
}

/// No file of the host gives rights or devices to a pod.
const FLAGS: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

/// The id maps of mounts; none for an ordinary user, who sees everything as it is.
struct Maps {
    layers: Option<MountUsers>,
    volumes: Option<MountUsers>,
}

impl Maps {
    fn new(plan: &Plan) -> Result<Self, Error> {
        let Opener::Keeper {
            pod_base,
            store_base,
            count,
        } = plan.opener
        else {
            return Ok(Self {
                layers: None,
                volumes: None,
            });
        };
        let users = |role, on_disk| -> Result<Option<MountUsers>, Error> {
            let needed = plan.trees.iter().any(|tree| tree.role == role);
            needed
                .then(|| idmap::mount_users(on_disk, pod_base, count))
                .transpose()
        };
        Ok(Self {
            layers: users(Role::Layer, store_base)?,
            volumes: users(Role::HostVolume, 0)?,
        })
    }
}

fn one(tree: &Tree, maps: &Maps, plan: &Plan) -> Result<OwnedFd, Error> {
    if tree.role == Role::HostVolume {
        return volume(tree, maps, plan);
    }
    let flags = asked(tree);
    let (users, more) = match tree.role {
        Role::Layer => (maps.layers.as_ref(), FLAGS),
        Role::HostSys => (None, FLAGS | MOUNT_ATTR_NOEXEC),
        Role::HostVolume | Role::Own => (None, FLAGS),
        Role::Device => (None, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
    };
    let users = users.map(|users| users.namespace.as_fd());
    let mount = clone(&tree.path, tree.recursive, flags | more, users)?;
    if tree.role == Role::Device {
        sys::allow_devices(mount.as_fd()).map_err(|e| Error::TreeFlags(tree.path.clone(), e))?;
    }
    Ok(mount)
}

/// The flags that the plan has for it.
fn asked(tree: &Tree) -> u64 {
    let read_only = if tree.read_only { MOUNT_ATTR_RDONLY } else { 0 };
    let no_exec = if tree.no_exec { MOUNT_ATTR_NOEXEC } else { 0 };
    read_only | no_exec
}

/// A volume is opened once. What was opened is held against the bounds of the host, whatever its path has been made to
/// mean since the plan was, and is what gets mounted.
fn volume(tree: &Tree, maps: &Maps, plan: &Plan) -> Result<OwnedFd, Error> {
    let path = &tree.path;
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let opened = fcntl::open(path, flags, Mode::empty())
        .map_err(|e| Error::OpenTree(path.clone(), e.into()))?;
    let real = std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let real = real.map_err(|e| Error::RealPath(path.clone(), e))?;
    plan.policy.check_host_volume(&real, tree.read_only)?;
    let users = maps.volumes.as_ref().map(|users| users.namespace.as_fd());
    let mount = sys::clone_tree(opened.as_fd(), Path::new(""), tree.recursive)
        .map_err(|e| Error::OpenTree(path.clone(), e))?;
    sys::set_mount_attributes(mount.as_fd(), tree.recursive, FLAGS | asked(tree), users)
        .map_err(|e| Error::TreeFlags(path.clone(), e))?;
    Ok(mount)
}

fn clone(
    path: &Path,
    recursive: bool,
    flags: u64,
    users: Option<BorrowedFd<'_>>,
) -> Result<OwnedFd, Error> {
    let tree = sys::clone_tree(sys::here(), path, recursive)
        .map_err(|e| Error::OpenTree(path.to_owned(), e))?;
    sys::set_mount_attributes(tree.as_fd(), recursive, flags, users)
        .map_err(|e| Error::TreeFlags(path.to_owned(), e))?;
    Ok(tree)
}
