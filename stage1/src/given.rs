//! What whoever runs the pod gives to its apps: sockets of a unit, and files with credentials.
//!
//! **Runs as** the keeper. **Needs** the descriptors that stage0 left open, and the variables that list them. **Leaves** each with
//! the app that claims it. **Undone by** closing: the keeper has none when the inside is there.

use std::os::fd::{OwnedFd, RawFd};
use std::str::FromStr;

use pod::{
    AppName, CREDENTIALS_VARIABLE, Credential, CredentialName, PodManifest, SOCKETS_VARIABLE,
    SocketName, parse_descriptors,
};

use crate::error::Error;
use crate::sys;

/// What is given to the apps of a pod.
#[derive(Debug)]
pub(crate) struct Given {
    /// In the order in which the apps claim them.
    pub(crate) sockets: Vec<Socket>,
    /// Open files, by the names that apps claim.
    pub(crate) credentials: Vec<(CredentialName, OwnedFd)>,
}

/// A socket of the unit.
#[derive(Debug)]
pub(crate) struct Socket {
    /// The app that claims it.
    pub(crate) app: AppName,
    /// What the unit calls it.
    pub(crate) name: SocketName,
    /// The socket.
    pub(crate) descriptor: OwnedFd,
}

impl Given {
    /// Takes over all that was inherited: it must be what the apps claim, no less and no more.
    pub(crate) fn take(manifest: &PodManifest) -> Result<Self, Error> {
        let mut all: Vec<(SocketName, OwnedFd)> = inherited(SOCKETS_VARIABLE)?;
        let mut sockets = Vec::new();
        for app in &manifest.apps {
            for name in &app.sockets {
                let claimed: Vec<_> = all.extract_if(.., |(other, _)| other == name).collect();
                if claimed.is_empty() {
                    return Err(Error::NoSocket(app.name.clone(), name.clone()));
                }
                sockets.extend(claimed.into_iter().map(|(name, descriptor)| Socket {
                    app: app.name.clone(),
                    name,
                    descriptor,
                }));
            }
        }
        if let Some((name, _)) = all.into_iter().next() {
            return Err(Error::SocketOfNobody(name));
        }
        Ok(Self {
            sockets,
            credentials: credentials(manifest)?,
        })
    }
}

fn credentials(manifest: &PodManifest) -> Result<Vec<(CredentialName, OwnedFd)>, Error> {
    let given: Vec<(CredentialName, OwnedFd)> = inherited(CREDENTIALS_VARIABLE)?;
    for app in &manifest.apps {
        for Credential { source, .. } in &app.credentials {
            if given.iter().all(|(name, _)| name != source) {
                return Err(Error::NoCredential(app.name.clone(), source.clone()));
            }
        }
    }
    Ok(given)
}

/// What a variable lists, closed on exec from now on.
fn inherited<N: FromStr>(variable: &'static str) -> Result<Vec<(N, OwnedFd)>, Error> {
    let Some(list) = std::env::var_os(variable) else {
        return Ok(Vec::new());
    };
    let listed = list.to_str().and_then(parse_descriptors);
    let listed: Vec<(RawFd, N)> = listed.ok_or(Error::Descriptors(variable))?;
    let own = |(number, name)| {
        let file = sys::inherited(number).map_err(|e| Error::Inherited(number, e))?;
        Ok((name, file.into()))
    };
    listed.into_iter().map(own).collect()
}
