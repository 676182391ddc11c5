//! Bytes that the keeper passes on: read, and not yet written.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::unistd::read;

/// So many of them at most as it was made for. It takes memory when there are some.
pub(crate) struct Buffer {
    size: usize,
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            bytes: Vec::new(),
            begin: 0,
            end: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// One byte into an empty buffer.
    pub(crate) fn put(&mut self, byte: u8) {
        self.bytes.resize(self.size, 0);
        self.bytes[0] = byte;
        (self.begin, self.end) = (0, 1);
    }

    /// Reads once into an empty buffer. `None`: nothing now, perhaps later.
    pub(crate) fn fill(&mut self, from: BorrowedFd<'_>) -> nix::Result<Option<usize>> {
        self.bytes.resize(self.size, 0);
        let length = later(read(from, &mut self.bytes))?;
        (self.begin, self.end) = (0, length.unwrap_or(0));
        Ok(length)
    }

    /// Writes once.
    pub(crate) fn drain(
        &mut self,
        write: impl FnOnce(&[u8]) -> nix::Result<usize>,
    ) -> nix::Result<()> {
        self.begin += later(write(&self.bytes[self.begin..self.end]))?.unwrap_or(0);
        Ok(())
    }
}

fn later(result: nix::Result<usize>) -> nix::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error),
    }
}
