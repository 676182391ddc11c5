//! Who an app is: names resolved in the `/etc/passwd` and `/etc/group` of its own root, which its image wrote.
//!
//! History: such files were symlinks to the host's (CVE-2024-9676), fifos, endless (CVE-2026-47262), or wrapped round to
//! uid 0 (CVE-2024-40635). Here: opened in the root, last component not followed, regular files only, at most 1 MiB, and
//! whatever cannot be resolved is an error: never user 0 instead.
//!
//! **Runs as** the pod's user 0. **Needs** the root entered. **Leaves** nothing: it only reads.

use std::fs::File;
use std::io::Read;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use pod::{AppFile, Extent, IdMap};

use crate::error::{self, Error};
use crate::ids::{self, User};
use crate::root::Root;

/// The most supplementary groups.
pub(crate) const MAX_GROUPS: usize = 32;
/// The most bytes of `/etc/passwd` or `/etc/group`.
const MAX_FILE: u64 = 1 << 20;
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The numbers of an app's user, all in the pod's id map unless the map has one id only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
    /// `HOME` and `USER`, for an environment without them.
    pub(crate) home: String,
    /// The user's name, if it has one.
    pub(crate) name: Option<String>,
}

/// Who an app is, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids {
    /// User id.
    pub(crate) uid: u32,
    /// Group id.
    pub(crate) gid: u32,
    /// Supplementary groups.
    pub(crate) groups: Vec<u32>,
}

impl Ids {
    /// Of user, group and groups in this order.
    pub(crate) fn new(numbers: &[u32]) -> Option<Self> {
        match *numbers {
            [uid, gid, ref groups @ ..] if groups.len() <= MAX_GROUPS => Some(Self {
                uid,
                gid,
                groups: groups.to_owned(),
            }),
            _ => None,
        }
    }
}

impl Identity {
    /// User, group and groups.
    pub(crate) fn numbers(&self) -> Vec<u32> {
        [&[self.uid, self.gid], &self.groups[..]].concat()
    }
}

/// Who the app was when it was started. Its `/etc/passwd` may be another one by now: it says where the home is, and no more.
pub(crate) fn known(ids: &Ids, root: &Root) -> Identity {
    let found = read(root, PASSWD).and_then(|text| ids::user_numbered(&text, ids.uid));
    let user = found.ok().flatten();
    let user = user.unwrap_or_else(|| nameless(ids.uid));
    Identity {
        uid: ids.uid,
        ..identity(user, ids.gid, ids.groups.clone())
    }
}

/// Resolves user and groups of the app.
pub(crate) fn resolve(app: &AppFile, root: &Root) -> Result<Identity, Error> {
    identify(app, || read(root, PASSWD), || read(root, GROUP))
}

/// The decision, with the two files read when and if they are needed.
fn identify(
    app: &AppFile,
    passwd: impl Fn() -> Result<String, Error>,
    group: impl Fn() -> Result<String, Error>,
) -> Result<Identity, Error> {
    let user = user(&app.user, passwd)?;
    let gid = match &app.group {
        Some(given) => self::group(given, &group)?,
        None => user.gid,
    };
    let mut groups = Vec::new();
    for given in &app.supplementary_groups {
        groups.push(self::group(given, &group)?);
    }
    if single(&app.id_map) {
        // The caller's own groups cannot be changed in such a namespace; what the image wishes is moot.
        return if groups.is_empty() {
            Ok(identity(user, gid, groups))
        } else {
            Err(Error::GroupsOfOne)
        };
    }
    if !user.name.is_empty() {
        groups.extend(ids::groups_of(&group()?, &user.name)?);
    }
    check_map(&app.id_map, user.uid, gid, &groups)?;
    Ok(identity(user, gid, groups))
}

fn identity(user: User, gid: u32, mut groups: Vec<u32>) -> Identity {
    groups.sort_unstable();
    groups.dedup();
    Identity {
        uid: user.uid,
        gid,
        groups,
        home: Some(user.home)
            .filter(|home| home.starts_with('/'))
            .unwrap_or_else(|| "/".to_owned()),
        name: Some(user.name).filter(|name| !name.is_empty()),
    }
}

/// The user of a name or number; a number needs no entry.
fn user(given: &str, passwd: impl Fn() -> Result<String, Error>) -> Result<User, Error> {
    if !given.is_empty() && !ids::numeric(given) {
        return ids::user_named(&passwd()?, given)?
            .ok_or_else(|| Error::UnknownUser(given.to_owned()));
    }
    let uid = match given {
        "" => 0,
        digits => ids::number(digits).ok_or_else(|| Error::Number(digits.to_owned()))?,
    };
    let entry = match passwd() {
        // User 0 gains nothing by an entry: an image that has an odd file still runs.
        Err(_) if uid == 0 => None,
        text => ids::user_numbered(&text?, uid)?,
    };
    Ok(entry.unwrap_or_else(|| nameless(uid)))
}

fn nameless(uid: u32) -> User {
    User {
        name: String::new(),
        uid,
        gid: 0,
        home: String::new(),
    }
}

fn group(given: &str, file: &impl Fn() -> Result<String, Error>) -> Result<u32, Error> {
    if ids::numeric(given) {
        return ids::number(given).ok_or_else(|| Error::Number(given.to_owned()));
    }
    ids::group_named(&file()?, given)?.ok_or_else(|| Error::UnknownGroup(given.to_owned()))
}

/// A map of one user: such a pod gets a nested namespace for every other id.
pub(crate) fn single(map: &IdMap) -> bool {
    map.uids
        .iter()
        .map(|extent| u64::from(extent.count))
        .sum::<u64>()
        == 1
}

fn check_map(map: &IdMap, uid: u32, gid: u32, groups: &[u32]) -> Result<(), Error> {
    let mapped = |extents: &[Extent], id| extents.iter().any(|e| e.host_of(id).is_some());
    if !mapped(&map.uids, uid) {
        return Err(Error::NotMapped("user", uid));
    }
    if groups.len() > MAX_GROUPS {
        return Err(Error::TooManyGroups(groups.len()));
    }
    let mut gids = groups.iter().copied().chain([gid]);
    match gids.find(|&gid| !mapped(&map.gids, gid)) {
        Some(gid) => Err(Error::NotMapped("group", gid)),
        None => Ok(()),
    }
}

/// The text of a file of the image; a missing one is empty.
fn read(root: &Root, path: &'static str) -> Result<String, Error> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = match root.open(path, flags) {
        Ok(file) => File::from(file),
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(String::new()),
        Err(Errno::ELOOP) => return Err(Error::UsersFile(path, "is a symbolic link")),
        Err(error) => return Err(Error::Users(path, error)),
    };
    let failed = |e: std::io::Error| Error::Users(path, error::errno(&e));
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(Error::UsersFile(path, "is not a regular file"));
    }
    let mut bytes = Vec::with_capacity(4096);
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Error::UsersFile(path, "is longer than 1 MiB"));
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    if ids::bounded(&text) {
        Ok(text)
    } else {
        Err(Error::UsersFile(path, "has a line longer than 64 KiB"))
    }
}
