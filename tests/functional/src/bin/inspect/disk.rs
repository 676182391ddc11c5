//! How fast a disk is: with `O_DIRECT`, so that no cache stands before it, or through the cache and flushed.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::{Answer, Reply, number, word};

/// Bytes at a time.
const BLOCK: usize = 64 << 10;
/// What `O_DIRECT` wants memory to begin at a multiple of.
const ALIGNMENT: usize = 4096;

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    match question {
        "disk" => Some(disk(words)),
        _ => None,
    }
}

/// `disk write PATH BYTES`, `disk read PATH BYTES`, `disk flush PATH BYTES`: `{"ms": …}`; `disk busy PATH SECONDS BESIDE`, which reads a
/// file that it has made, from when another has made `BESIDE` in the same way: `{"bytes": …}`.
fn disk(words: &[&str]) -> Answer {
    let (path, number) = (word(words, 1)?, number(words, 2)?);
    let start = Instant::now();
    let done = match word(words, 0)? {
        "write" => write(path, number, libc::O_DIRECT),
        "flush" => write(path, number, 0),
        "read" => read(path, number),
        "busy" => busy(path, Duration::from_secs(number), word(words, 3)?),
        other => return Err(format!("no such way: {other}")),
    };
    let bytes = done.map_err(|e| e.to_string())?;
    let ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Reply::Json(json!({"path": path, "bytes": bytes, "ms": ms})))
}

/// Does `act` with an aligned block.
fn with_block<T>(act: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut memory = vec![1; BLOCK + ALIGNMENT];
    let first = memory.as_ptr().align_offset(ALIGNMENT);
    act(&mut memory[first..first + BLOCK])
}

fn create(path: &str, flags: i32) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    options.custom_flags(flags).open(path)
}

fn write(path: &str, bytes: u64, flags: i32) -> std::io::Result<u64> {
    let mut file = create(path, flags)?;
    let mut written = 0;
    with_block(|block| {
        while written < bytes {
            file.write_all(block)?;
            written += BLOCK as u64;
        }
        Ok::<_, std::io::Error>(())
    })?;
    file.sync_all()?;
    Ok(written)
}

fn read(path: &str, bytes: u64) -> std::io::Result<u64> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    let mut seen = 0;
    with_block(|block| {
        while seen < bytes {
            match file.read(block)? {
                0 => break,
                count => seen += count as u64,
            }
        }
        Ok(seen)
    })
}

/// Reads again and again: without a journal, in which writers wait for each other.
fn busy(path: &str, time: Duration, beside: &str) -> std::io::Result<u64> {
    let size = 64 * BLOCK as u64;
    write(path, size, 0)?;
    // Making it may take one of them longer than all that follows.
    let made = |path: &str| format!("{path}.made");
    File::create(made(path))?;
    while !Path::new(&made(beside)).exists() {
        sleep(Duration::from_millis(10));
    }
    let (start, mut seen) = (Instant::now(), 0);
    while start.elapsed() < time {
        seen += read(path, size)?;
    }
    Ok(seen)
}
