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

/// What is recorded of all names.
#[derive(Debug, Default)]
pub struct Names {
    /// Sorted by name.
    pub records: Vec<RefRecord>,
    /// What is wrong with each record that cannot be read: what its image needs is unknown.
    pub unreadable: Vec<StoreError>,
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
                self.make_room(parent)?;
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(parent)?;
            }
            match self.replace(&path, &bytes) {
                Err(e) if e.kind() == io::ErrorKind::IsADirectory => {
                    self.discard(&path)?;
                    self.replace(&path, &bytes)
                }
                replaced => replaced,
            }
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
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => match self.discard(&path) {
                Ok(()) => Ok(true),
                Err(e) => Err(StoreError::Remove(path, e)),
            },
            Err(e) if is_absent(&e) => Ok(false),
            Err(e) => Err(StoreError::Remove(path, e)),
        }
    }

    /// All records.
    #[must_use]
    pub fn names(&self) -> Names {
        let mut names = Names::default();
        let refs = self.path("refs");
        names.read_all(&refs, &refs);
        names.records.sort_by(|a, b| a.name.cmp(&b.name));
        names
    }

    /// Removes a directory that is where a record has to be, out of sight first.
    fn discard(&self, path: &Path) -> io::Result<()> {
        let gone = self.take_away(path)?;
        self.remove_dir(&gone)
    }

    /// Removes what is no directory where directories have to be.
    fn make_room(&self, directory: &Path) -> io::Result<()> {
        let refs = self.path("refs");
        for path in directory
            .ancestors()
            .take_while(|path| path.starts_with(&refs))
        {
            match fs::symlink_metadata(path) {
                Ok(found) if !found.is_dir() => fs::remove_file(path)?,
                Err(e) if !is_absent(&e) => return Err(e),
                _ => {}
            }
        }
        Ok(())
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

impl Names {
    /// Directories are hosts and components of repositories; all else is a record, and so is what has the name of one. What
    /// vanishes meanwhile is skipped.
    fn read_all(&mut self, refs: &Path, directory: &Path) {
        let vanished = |e: &io::Error| e.kind() == io::ErrorKind::NotFound;
        let unreadable = |e| StoreError::Read(directory.to_owned(), e);
        let entries = match fs::read_dir(directory) {
            Err(e) if vanished(&e) => return,
            Err(e) => return self.unreadable.push(unreadable(e)),
            Ok(entries) => entries,
        };
        for entry in entries {
            match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?.is_dir()))) {
                Err(e) if vanished(&e) => {}
                Err(e) => self.unreadable.push(unreadable(e)),
                Ok((path, true)) if !is_record(refs, &path) => self.read_all(refs, &path),
                Ok((path, _)) => match read_record(&path) {
                    Err(StoreError::Read(_, e)) if vanished(&e) => {}
                    Err(error) => self.unreadable.push(of_path(refs, &path, error)),
                    Ok(record) => self.records.push(record),
                },
            }
        }
    }
}

/// Whether a path can be that of a record only.
fn is_record(refs: &Path, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.starts_with(b":") || name.starts_with(b"@") || path.parent() == Some(&refs.join("local"))
}

/// Says which image has a record that cannot be read, as far as the path tells.
fn of_path(refs: &Path, path: &Path, error: StoreError) -> StoreError {
    match name_of(refs, path) {
        Some(name) => error.of_image(&name),
        None => StoreError::Nameless(Box::new(error)),
    }
}

fn name_of(refs: &Path, path: &Path) -> Option<ImageName> {
    let repository = path.parent()?.strip_prefix(refs).ok()?.to_str()?;
    let rest = path.file_name()?.to_str()?;
    let text = match rest.strip_prefix('@') {
        Some(digest) => format!("{repository}@{digest}"),
        None => format!("{repository}:{}", rest.strip_prefix(':')?),
    };
    ImageName::parse_recorded(&text).ok()
}
