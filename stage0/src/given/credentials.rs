//! Credentials of a unit: files of `$CREDENTIALS_DIRECTORY` (`systemd.exec(5)`, `LoadCredential=`, `SetCredential=`). They are opened
//! here and read in the pod: their contents never pass through this program.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::{env, io};

use pod::{CREDENTIALS_DIRECTORY, CredentialName, MAX_CREDENTIAL};
use thiserror::Error;

/// A credential that cannot be given.
#[derive(Debug, Error)]
pub(crate) enum CredentialError {
    /// Nobody gave us any.
    #[error(
        "an app claims credential '{0}', and we were given none: CREDENTIALS_DIRECTORY is no absolute path"
    )]
    None(CredentialName),
    /// It is not there, or not for us.
    #[error("cannot open credential '{0}' in {dir}", dir = .1.display())]
    Open(CredentialName, PathBuf, #[source] io::Error),
    /// A directory, a FIFO or a device.
    #[error("credential '{0}' in {dir} is not a file", dir = .1.display())]
    NotAFile(CredentialName, PathBuf),
    /// It is no secret of this size.
    #[error("credential '{0}' has {1} bytes, more than {MAX_CREDENTIAL}")]
    TooLarge(CredentialName, u64),
    /// It would not reach the keeper.
    #[error("cannot hand credential '{0}' over")]
    Keep(CredentialName, #[source] nix::Error),
}

impl CredentialError {
    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::None(name) | Self::Open(name, ..) => Some(format!(
                "LoadCredential={name}:PATH or SetCredential={name}:TEXT of the unit makes it; by hand, CREDENTIALS_DIRECTORY names a directory with files"
            )),
            Self::NotAFile(..) => {
                Some("each file of a directory is a credential of its own".to_owned())
            }
            Self::TooLarge(..) => Some("what is large is for a volume".to_owned()),
            Self::Keep(..) => None,
        }
    }
}

/// Opens all that are claimed, each once.
pub(super) fn open(
    claimed: &[&CredentialName],
) -> Result<Vec<(CredentialName, File)>, CredentialError> {
    let mut all: Vec<(CredentialName, File)> = Vec::new();
    for name in claimed {
        if all.iter().all(|(known, _)| known != *name) {
            all.push(((*name).clone(), one(name)?));
        }
    }
    Ok(all)
}

fn one(name: &CredentialName) -> Result<File, CredentialError> {
    let directory = env::var_os(CREDENTIALS_DIRECTORY).map(PathBuf::from);
    let directory = directory.filter(|path| path.is_absolute());
    let directory = directory.ok_or_else(|| CredentialError::None(name.clone()))?;
    // Nobody is waited for who might write to a FIFO.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let opened = options.open(directory.join(name.as_str()));
    let found = opened.and_then(|file| Ok((file.metadata()?, file)));
    match found {
        Err(e) => Err(CredentialError::Open(name.clone(), directory, e)),
        Ok((found, _)) if !found.is_file() => {
            Err(CredentialError::NotAFile(name.clone(), directory))
        }
        Ok((found, _)) if found.len() > MAX_CREDENTIAL => {
            Err(CredentialError::TooLarge(name.clone(), found.len()))
        }
        Ok((_, file)) => Ok(file),
    }
}
