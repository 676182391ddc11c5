//! What is in a store, so that two of them can be compared, and file systems of a test's own to keep one on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::{Env, User, sha256};

/// Everything below a directory: what each path is. Times and the names of what is being written do not count.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn snapshot(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// The store of an environment; a name's record counts by what it stands for, not by when it was resolved, and how much of
/// the disk a tree takes does not count: any listing may have written it down. Nor does when a tree was written.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn store_snapshot(env: &Env) -> BTreeMap<String, String> {
    let root = env.data().join("store");
    let mut found = snapshot(&root);
    found.retain(|path, _| {
        let parts: Vec<_> = path.split('/').collect();
        !matches!(parts[..], ["trees", _, _, "disk"])
    });
    for (path, what) in &mut found {
        if path.starts_with("trees/") && path.ends_with("/written") && path.split('/').count() == 4
        {
            "when".clone_into(what);
        }
        if path.starts_with("refs/") && !what.starts_with("directory") {
            let bytes = fs::read(root.join(path)).expect("read a record");
            let mut record: serde_json::Value = serde_json::from_slice(&bytes).expect("a record");
            record["resolved"] = serde_json::Value::Null;
            *what = record.to_string();
        }
    }
    found
}

/// The first differences of two snapshots, for a message; empty when there are none.
#[must_use]
pub fn difference(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<String> {
    let gone = before
        .iter()
        .filter(|(path, what)| after.get(*path) != Some(what))
        .map(|(path, what)| format!("- {path}: {what}"));
    let new = after
        .iter()
        .filter(|(path, what)| before.get(*path) != Some(what))
        .map(|(path, what)| format!("+ {path}: {what}"));
    gone.chain(new).take(20).collect()
}

fn walk(root: &Path, at: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        let kind = if metadata.is_dir() {
            walk(root, &path, found);
            "directory".to_owned()
        } else if metadata.is_symlink() {
            format!(
                "link to {}",
                fs::read_link(&path).expect("a link").display()
            )
        } else if metadata.is_file() {
            sha256(&fs::read(&path).expect("read a file"))
        } else {
            format!("device or fifo {:x}", metadata.rdev())
        };
        let (mode, uid, gid) = (metadata.mode(), metadata.uid(), metadata.gid());
        let name = path.strip_prefix(root).expect("below the root");
        let name = name.to_string_lossy().into_owned();
        found.insert(name, format!("{kind} {mode:o} {uid}:{gid}"));
    }
}

/// Turns this thread into one with mounts of its own, of which the machine sees nothing. `None`, said so, when that cannot
/// be had here.
///
/// # Panics
/// When the mounts cannot be made private.
#[must_use]
pub fn private_mounts(test: &str) -> Option<User> {
    let root = User::root(test)?;
    unshare(CloneFlags::CLONE_NEWNS).expect("unshare");
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private mounts");
    Some(root)
}

/// Mounts a tmpfs on the data directory of `env`, which need not exist, with these options.
///
/// # Panics
/// When it cannot be mounted.
pub fn mount_data(env: &Env, options: &str) {
    let (data, (uid, gid)) = (env.data(), env.user().ids());
    fs::create_dir_all(&data).expect("make the data directory");
    let options = format!("mode=0755,uid={uid},gid={gid},{options}");
    let tmpfs = Some("tmpfs");
    mount(
        tmpfs,
        &data,
        tmpfs,
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .expect("a tmpfs");
}
