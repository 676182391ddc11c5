//! What whoever runs the pod gives to its apps: sockets of a unit.
//!
//! **Runs as** the keeper. **Needs** the descriptors that stage0 left open, and the variable that lists them. **Leaves** each with
//! the app that claims it. **Undone by** closing: the keeper has none when the inside is there.

use std::os::fd::{OwnedFd, RawFd};

use pod::{AppName, PodManifest, SOCKETS_VARIABLE, SocketName, parse_descriptors};

use crate::error::Error;
use crate::sys;

/// What is given to the apps of a pod.
#[derive(Debug)]
pub(crate) struct Given {
    /// In the order in which the apps claim them.
    pub(crate) sockets: Vec<Socket>,
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
        let mut all = inherited()?;
        let mut sockets = Vec::new();
        for app in &manifest.apps {
            for name in &app.sockets {
                let claimed: Vec<_> = all.extract_if(.., |(_, other)| other == name).collect();
                if claimed.is_empty() {
                    return Err(Error::NoSocket(app.name.clone(), name.clone()));
                }
                sockets.extend(claimed.into_iter().map(|(descriptor, name)| Socket {
                    app: app.name.clone(),
                    name,
                    descriptor,
                }));
            }
        }
        match all.into_iter().next() {
            Some((_, name)) => Err(Error::SocketOfNobody(name)),
            None => Ok(Self { sockets }),
        }
    }
}

/// The inherited sockets, closed on exec from now on.
fn inherited() -> Result<Vec<(OwnedFd, SocketName)>, Error> {
    let Some(list) = std::env::var_os(SOCKETS_VARIABLE) else {
        return Ok(Vec::new());
    };
    let listed = list.to_str().and_then(parse_descriptors);
    let listed: Vec<(RawFd, SocketName)> = listed.ok_or(Error::Descriptors(SOCKETS_VARIABLE))?;
    let own = |(number, name)| {
        let file = sys::inherited(number).map_err(|e| Error::Inherited(number, e))?;
        Ok((file.into(), name))
    };
    listed.into_iter().map(own).collect()
}
