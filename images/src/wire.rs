//! Messages between the coordinator and its workers: bounded JSON packets that may carry descriptors, over a Unix socket.
//!
//! The socket is of type `SOCK_SEQPACKET`: a message arrives whole or not at all, so no framing can go wrong, and a reader that
//! finds a message too large has lost that message only. Both sides trust the other's descriptors no more than its bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::strict_json;

/// The largest message in bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most descriptors in one message.
pub const MAX_DESCRIPTORS: usize = 4;

/// Why a message did not pass.
#[derive(Debug, Error)]
pub enum WireError {
    /// The other side has closed its end.
    #[error("the other side ended without an answer")]
    Closed,
    /// The socket failed.
    #[error("cannot {0} a message")]
    Socket(&'static str, #[source] io::Error),
    /// It is larger than [`MAX_MESSAGE`] or has more than [`MAX_DESCRIPTORS`].
    #[error("a message is too large")]
    TooLarge,
    /// It cannot be written as JSON.
    #[error("cannot write a message")]
    Encode(#[source] serde_json::Error),
    /// It cannot be answered beside others.
    #[error("cannot start a thread to answer a message")]
    Thread(#[source] io::Error),
    /// It is not what the protocol expects here.
    #[error("a message is malformed")]
    Decode(#[source] strict_json::JsonError),
}

/// One end of a connected pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

impl Channel {
    /// Two connected ends, closed on exec.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (here, there) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(here), Self(there)))
    }

    /// Sends `message` and duplicates of `descriptors`.
    ///
    /// # Errors
    /// A [`WireError`]; [`WireError::Closed`] when nobody reads any more.
    pub fn send<T: Serialize>(
        &self,
        message: &T,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), WireError> {
        let bytes = serde_json::to_vec(message).map_err(WireError::Encode)?;
        if bytes.len() > MAX_MESSAGE || descriptors.len() > MAX_DESCRIPTORS {
            return Err(WireError::TooLarge);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let parts = [IoSlice::new(&bytes)];
        loop {
            match rustix::net::sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => {
                    return Err(WireError::Closed);
                }
                Err(error) => return Err(WireError::Socket("send", error.into())),
            }
        }
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// A [`WireError`]; [`WireError::Closed`] when the other side has gone.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), WireError> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            match rustix::net::recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => return Err(WireError::Closed),
                Err(error) => return Err(WireError::Socket("receive", error.into())),
            }
        };
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        if received.bytes == 0 {
            return Err(WireError::Closed);
        }
        if received
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(WireError::TooLarge);
        }
        let message = strict_json::from_slice(&bytes[..received.bytes], MAX_MESSAGE)
            .map_err(WireError::Decode)?;
        Ok((message, descriptors))
    }
}

/// An error and its causes in one line, as it is told to the other side.
#[must_use]
pub fn error_line(error: &dyn std::error::Error) -> String {
    const LONGEST: usize = 2000;
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        cause = inner.source();
    }
    line.chars().take(LONGEST).collect()
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Self {
        Self(socket)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> Self {
        channel.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_message_carries_descriptors() {
        let (here, there) = Channel::pair().unwrap();
        let (mut read, write) = std::io::pipe().unwrap();
        here.send(&"job", &[write.as_fd()]).unwrap();
        drop(write);
        let (message, descriptors): (String, _) = there.receive().unwrap();
        assert_eq!(message, "job");
        let [sink] = <[OwnedFd; 1]>::try_from(descriptors).unwrap();
        std::fs::File::from(sink).write_all(b"bytes").unwrap();
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "bytes");
    }

    #[test]
    fn what_does_not_follow_the_protocol_is_refused() {
        let (here, there) = Channel::pair().unwrap();
        let huge = "x".repeat(MAX_MESSAGE);
        assert!(matches!(here.send(&huge, &[]), Err(WireError::TooLarge)));
        rustix::net::send(&here.0, &vec![b' '; MAX_MESSAGE + 1], SendFlags::empty()).unwrap();
        assert!(matches!(
            there.receive::<String>(),
            Err(WireError::TooLarge)
        ));
        here.send(&7, &[]).unwrap();
        assert!(matches!(
            there.receive::<String>(),
            Err(WireError::Decode(_))
        ));
        drop(here);
        assert!(matches!(there.receive::<String>(), Err(WireError::Closed)));
    }
}
