//! `evidence/sha256/<manifest>/`: signatures, each a file that appears whole or not at all.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use super::blob::{open, read_at_most};
use super::{Store, StoreError};
use crate::digest::Digest;
use crate::evidence::Evidence;

impl Store {
    /// Keeps all items of `evidence` beside the manifest; those that are there already stay as they are.
    ///
    /// # Errors
    /// [`StoreError::Write`].
    pub fn put_evidence(&self, manifest: &Digest, evidence: &Evidence) -> Result<(), StoreError> {
        let directory = self.evidence_dir(manifest);
        for (name, bytes) in evidence.files() {
            let path = directory.join(name);
            self.put_item(&directory, &path, bytes)
                .map_err(|e| StoreError::Write(path.clone(), e))?;
        }
        Ok(())
    }

    fn put_item(&self, directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if is_there(path, bytes) {
            return Ok(());
        }
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        self.replace(path, bytes)
    }
}

/// What cannot be read is replaced like what is damaged.
fn is_there(path: &Path, bytes: &[u8]) -> bool {
    let found = open(path).and_then(|mut file| read_at_most(&mut file, bytes.len() as u64));
    found.is_ok_and(|found| found.as_deref() == Some(bytes))
}
