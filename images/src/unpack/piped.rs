//! An archive that is read in order and neither hashed nor decompressed.

use std::io::{self, BufRead, BufReader, Read};

use super::Skip;

const BUFFER: usize = 256 << 10;

/// A reader, from a pipe for example.
pub(crate) struct Piped<R> {
    input: BufReader<R>,
    passed: u64,
}

impl<R: Read> Piped<R> {
    /// Reads `input` from where it is.
    pub(crate) fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER, input),
            passed: 0,
        }
    }
}

impl<R: Read> Read for Piped<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(into)?;
        self.passed += read as u64;
        Ok(read)
    }
}

impl<R: Read> BufRead for Piped<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        self.input.consume(amount);
        self.passed += amount as u64;
    }
}

impl<R: Read> Skip for Piped<R> {
    fn skip(&mut self, amount: u64) -> io::Result<bool> {
        let passed = io::copy(&mut self.by_ref().take(amount), &mut io::sink())?;
        Ok(passed == amount)
    }

    fn position(&self) -> u64 {
        self.passed
    }
}
