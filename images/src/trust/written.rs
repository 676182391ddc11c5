//! Writing policy files: whole, by rename, and only what can be read again.

use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File as OsFile, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};

use super::policy;
use super::scope::{Entry, File, Scope, written_key};
use super::{Rule, TrustError};

/// What writers lock, in the directory. It is no policy file by its name, and stays; the kernel releases the lock of who is gone.
const LOCK: &str = ".lock";

/// The layer that is written, locked against other writers until it is dropped.
pub(super) struct Layer {
    pub(super) directory: PathBuf,
    _lock: OsFile,
}

impl Layer {
    /// Locks the last of `layers`, which is made.
    pub(super) fn lock(layers: &[PathBuf]) -> Result<Self, TrustError> {
        let directory = layers.last().ok_or(TrustError::NoLayer)?;
        let failed = |e| TrustError::Write(directory.clone(), e);
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory);
        made.map_err(failed)?;
        // Not the directory itself: who can read that could lock it, and hold up every change for ever.
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(directory.join(LOCK))
            .map_err(failed)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).map_err(|e| failed(e.into()))?;
        Ok(Self {
            directory: directory.clone(),
            _lock: lock,
        })
    }

    /// Whether a policy file is of this layer.
    pub(super) fn has(&self, file: &Path) -> bool {
        file.parent() == Some(&self.directory)
    }

    /// Writes a file, after its text was read back and found to say a policy: a bad file would stop every run.
    pub(super) fn write(&self, path: &Path, header: &str, file: &File) -> Result<(), TrustError> {
        let text = text(header, file, path);
        for entry in policy::parse(&text, path)?.scope {
            if let Rule::Signed(signed) = Scope::new(entry, path)?.rule {
                signed.keys(path)?;
            }
        }
        replace(path, text.as_bytes()).map_err(|e| TrustError::Write(path.to_owned(), e))
    }
}

fn text(header: &str, file: &File, path: &Path) -> String {
    let mut text = header.to_owned();
    for entry in &file.scope {
        // Writing to a String cannot fail.
        let _ = write_entry(&mut text, entry, path);
    }
    text
}

fn write_entry(text: &mut String, entry: &Entry, path: &Path) -> std::fmt::Result {
    let quoted = |value: &str| toml::Value::String(value.to_owned()).to_string();
    let (prefix, rule) = (quoted(&entry.prefix), entry.rule.as_str());
    write!(text, "\n[[scope]]\nprefix = {prefix}\nrule = \"{rule}\"\n")?;
    if let Some(signed_as) = &entry.signed_as {
        writeln!(text, "signed-as = {}", quoted(signed_as))?;
    }
    if let Some(threshold) = entry.threshold {
        writeln!(text, "threshold = {threshold}")?;
    }
    if entry.keys.is_empty() {
        return Ok(());
    }
    text.push_str("keys = [\n");
    for given in &entry.keys {
        match written_key(given, path) {
            Ok(key) if !given.starts_with('/') => {
                let inline = key.to_text();
                let fence = if inline.contains('\n') {
                    "\"\"\"\n"
                } else {
                    "\""
                };
                writeln!(text, "    # {} {}", key.kind(), key.fingerprint())?;
                writeln!(text, "    {fence}{inline}{},", fence.trim_end())?;
            }
            _ => writeln!(text, "    {},", quoted(given))?,
        }
    }
    text.push_str("]\n");
    Ok(())
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("toml-new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.and_then(|()| sync_place(path))
}

/// Removes a policy file.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path).and_then(|()| sync_place(path))
}

/// What is now in the directory of `path` is on the disk: a key that was taken away is not trusted again after a power failure.
fn sync_place(path: &Path) -> io::Result<()> {
    OsFile::open(path.parent().unwrap_or(path))?.sync_all()
}
