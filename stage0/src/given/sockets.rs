//! The sockets of a unit (`sd_listen_fds(3)`): descriptors from 3 on, their names in `LISTEN_FDNAMES`.
//!
//! Sockets and FIFOs are for apps; nothing else that a unit can pass (`OpenFile=`, its store of descriptors) is: a directory leads to
//! the host's files, and so does a file that is opened again with other rights.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::{env, iter, process};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use pod::SocketName;
use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat};
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketType, recvmsg,
};
use thiserror::Error;

/// The number of the first.
const FIRST: RawFd = 3;

/// What a socket is called where nobody named it, as in `sd_listen_fds_with_names(3)`.
const NAMELESS: &str = "unknown";

/// What is claimed and given does not agree.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    /// A descriptor that should be there is not.
    #[error("cannot take descriptor {0} of the {1} that LISTEN_FDS says there are")]
    Take(RawFd, u32, #[source] io::Error),
    /// The names are not those of the descriptors.
    #[error("LISTEN_FDNAMES has {names} names for {sockets} sockets")]
    Names {
        /// So many names.
        names: usize,
        /// So many descriptors.
        sockets: u32,
    },
    /// A name that nobody could claim.
    #[error("cannot use the names of LISTEN_FDNAMES")]
    Name(#[from] pod::Error),
    /// It is not for apps.
    #[error("cannot hand '{name}' of the unit to an app: it is {what}")]
    Kind {
        /// Its name.
        name: SocketName,
        /// What it is.
        what: &'static str,
    },
    /// Nobody would accept from it.
    #[error("no app claims socket '{0}' of the unit")]
    Unclaimed(SocketName),
    /// There is no such socket.
    #[error("an app claims socket '{0}', which the unit does not have")]
    Missing(SocketName),
    /// No sockets were given at all.
    #[error(
        "an app claims socket '{0}', and we were given none: LISTEN_FDS is not there, or LISTEN_PID is another process"
    )]
    None(SocketName),
    /// It would not reach the keeper.
    #[error("cannot hand socket '{0}' over")]
    Keep(SocketName, #[source] nix::Error),
}

impl SocketError {
    /// What the user can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Take(..) | Self::Names { .. } | Self::Name(_) | Self::Keep(..) => {
                "what starts us sets LISTEN_FDS and LISTEN_FDNAMES as in sd_listen_fds(3)".to_owned()
            }
            Self::Kind { .. } => "apps get a unit's FIFOs and its sockets of IPv4, IPv6, Unix and vsock (stream, datagram, seqpacket); files and directories of the host are volumes".to_owned(),
            Self::Unclaimed(name) => format!("an app takes it with '--socket {name}' after its image; or leave it out of the unit (Sockets=, its .socket unit)"),
            Self::Missing(name) => format!("name it with FileDescriptorName={name} in its .socket unit, whose own name it has otherwise; LISTEN_FDNAMES lists what there is"),
            Self::None(name) => format!("start it from a service with a .socket unit, or by hand with 'systemd-socket-activate --fdname={name} --listen=PORT skua run …'"),
        }
    }
}

/// A socket, or the FIFO that a unit has instead.
#[derive(Debug)]
pub(super) struct Socket {
    /// What the unit calls it.
    pub(super) name: SocketName,
    /// Closed on exec.
    pub(super) descriptor: OwnedFd,
}

/// All that were given to this process, in the unit's order.
#[derive(Debug)]
pub(super) struct Sockets(pub(super) Vec<Socket>);

impl Sockets {
    /// Takes them: nothing that we start inherits one. The variables count when they name this process, others inherit them.
    pub(super) fn take() -> Result<Self, SocketError> {
        let ours = number("LISTEN_PID") == Some(process::id());
        let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
        let nameless = iter::repeat(SocketName::parse(NAMELESS)?);
        // As many as there are, and not as many as somebody says: the first that is not there ends it.
        let names = names(count)?.into_iter().chain(nameless);
        let names = names
            .zip(FIRST..)
            .take(count.try_into().unwrap_or(usize::MAX));
        let take = |(name, number)| -> Result<Socket, SocketError> {
            let failed = |e| SocketError::Take(number, count, e);
            let descriptor = copy(number).map_err(failed)?;
            if let Some(what) = not_for_apps(&descriptor).map_err(failed)? {
                return Err(SocketError::Kind { name, what });
            }
            nix::unistd::close(number).map_err(|e| failed(e.into()))?;
            Ok(Socket { name, descriptor })
        };
        Ok(Self(names.map(take).collect::<Result<_, _>>()?))
    }

    /// Holds them against what apps claim: all of one must be in the other.
    pub(super) fn check(&self, claims: &[&SocketName]) -> Result<(), SocketError> {
        let given = |name: &SocketName| self.0.iter().any(|socket| socket.name == *name);
        match claims.iter().find(|name| !given(name)) {
            Some(name) if self.0.is_empty() => return Err(SocketError::None((*name).clone())),
            Some(name) => return Err(SocketError::Missing((*name).clone())),
            None => {}
        }
        let unclaimed = self.0.iter().find(|socket| !claims.contains(&&socket.name));
        unclaimed.map_or(Ok(()), |socket| {
            Err(SocketError::Unclaimed(socket.name.clone()))
        })
    }
}

fn number(variable: &str) -> Option<u32> {
    env::var(variable).ok()?.parse().ok()
}

/// The names of all, or of none.
fn names(count: u32) -> Result<Vec<SocketName>, SocketError> {
    let Some(named) = env::var_os("LISTEN_FDNAMES").filter(|_| count > 0) else {
        return Ok(Vec::new());
    };
    let named = named.to_string_lossy();
    let names: Vec<&str> = named.split(':').collect();
    if usize::try_from(count) != Ok(names.len()) {
        let (names, sockets) = (names.len(), count);
        return Err(SocketError::Names { names, sockets });
    }
    names
        .into_iter()
        .map(|name| Ok(SocketName::parse(name)?))
        .collect()
}

/// A descriptor of our own for an inherited number, closed on exec: the kernel makes one of what goes through a socket.
fn copy(number: RawFd) -> io::Result<OwnedFd> {
    let (here, there) = UnixStream::pair()?;
    let rights = [ControlMessage::ScmRights(&[number])];
    sendmsg::<()>(
        here.as_raw_fd(),
        &[IoSlice::new(&[0])],
        &rights,
        MsgFlags::empty(),
        None,
    )?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    recvmsg(&there, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    // The kernel leaves out what the limit on open files has no room for.
    descriptors
        .flatten()
        .next()
        .ok_or_else(|| rustix::io::Errno::MFILE.into())
}

/// What it is, when it is nothing for apps.
fn not_for_apps(descriptor: &OwnedFd) -> io::Result<Option<&'static str>> {
    let what = match FileType::from_raw_mode(fstat(descriptor)?.st_mode) {
        FileType::Socket => return Ok(other_socket(descriptor)?),
        // One that was opened as a path only could be opened again.
        FileType::Fifo if !fcntl_getfl(descriptor)?.contains(OFlags::PATH) => return Ok(None),
        FileType::Directory => "a directory",
        FileType::RegularFile => "a file",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "neither a socket nor a FIFO",
    };
    Ok(Some(what))
}

/// Packets of the host's network, and its settings, are not for apps either.
fn other_socket(descriptor: &OwnedFd) -> rustix::io::Result<Option<&'static str>> {
    let family = [
        AddressFamily::INET,
        AddressFamily::INET6,
        AddressFamily::UNIX,
        AddressFamily::VSOCK,
    ];
    let kind = [SocketType::STREAM, SocketType::DGRAM, SocketType::SEQPACKET];
    let plain =
        family.contains(&socket_domain(descriptor)?) && kind.contains(&socket_type(descriptor)?);
    Ok((!plain).then_some("a socket for packets or messages of the host itself"))
}
