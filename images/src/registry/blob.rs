//! Blobs: `GET /v2/<repository>/blobs/<digest>`, continued where an earlier try or an earlier process stopped.
//!
//! Who reads the pipe has already taken the bytes before a break, so a continued transfer never begins again: when the registry
//! answers with the whole blob instead of the rest, the bytes already passed on are skipped. If the two differ, the digest,
//! which the reader checks, will not hold.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Instant;

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, RANGE};

use super::Registry;
use super::error::RegistryError;
use super::http::{MAX_TRIES, backoff, host_of};
use super::manifest::text;
use super::pace::{Pace, Paced};
use crate::digest::Digest;
use crate::fetch::protocol::Answer;

const CHUNK: usize = 128 * 1024;
const PROGRESS_STEP: u64 = 256 * 1024;

/// For so many bytes that came, one more break is forgiven.
const BYTES_OF_A_BREAK: u64 = 256 * 1024;

/// One blob on its way.
pub(super) struct Transfer<'a> {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// The version that the kept bytes belong to, then the one that the registry names.
    pub(super) etag: Option<String>,
    pub(super) sink: &'a File,
    /// Gets a copy of all bytes, and may have some from before.
    pub(super) kept: Option<File>,
    pub(super) report: &'a dyn Fn(Answer),
    /// So many bytes have been written to the sink.
    pub(super) at: u64,
    /// The place that is being asked.
    pub(super) place: usize,
    /// The place that the last bytes were said to come from.
    pub(super) told: Option<usize>,
    /// How fast it is at that place, over all connections.
    pub(super) pace: Pace,
}

impl Transfer<'_> {
    /// Passes on what is kept, once, before any registry is asked.
    pub(super) fn begin(&mut self) -> Result<(), RegistryError> {
        self.at = self.replay()?;
        Ok(())
    }

    /// Writes the rest of the blob to the sink.
    pub(super) fn run(&mut self, registry: &Registry) -> Result<(), RegistryError> {
        let start = self.at;
        self.pace = Pace::new(Instant::now());
        let (mut breaks, mut idle) = (0, 1);
        while self.at < self.size || self.at == 0 {
            let before = self.at;
            match self.attempt(registry) {
                Ok(()) => break,
                // One that breaks off in the middle may be gone for a moment.
                Err(error)
                    if error.is_break() || (before > start && error.is_refused_connection()) =>
                {
                    // A long layer survives many breaks; a byte for each of them is no way to bring one.
                    breaks += 1;
                    let forgiven = (self.at - start) / BYTES_OF_A_BREAK;
                    if breaks >= u64::from(MAX_TRIES) + forgiven {
                        return Err(error);
                    }
                    if self.pace.is_late(Instant::now()) {
                        return Err(RegistryError::SlowWithBreaks(Box::new(error)));
                    }
                    idle = if self.at > before { 1 } else { idle + 1 };
                    std::thread::sleep(backoff(idle));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Another place is asked for the rest: what it calls its version is yet to be seen.
    pub(super) fn go_elsewhere(&mut self) {
        self.etag = None;
    }

    /// Passes on the bytes kept from an earlier process, and says how many.
    fn replay(&mut self) -> Result<u64, RegistryError> {
        let Some(kept) = &mut self.kept else {
            return Ok(0);
        };
        let length = kept.metadata().map_err(RegistryError::Kept)?.len();
        if length > self.size {
            kept.set_len(0).map_err(RegistryError::Kept)?;
            return Ok(0);
        }
        kept.seek(SeekFrom::Start(0)).map_err(RegistryError::Kept)?;
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        while at < length {
            let count = kept.read(&mut buffer).map_err(RegistryError::Kept)?;
            if count == 0 {
                break;
            }
            let mut sink = self.sink;
            sink.write_all(&buffer[..count])
                .map_err(RegistryError::Sink)?;
            at += count as u64;
        }
        if at > 0 {
            (self.report)(Answer::Progress(at));
        }
        Ok(at)
    }

    /// One request for the bytes from `at`, and as much of its answer as comes.
    fn attempt(&mut self, registry: &Registry) -> Result<(), RegistryError> {
        let at = self.at;
        let response = registry.get(&format!("blobs/{}", self.digest), &self.headers(at))?;
        let host = host_of(response.url());
        let skip = match response.status() {
            StatusCode::OK => at,
            StatusCode::PARTIAL_CONTENT if at > 0 && self.is_rest(&response, at) => 0,
            StatusCode::PARTIAL_CONTENT => return Err(RegistryError::Range(host)),
            _ => return Err(registry.refusal(response)),
        };
        let found = text(&response, &ETAG);
        if found != self.etag {
            self.etag.clone_from(&found);
            (self.report)(Answer::Started { etag: found });
        }
        self.pass(response, host, skip)
    }

    fn headers(&self, at: u64) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if at > 0 {
            headers.insert(RANGE, number(format!("bytes={at}-")));
            // Weak validators must not be used here (RFC 9110, section 13.1.5).
            let strong = self.etag.as_deref().filter(|etag| etag.starts_with('"'));
            if let Some(value) = strong.and_then(|etag| HeaderValue::from_str(etag).ok()) {
                headers.insert(IF_RANGE, value);
            }
        }
        headers
    }

    fn is_rest(&self, response: &Response, at: u64) -> bool {
        let expected = format!("bytes {at}-{}/{}", self.size - 1, self.size);
        let range = response.headers().get(CONTENT_RANGE);
        range.is_some_and(|value| value.as_bytes() == expected.as_bytes())
    }

    /// Passes on the body after its first `skip` bytes.
    fn pass(&mut self, response: Response, host: String, skip: u64) -> Result<(), RegistryError> {
        let (size, mut sink, kept, report) = (self.size, self.sink, &mut self.kept, self.report);
        let (at, place, told, pace) = (&mut self.at, self.place, &mut self.told, &mut self.pace);
        let mut left_to_skip = skip;
        let mut reported = *at;
        let mut body = Paced::new(response, host.clone());
        let limit = size - *at + skip;
        let came = body.copy(limit, |bytes| {
            let old = usize::try_from(left_to_skip).map_or(bytes.len(), |n| n.min(bytes.len()));
            left_to_skip -= old as u64;
            let new = &bytes[old..];
            // Before the bytes: whoever finds them wrong must know whose they are.
            if !new.is_empty() && told.replace(place) != Some(place) {
                report(Answer::From(place));
            }
            let begun = Instant::now();
            sink.write_all(new).map_err(RegistryError::Sink)?;
            // That the layer is unpacked slowly is not the registry's fault.
            pace.came(new.len(), begun.elapsed(), Instant::now());
            if let Some(file) = kept
                && file.write_all(new).is_err()
            {
                // The disk may be full, and the layer itself needs the space more than a copy of its bytes.
                let _ = file.set_len(0);
                *kept = None;
            }
            *at += new.len() as u64;
            if *at - reported >= PROGRESS_STEP || *at == size {
                reported = *at;
                report(Answer::Progress(*at));
            }
            Ok(())
        })?;
        if *at < size {
            return Err(RegistryError::TooShort {
                host,
                at: *at,
                size,
            });
        }
        if came > limit {
            return Err(RegistryError::TooLong(host, size));
        }
        Ok(())
    }
}

fn number(text: String) -> HeaderValue {
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}
