//! `refs/`: what each name was resolved to when it was fetched. One small file per name, replaced by rename.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::blob::{open, read_at_most};
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::reference::ImageName;

/// Largest record.
const RECORD_LIMIT: u64 = 16 * 1024;

/// How many manifests are remembered for a name.
const REMEMBERED: usize = 64;

/// What a name was resolved to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefRecord {
    /// The name in its canonical form.
    pub name: String,
    /// The manifest for this machine.
    pub manifest: Digest,
    /// The index from which it was chosen.
    pub index: Option<Digest>,
    /// When the name was last resolved: RFC 3339, UTC.
    pub resolved: String,
    /// `ETag` of the registry's answer.
    pub etag: Option<String>,
    /// Manifests that the name stood for before, the last one at the end.
    #[serde(default)]
    pub before: Vec<Digest>,
}

impl RefRecord {
    /// What the name stood for before, when it stands for `manifest` from now on.
    pub(crate) fn history(self, manifest: &Digest) -> Vec<Digest> {
        let mut before = self.before;
        if self.manifest != *manifest {
            before.retain(|digest| *digest != self.manifest);
            before.push(self.manifest);
        }
        let surplus = before.len().saturating_sub(REMEMBERED);
        before.split_off(surplus)
    }
}

impl Store {
    /// Records what `name` was resolved to, in place of an earlier record.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn set_ref(&self, name: &ImageName, record: &RefRecord) -> Result<(), StoreError> {
        let path = self.ref_path(name);
        let write = || {
            let bytes = serde_json::to_vec(record)?;
            if let Some(parent) = path.parent() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(parent)?;
            }
            self.replace(&path, &bytes)
        };
        write().map_err(|e| StoreError::Write(path.clone(), e))
    }

    /// The record of `name`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Read`] or [`StoreError::Record`].
    pub fn ref_record(&self, name: &ImageName) -> Result<Option<RefRecord>, StoreError> {
        let path = self.ref_path(name);
        match read_record(&path) {
            Err(StoreError::Read(_, e)) if is_absent(&e) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Forgets `name`. `false`: it was not known.
    ///
    /// # Errors
    /// [`StoreError::Remove`].
    pub fn remove_ref(&self, name: &ImageName) -> Result<bool, StoreError> {
        let path = self.ref_path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if is_absent(&e) => Ok(false),
            Err(e) => Err(StoreError::Remove(path, e)),
        }
    }

    /// All records, sorted by name.
    ///
    /// # Errors
    /// [`StoreError::Read`] or [`StoreError::Record`].
    pub fn ref_records(&self) -> Result<Vec<RefRecord>, StoreError> {
        let mut records = Vec::new();
        walk(&self.path("refs"), &mut records)?;
        records.sort_by(|a: &RefRecord, b| a.name.cmp(&b.name));
        Ok(records)
    }

    fn ref_path(&self, name: &ImageName) -> PathBuf {
        let ImageName::Registry(reference) = name else {
            let file = Digest::of(name.to_string().as_bytes()).hex();
            return self.path("refs/local").join(file);
        };
        let file = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => format!("@{digest}"),
            (None, tag) => format!(":{}", tag.as_deref().unwrap_or("latest")),
        };
        self.path("refs")
            .join(&reference.host)
            .join(&reference.repository)
            .join(file)
    }
}

/// A missing file, or a file where a directory would have to be.
pub(crate) fn is_absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn read_record(path: &Path) -> Result<RefRecord, StoreError> {
    let bytes = open(path)
        .and_then(|mut file| read_at_most(&mut file, RECORD_LIMIT))
        .map_err(|e| StoreError::Read(path.to_owned(), e))?
        .unwrap_or_default();
    serde_json::from_slice(&bytes).map_err(|e| StoreError::Record(path.to_owned(), e))
}

/// Directories are hosts and components of repositories, files are records; what vanishes meanwhile is skipped.
fn walk(directory: &Path, records: &mut Vec<RefRecord>) -> Result<(), StoreError> {
    let unreadable = |e| StoreError::Read(directory.to_owned(), e);
    let entries = match fs::read_dir(directory) {
        Err(e) if is_absent(&e) => return Ok(()),
        entries => entries.map_err(unreadable)?,
    };
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            walk(&entry.path(), records)?;
            continue;
        }
        match read_record(&entry.path()) {
            Err(StoreError::Read(_, e)) if is_absent(&e) => {}
            record => records.push(record?),
        }
    }
    Ok(())
}
