//! Reading a `policy.toml`: strict, bounded, and only one that nobody else can have written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::{Bounds, Written};
use crate::small_file;

/// The name of the file in each directory.
const FILE: &str = "policy.toml";

/// The most bytes of one.
const MAX_POLICY: u64 = 1 << 20;

/// Why a policy cannot be loaded: nothing runs then.
#[derive(Debug)]
pub enum PolicyError {
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// It is not a file that only its owner could change.
    Owner(PathBuf),
    /// It is not what a policy is: in which line, and why.
    Parse(PathBuf, usize, String),
    /// A path in it is relative.
    Relative(PathBuf, PathBuf),
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = |f: &mut fmt::Formatter<'_>, path: &Path, why: &dyn fmt::Display| {
            write!(f, "cannot load {}: {why}", path.display())
        };
        match self {
            Self::Read(path, _) => write!(f, "cannot load {}", path.display()),
            Self::Owner(path) => load(f, path, &"others than its owner could have written it"),
            Self::Parse(path, line, why) => load(f, path, &format_args!("line {line}: {why}")),
            Self::Relative(path, relative) => {
                let why = format!("{} is a relative path", relative.display());
                load(f, path, &why)
            }
        }
    }
}

impl std::error::Error for PolicyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, e) => Some(e),
            Self::Owner(_) | Self::Parse(..) | Self::Relative(..) => None,
        }
    }
}

impl Bounds {
    /// Applies the file of one directory, if it is there. It must belong to one of `owners`.
    pub(super) fn load(&mut self, directory: &Path, owners: &[u32]) -> Result<(), PolicyError> {
        let path = directory.join(FILE);
        let failed = |e| PolicyError::Read(path.clone(), e);
        let file = match small_file::open(&path) {
            Ok(file) => file,
            // A link that leads nowhere is no absence: somebody wants bounds.
            Err(e) if is_absence(&e) => match std::fs::read_link(&path) {
                Ok(_) => {
                    let why = "it is a link to what is not there";
                    return Err(failed(io::Error::new(e.kind(), why)));
                }
                Err(_) => return Ok(()),
            },
            Err(e) => return Err(failed(e)),
        };
        if !small_file::is_of(&file, owners).map_err(failed)? {
            return Err(PolicyError::Owner(path));
        }
        let text = small_file::bytes(file, MAX_POLICY).map_err(failed)?;
        let text = String::from_utf8(text).map_err(|e| failed(io::Error::other(e)))?;
        self.apply(parse(&text, &path)?, &path);
        Ok(())
    }
}

fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Parses a policy. What only looks like one is an error.
pub(super) fn parse(text: &str, path: &Path) -> Result<Written, PolicyError> {
    let written: Written = toml::from_str(text).map_err(|e| {
        let before = text.get(..e.span().map_or(0, |span| span.start));
        let line = 1 + before.map_or(0, |before| before.matches('\n').count());
        PolicyError::Parse(path.to_owned(), line, e.message().to_owned())
    })?;
    let volumes = written.host_volumes.iter().flatten().map(|v| &v.path);
    let programs = written.stage1.iter().flatten();
    let devices = written.devices.iter().flatten();
    let mut paths = volumes.chain(programs).chain(devices);
    match paths.find(|path| !path.is_absolute()) {
        Some(relative) => Err(PolicyError::Relative(path.to_owned(), relative.clone())),
        None => Ok(written),
    }
}
