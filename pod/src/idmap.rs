//! User and group id maps of a pod (`user_namespaces(7)`, "User and group ID mappings").

use serde::{Deserialize, Serialize};

/// One line of a `uid_map` or `gid_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// First id inside the pod.
    pub inside: u32,
    /// First id on the host.
    pub host: u32,
    /// How many ids.
    pub count: u32,
}

impl Extent {
    /// The host's id for `inside`, if this extent has it.
    #[must_use]
    pub fn host_of(&self, inside: u32) -> Option<u32> {
        let offset = inside.checked_sub(self.inside)?;
        if offset < self.count {
            self.host.checked_add(offset)
        } else {
            None
        }
    }
}

/// The user and group maps of one pod, as they are in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdMap {
    /// The lines of `uid_map`.
    pub uids: Vec<Extent>,
    /// The lines of `gid_map`.
    pub gids: Vec<Extent>,
}

impl IdMap {
    /// One range, the same for users and groups: `inside` 0 is `host`.
    #[must_use]
    pub fn range(host: u32, count: u32) -> Self {
        let extent = Extent {
            inside: 0,
            host,
            count,
        };
        Self {
            uids: vec![extent],
            gids: vec![extent],
        }
    }

    /// The text for `uid_map` (or, with `gids`, `gid_map`).
    #[must_use]
    pub fn lines(extents: &[Extent]) -> String {
        extents
            .iter()
            .map(|e| format!("{} {} {}\n", e.inside, e.host, e.count))
            .collect()
    }
}

/// Where the id map of a pod comes from: decided by stage0, carried out by stage1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum IdMapChoice {
    /// As root: stage1 takes a free range of `count` ids from `first..=last` (a multiple of `count` above `first`) under
    /// a lock, and shows the layers, owned by `store_base..` on disk, through idmapped mounts.
    Range {
        /// First id of the first range.
        first: u32,
        /// Last id that may be used.
        last: u32,
        /// Ids per pod.
        count: u32,
        /// The host's id of container id 0 in the layer trees of the store.
        store_base: u32,
    },
    /// As an ordinary user with `/etc/subuid`: the map is written by `newuidmap` and `newgidmap`. Layer trees have the
    /// owners of this map on disk.
    Subordinate {
        /// The map.
        map: IdMap,
        /// Absolute path of `newuidmap`.
        newuidmap: String,
        /// Absolute path of `newgidmap`.
        newgidmap: String,
    },
    /// As an ordinary user without `/etc/subuid`: container ids 0 are the caller's, there are no others. An app that runs
    /// as another user gets a user namespace of its own in which its ids are the caller's.
    Single {
        /// The caller's user id.
        uid: u32,
        /// The caller's group id.
        gid: u32,
    },
}
