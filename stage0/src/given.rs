//! What a unit of systemd gives to us for the apps of a pod: sockets, and credentials. What is claimed must be there, and a socket that
//! is there be claimed, before anything is done.

mod credentials;
mod sockets;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use pod::{
    CREDENTIALS_VARIABLE, CredentialName, LISTEN_VARIABLES, PodManifest, SOCKETS_VARIABLE,
    SocketName, list_descriptors,
};

use crate::error::Error;
use crate::run_line::AppLine;
use sockets::Sockets;

pub(crate) use credentials::CredentialError;
pub(crate) use sockets::SocketError;

/// What the apps of a pod claim, by name.
#[derive(Debug, Default)]
pub(crate) struct Claims<'a> {
    sockets: Vec<&'a SocketName>,
    credentials: Vec<&'a CredentialName>,
}

/// Descriptors that the keeper gets for the apps; no other process does.
#[derive(Debug)]
pub(crate) struct Given {
    sockets: Sockets,
    credentials: Vec<(CredentialName, File)>,
}

impl<'a> Claims<'a> {
    /// Of a command line.
    pub(crate) fn of_lines(lines: &'a [AppLine]) -> Self {
        let sockets = lines.iter().flat_map(|line| &line.flags.socket);
        let credentials = lines.iter().flat_map(|line| &line.flags.credential);
        Self {
            sockets: sockets.collect(),
            credentials: credentials.map(|claimed| &claimed.0.source).collect(),
        }
    }

    /// Of a pod that is prepared.
    pub(crate) fn of_pod(manifest: &'a PodManifest) -> Self {
        let sockets = manifest.apps.iter().flat_map(|app| &app.sockets);
        let credentials = manifest.apps.iter().flat_map(|app| &app.credentials);
        Self {
            sockets: sockets.collect(),
            credentials: credentials.map(|claimed| &claimed.source).collect(),
        }
    }
}

impl Given {
    /// The sockets that were given to us are ours from now on: no process that we start inherits one.
    pub(crate) fn take() -> Result<Self, Error> {
        Ok(Self {
            sockets: Sockets::take()?,
            credentials: Vec::new(),
        })
    }

    /// Holds them against what is claimed, and opens the credentials.
    pub(crate) fn meet(&mut self, claims: &Claims<'_>) -> Result<(), Error> {
        self.sockets.check(&claims.sockets)?;
        self.credentials = credentials::open(&claims.credentials)?;
        Ok(())
    }

    /// Lets all of it through the exec of `command`, and tells it there.
    pub(crate) fn inherit(&self, command: &mut Command) -> Result<(), Error> {
        for socket in &self.sockets.0 {
            let failed = |e| SocketError::Keep(socket.name.clone(), e);
            through_exec(&socket.descriptor).map_err(failed)?;
        }
        for (name, file) in &self.credentials {
            let failed = |e| CredentialError::Keep(name.clone(), e);
            through_exec(file).map_err(failed)?;
        }
        let sockets = self.sockets.0.iter();
        let sockets = sockets.map(|socket| (socket.descriptor.as_raw_fd(), socket.name.as_str()));
        let credentials = self.credentials.iter();
        let credentials = credentials.map(|(name, file)| (file.as_raw_fd(), name.as_str()));
        for (variable, list) in [
            (SOCKETS_VARIABLE, list_descriptors(sockets)),
            (CREDENTIALS_VARIABLE, list_descriptors(credentials)),
        ] {
            match list.as_str() {
                "" => command.env_remove(variable),
                list => command.env(variable, list),
            };
        }
        for variable in LISTEN_VARIABLES {
            command.env_remove(variable);
        }
        Ok(())
    }
}

fn through_exec(descriptor: impl AsFd) -> nix::Result<()> {
    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty())).map(drop)
}
