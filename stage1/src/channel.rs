//! What a process and its child in a pod say to each other, over a socket pair that the child's exec closes.
//!
//! Keeper to inside: one byte when the id maps are written; another when the pod's files and cgroups are there, or as root the
//! mounts that the keeper has opened; then the host's files, each as length and content. Inside to keeper: one byte when it
//! is in its own namespaces, with that of the network for pods in networks. Inside or its builder to keeper, and usher to caller: descriptors; then the end of the stream, or
//! before it what failed.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::error::Error;
use crate::op::HostFile;
use crate::rootfs::HostFiles;
use crate::sys;

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

/// The first byte of a message from the inside, or with the keeper's mounts.
const SEPARATE: u8 = b's';
const DESCRIPTOR: u8 = b'd';
const FAILED: u8 = b'f';

/// The order of the host's files.
const FILES: [HostFile; 3] = [HostFile::Hostname, HostFile::Hosts, HostFile::ResolvConf];

/// Descriptors in one message; the kernel's limit is 253 (`SCM_MAX_FD`).
const BATCH: usize = 128;

/// The keeper's end and the inside's. The inside's lies at `first` or above, where nothing of stage2 will be, so that it lives
/// until exec has succeeded.
pub(crate) fn pair(first: RawFd) -> Result<(Channel, Channel), Error> {
    let (keepers, insides) = UnixStream::pair().map_err(Error::Channel)?;
    let insides = sys::lift(insides.as_fd(), first).map_err(Error::Channel)?;
    Ok((Channel(keepers), Channel(insides.into())))
}

impl Channel {
    /// What the inside waits for is there.
    pub(crate) fn send_go_on(&self) -> Result<(), Error> {
        (&self.0).write_all(&[0]).map_err(|e| self.unsent(e))
    }

    /// Waits until it may go on.
    pub(crate) fn receive_go_on(&self) -> Result<(), Error> {
        (&self.0).read_exact(&mut [0]).map_err(Error::Channel)
    }

    /// The inside is in namespaces of its own, of which the keeper may get one.
    pub(crate) fn send_separate(&self, namespace: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let numbers: Vec<_> = namespace.iter().map(AsRawFd::as_raw_fd).collect();
        self.send_rights(SEPARATE, &numbers)
    }

    /// Waits until the inside is in namespaces of its own.
    pub(crate) fn receive_separate(&self) -> Result<Option<OwnedFd>, Error> {
        let mut first = [0];
        let space = || nix::cmsg_space!([RawFd; 1]);
        let received = patiently(|| self.receive_rights(&mut first, space()));
        match received.map_err(Error::Channel)? {
            (0, _) => Err(Error::Channel(io::ErrorKind::UnexpectedEof.into())),
            (_, mut namespace) if first[0] == SEPARATE => Ok(namespace.pop()),
            _ => Err(self.receive_failure()),
        }
    }

    /// Sends mounts, of which the inside knows the number.
    pub(crate) fn send_mounts(&self, mounts: &[OwnedFd]) -> Result<(), Error> {
        mounts.chunks(BATCH).try_for_each(|batch| {
            let numbers: Vec<_> = batch.iter().map(AsRawFd::as_raw_fd).collect();
            self.send_rights(DESCRIPTOR, &numbers)
        })
    }

    /// Waits for so many mounts.
    pub(crate) fn receive_mounts(&self, count: usize) -> Result<Vec<OwnedFd>, Error> {
        let mut mounts = Vec::with_capacity(count);
        while mounts.len() < count {
            let received = self.receive_rights(&mut [0], nix::cmsg_space!([RawFd; BATCH]));
            match received.map_err(Error::Channel)? {
                (0, _) => return Err(Error::Channel(io::ErrorKind::UnexpectedEof.into())),
                // The kernel leaves out what the limit on open files has no room for.
                (_, none) if none.is_empty() => {
                    return Err(Error::Channel(Errno::EMFILE.into()));
                }
                (_, descriptors) => mounts.extend(descriptors),
            }
        }
        Ok(mounts)
    }

    /// Sends the host's files in one message.
    pub(crate) fn send_files(&self, files: &HostFiles) -> Result<(), Error> {
        let mut message = Vec::new();
        for file in FILES {
            let content = files.contents.iter().find(|(which, _)| *which == file);
            let content = content.map_or(&[][..], |(_, content)| content);
            let length =
                u32::try_from(content.len()).map_err(|e| Error::Channel(io::Error::other(e)))?;
            message.extend_from_slice(&length.to_ne_bytes());
            message.extend_from_slice(content);
        }
        (&self.0).write_all(&message).map_err(Error::Channel)
    }

    /// Waits for the host's files.
    pub(crate) fn receive_files(&self) -> Result<HostFiles, Error> {
        let one = |file| -> io::Result<(HostFile, Vec<u8>)> {
            let mut length = [0; 4];
            (&self.0).read_exact(&mut length)?;
            let mut content = vec![0; u32::from_ne_bytes(length) as usize];
            (&self.0).read_exact(&mut content)?;
            Ok((file, content))
        };
        let contents = FILES.into_iter().map(one).collect::<io::Result<_>>();
        Ok(HostFiles {
            contents: contents.map_err(Error::Channel)?,
        })
    }

    /// Sends a descriptor.
    pub(crate) fn send_descriptor(&self, descriptor: BorrowedFd<'_>) -> Result<(), Error> {
        self.send_rights(DESCRIPTOR, &[descriptor.as_raw_fd()])
    }

    fn send_rights(&self, first: u8, numbers: &[RawFd]) -> Result<(), Error> {
        let rights = [ControlMessage::ScmRights(numbers)];
        let rights = if numbers.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let data = [first];
        let data = [IoSlice::new(&data)];
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &data, rights, flags, None);
        sent.map(drop).map_err(|e| self.unsent(e.into()))
    }

    /// Why nothing could be sent: an inside that has ended before it read everything has said why, after what it says in any case.
    fn unsent(&self, error: io::Error) -> Error {
        let ended = [io::ErrorKind::BrokenPipe, io::ErrorKind::ConnectionReset];
        let mut said = String::new();
        if ended.contains(&error.kind())
            && patiently(|| (&self.0).read_to_string(&mut said)).is_ok()
        {
            let said = said.trim_start_matches(char::from(SEPARATE));
            if let Some(failure) = said.strip_prefix(char::from(FAILED)) {
                return Error::Inside(failure.to_owned());
            }
        }
        Error::Channel(error)
    }

    /// Says what failed, as the last thing. If nobody listens any more, there is nobody to tell.
    pub(crate) fn send_failure(&self, message: &str) {
        let _ = (&self.0).write_all(&[&[FAILED], message.as_bytes()].concat());
    }

    /// The same of a system call, without taking memory.
    pub(crate) fn send_errno(&self, what: &str, errno: Errno) {
        let parts = [&[FAILED], what.as_bytes(), b": ", errno.desc().as_bytes()];
        let _ = parts.iter().try_for_each(|part| (&self.0).write_all(part));
    }

    /// Waits for the end of the stream; the descriptors that came before it.
    pub(crate) fn receive_all(&self) -> Result<Vec<OwnedFd>, Error> {
        let mut descriptors = Vec::new();
        loop {
            let mut first = [0];
            let space = || nix::cmsg_space!([RawFd; 1]);
            let received = patiently(|| self.receive_rights(&mut first, space()));
            let (length, received) = received.map_err(Error::Channel)?;
            match (length, first[0], received.is_empty()) {
                (0, ..) => return Ok(descriptors),
                (_, DESCRIPTOR, false) => descriptors.extend(received),
                _ => return Err(self.receive_failure()),
            }
        }
    }

    fn receive_failure(&self) -> Error {
        let mut message = String::new();
        match patiently(|| (&self.0).read_to_string(&mut message)) {
            Ok(_) => Error::Inside(message),
            Err(e) => Error::Channel(e),
        }
    }

    fn receive_rights(
        &self,
        into: &mut [u8; 1],
        mut space: Vec<u8>,
    ) -> io::Result<(usize, Vec<OwnedFd>)> {
        let mut data = [IoSliceMut::new(into)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(self.0.as_raw_fd(), &mut data, Some(&mut space), flags)?;
        let mut descriptors = Vec::new();
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = message {
                for number in numbers {
                    descriptors.push(sys::inherited(number)?.into());
                }
            }
        }
        Ok((received.bytes, descriptors))
    }
}

/// An inside that ends before it has read everything resets the connection once; what it said can still be read.
fn patiently<T>(mut receive: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match receive() {
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => receive(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keeper's end, of an inside that has ended and said why.
    fn of_ended() -> Channel {
        let (ours, theirs) = pair(3).unwrap();
        theirs.send_separate(None).unwrap();
        theirs.send_failure("cannot set the host name");
        ours
    }

    #[test]
    fn what_failed_in_an_inside_that_has_ended_is_told_whatever_was_to_be_sent() {
        for told in [
            of_ended().send_go_on(),
            of_ended().send_descriptor(io::stdin().as_fd()),
        ] {
            let told = told.unwrap_err();
            assert!(matches!(&told, Error::Inside(said) if said == "cannot set the host name"));
        }
        let (ours, theirs) = pair(3).unwrap();
        drop(theirs);
        assert!(matches!(ours.send_go_on(), Err(Error::Channel(_))));
    }
}
