//! The first half of the pipeline: blob → digest → decompression → digest → buffers for the second half.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::archive::Skip;
use super::media_type::{self, Compression};
use super::{Expect, Limits, UnpackError};
use crate::digest::Digest;

/// Size of a buffer: few hand-overs, and still in the processor's cache when the other thread takes it.
const BUFFER: usize = 256 * 1024;
/// Buffers under way.
const BUFFERS: usize = 8;
/// Largest window of a zstd frame, as a power of two: 128 MiB, what its decoder accepts without being told to.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The decoder's end of the exchange.
pub(super) struct Full {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

/// The applier's end of the exchange: a reader of the uncompressed archive.
pub(super) struct Uncompressed {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
    passed: u64,
}

/// A fixed set of buffers that goes round between two threads.
pub(super) fn exchange() -> (Full, Uncompressed) {
    let (full, received) = sync_channel(BUFFERS);
    let (empty, returned) = channel();
    for _ in 0..BUFFERS {
        // The receiver is alive: it is returned below.
        let _ = empty.send(Vec::new());
    }
    let decoder = Full {
        full,
        empty: returned,
    };
    let applier = Uncompressed {
        full: received,
        empty,
        current: Vec::new(),
        at: 0,
        passed: 0,
    };
    (decoder, applier)
}

/// Decodes the whole blob; the number of uncompressed bytes. When the applier has given up, or the blob cannot be
/// decoded, or becomes too much, the rest of the blob is still hashed: a wrong digest explains everything else.
pub(super) fn decode(
    blob: impl Read,
    compression: Compression,
    expect: &Expect,
    limits: &Limits,
    out: Full,
) -> Result<u64, UnpackError> {
    let mut input = BufReader::with_capacity(BUFFER, Hashing::new(blob, expect.size));
    let mut archive = Archive {
        hasher: Sha256::new(),
        bytes: 0,
        limits,
        expect,
        out,
    };
    let decoded = decompress(&mut input, compression, expect, &mut archive);
    input.into_inner().finish(expect)?;
    if decoded? == Applier::GaveUp {
        return Ok(archive.bytes);
    }
    match Digest::finish(archive.hasher) {
        found if found == expect.diff_id => Ok(archive.bytes),
        found => Err(UnpackError::DiffId {
            found,
            expected: expect.diff_id,
        }),
    }
}

fn decompress<R: Read>(
    input: &mut BufReader<Hashing<R>>,
    compression: Compression,
    expect: &Expect,
    archive: &mut Archive<'_>,
) -> Result<Applier, UnpackError> {
    let first = input.fill_buf().map_err(UnpackError::Read)?;
    media_type::check(compression, &expect.media_type, first)?;
    match compression {
        Compression::None => archive.take(input),
        Compression::Gzip => archive.take(MultiGzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(input).map_err(UnpackError::Decompress)?;
            decoder
                .window_log_max(ZSTD_WINDOW_LOG)
                .map_err(UnpackError::Decompress)?;
            archive.take(decoder)
        }
    }
}

/// Whether the applier still takes buffers.
#[derive(PartialEq, Eq)]
enum Applier {
    HasAll,
    GaveUp,
}

/// Counts, hashes and hands over the uncompressed archive.
struct Archive<'a> {
    hasher: Sha256,
    bytes: u64,
    limits: &'a Limits,
    expect: &'a Expect,
    out: Full,
}

impl Archive<'_> {
    fn take(&mut self, mut decoder: impl Read) -> Result<Applier, UnpackError> {
        loop {
            let Ok(mut buffer) = self.out.empty.recv() else {
                return Ok(Applier::GaveUp);
            };
            let filled = fill(&mut decoder, &mut buffer).map_err(UnpackError::Decompress)?;
            self.bytes += filled as u64;
            self.check_limits()?;
            self.hasher.update(&buffer);
            if self.out.full.send(buffer).is_err() {
                return Ok(Applier::GaveUp);
            }
            if filled < BUFFER {
                return Ok(Applier::HasAll);
            }
        }
    }

    fn check_limits(&self) -> Result<(), UnpackError> {
        let limits = self.limits;
        if self.bytes > limits.bytes {
            return Err(UnpackError::Limit {
                what: "uncompressed bytes",
                limit: limits.bytes,
            });
        }
        let by_ratio = self.expect.size.saturating_mul(limits.ratio);
        if self.bytes > limits.ratio_from && self.bytes > by_ratio {
            return Err(UnpackError::Limit {
                what: "uncompressed bytes for each compressed one",
                limit: limits.ratio,
            });
        }
        Ok(())
    }
}

/// Fills `buffer` up to [`BUFFER`] bytes; fewer only at the end.
fn fill(decoder: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<usize> {
    buffer.resize(BUFFER, 0);
    let mut filled = 0;
    while filled < BUFFER {
        match decoder.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    buffer.truncate(filled);
    Ok(filled)
}

/// Bytes that tell how a blob is compressed, and no archive is shorter.
const MAGIC: usize = 6;

/// Hashes and counts the blob, and reads no byte beyond the first that is too many.
struct Hashing<R> {
    blob: io::Take<R>,
    hasher: Sha256,
    bytes: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Hashing<R> {
    fn new(blob: R, size: u64) -> Self {
        Self {
            blob: blob.take(size.saturating_add(1)),
            hasher: Sha256::new(),
            bytes: 0,
            failed: None,
        }
    }

    /// Reads what the decoder did not want and compares.
    fn finish(mut self, expect: &Expect) -> Result<(), UnpackError> {
        let mut rest = vec![0; BUFFER];
        while self.failed.is_none() && matches!(self.read(&mut rest), Ok(read) if read > 0) {}
        if let Some(e) = self.failed {
            return Err(UnpackError::Read(e));
        }
        if self.bytes > expect.size {
            return Err(UnpackError::TooLong(expect.size));
        }
        if self.bytes < expect.size {
            return Err(UnpackError::TooShort {
                found: self.bytes,
                expected: expect.size,
            });
        }
        match Digest::finish(self.hasher) {
            found if found == expect.digest => Ok(()),
            found => Err(UnpackError::Digest {
                found,
                expected: expect.digest,
            }),
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // A transfer may break off after its first byte: what a blob begins with is given at once.
        let least = if self.bytes == 0 { MAGIC } else { 1 };
        let mut filled = 0;
        loop {
            match self.blob.read(&mut into[filled..]) {
                Ok(read) => {
                    self.hasher.update(&into[filled..filled + read]);
                    self.bytes += read as u64;
                    filled += read;
                    if read == 0 || filled >= least.min(into.len()) {
                        return Ok(filled);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    // The decoder reports it in its own words; the original is kept for ours.
                    let told = io::Error::from(e.kind());
                    self.failed = Some(e);
                    return Err(told);
                }
            }
        }
    }
}

impl Uncompressed {
    /// Takes the rest: bytes after the end of the archive belong to the layer's digest.
    pub(super) fn drain(&mut self) {
        while let Ok(buffer) = self.full.recv() {
            let _ = self.empty.send(buffer);
        }
    }
}

impl BufRead for Uncompressed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.current.len() {
            let Ok(next) = self.full.recv() else {
                break;
            };
            let used = std::mem::replace(&mut self.current, next);
            self.at = 0;
            if used.capacity() > 0 {
                // The decoder may have ended already.
                let _ = self.empty.send(used);
            }
        }
        Ok(&self.current[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
        self.passed += amount as u64;
    }
}

impl Skip for Uncompressed {
    fn skip(&mut self, amount: u64) -> io::Result<bool> {
        let mut left = amount;
        while left > 0 {
            let available = self.fill_buf()?.len();
            if available == 0 {
                return Ok(false);
            }
            let step = usize::try_from(left).map_or(available, |left| left.min(available));
            self.consume(step);
            left -= step as u64;
        }
        Ok(true)
    }

    fn position(&self) -> u64 {
        self.passed
    }
}

impl Read for Uncompressed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let amount = available.len().min(into.len());
        into[..amount].copy_from_slice(&available[..amount]);
        self.consume(amount);
        Ok(amount)
    }
}
