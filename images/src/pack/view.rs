//! What several trees look like one above the other: overlayfs's rules, without a mount.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use super::tree::{Tree, is_opaque, is_whiteout, names};
use crate::unpack::Device;

/// Trees, the topmost first.
pub(super) struct View {
    trees: Vec<Tree>,
}

/// A directory of the view: its path, and the trees that have a part of it, the topmost first.
#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) path: Vec<u8>,
    pub(super) trees: Vec<usize>,
    /// A tree below has something else there, which ends it.
    ended: bool,
}

/// What a name in a directory is.
pub(super) enum Node {
    Directory(Directory),
    /// Anything else that is in a tree.
    File(Stat),
    Device(Device),
    /// It hides something below this view.
    Whiteout,
}

/// A name in a directory, and the number of the tree whose it is.
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) tree: usize,
}

/// What is in a directory.
pub(super) struct Listing {
    pub(super) entries: BTreeMap<Vec<u8>, Found>,
    /// The directory in each of its trees, by number.
    pub(super) opened: BTreeMap<usize, OwnedFd>,
    /// It hides what is below this view.
    pub(super) opaque: bool,
}

impl View {
    pub(super) fn new(trees: Vec<Tree>) -> Self {
        Self { trees }
    }

    pub(super) fn root(&self) -> Directory {
        Directory {
            path: Vec::new(),
            trees: (0..self.trees.len()).collect(),
            ended: false,
        }
    }

    /// Lists a directory.
    pub(super) fn list(&self, directory: &Directory) -> Result<Listing, Errno> {
        let mut listing = Listing {
            entries: BTreeMap::new(),
            opened: BTreeMap::new(),
            opaque: false,
        };
        for number in directory.trees.iter().copied() {
            let opened = self.trees[number].open(&directory.path)?;
            self.add(number, &opened, directory, &mut listing)?;
            listing.opaque = is_opaque(&opened)?;
            listing.opened.insert(number, opened);
            if listing.opaque {
                break;
            }
        }
        Ok(listing)
    }

    /// Adds what tree `number` has in a directory, below what is there.
    fn add(
        &self,
        number: usize,
        opened: &OwnedFd,
        directory: &Directory,
        listing: &mut Listing,
    ) -> Result<(), Errno> {
        let mut here = BTreeMap::new();
        for (name, device) in self.trees[number].devices_in(&directory.path) {
            here.insert(name.to_vec(), Node::Device(device.clone()));
        }
        for name in names(opened)? {
            let stat = rustix::fs::statat(opened, name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)?;
            let node = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => Node::Directory(Directory {
                    path: join(&directory.path, &name),
                    trees: vec![number],
                    ended: false,
                }),
                _ if is_whiteout(&stat) => Node::Whiteout,
                _ => Node::File(stat),
            };
            here.insert(name, node);
        }
        for (name, node) in here {
            match listing.entries.get_mut(&name) {
                None => {
                    let tree = number;
                    listing.entries.insert(name, Found { node, tree });
                }
                Some(above) => above.cover(node, number),
            }
        }
        Ok(())
    }
}

impl Found {
    /// What is below: a directory adds to a directory, unless there was something else between the two.
    fn cover(&mut self, below: Node, number: usize) {
        let Node::Directory(directory) = &mut self.node else {
            return;
        };
        match below {
            Node::Directory(_) if !directory.ended => directory.trees.push(number),
            _ => directory.ended = true,
        }
    }
}

/// `name` in the directory `path`.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    match path {
        b"" => name.to_vec(),
        path => [path, b"/", name].concat(),
    }
}
