//! A tar archive, written: ustar headers, and PAX records for what does not fit into them.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

/// Size of a block.
const BLOCK: usize = 512;
/// Longest name, and largest numbers, of a ustar header.
const NAME: usize = 100;
const ID: u32 = 0o777_7777;
const NUMBER: u64 = 0o777_7777_7777;

/// Extended attributes: names and values.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// What an entry says about itself besides its name and type.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata {
    /// Permission bits.
    pub(crate) mode: u32,
    /// Owner.
    pub(crate) uid: u32,
    /// Group.
    pub(crate) gid: u32,
    /// Modification time, in seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Extended attributes.
    pub(crate) xattrs: Xattrs,
    /// Major and minor number of a device.
    pub(crate) device: Option<(u32, u32)>,
}

/// An archive that is being written.
pub(crate) struct Archive<W> {
    out: W,
}

impl<W: Write> Archive<W> {
    /// An archive without entries.
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }

    /// An entry without content; `link` is what a link points to.
    pub(crate) fn entry(
        &mut self,
        name: &[u8],
        kind: EntryType,
        link: &[u8],
        metadata: &Metadata,
    ) -> io::Result<()> {
        self.header(name, kind, link, metadata, 0)
    }

    /// A file with exactly `size` bytes of `content`.
    pub(crate) fn file(
        &mut self,
        name: &[u8],
        metadata: &Metadata,
        size: u64,
        content: impl Read,
    ) -> io::Result<()> {
        self.header(name, EntryType::Regular, b"", metadata, size)?;
        let copied = io::copy(&mut content.take(size), &mut self.out)?;
        if copied != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pad(size)
    }

    /// The end of the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn header(
        &mut self,
        name: &[u8],
        kind: EntryType,
        link: &[u8],
        metadata: &Metadata,
        size: u64,
    ) -> io::Result<()> {
        let records = records(name, link, metadata, size);
        if !records.is_empty() {
            let length = records.len() as u64;
            let about = block(
                b"pax",
                EntryType::XHeader,
                b"",
                &Metadata::default(),
                length,
            )?;
            self.out.write_all(about.as_bytes())?;
            self.out.write_all(&records)?;
            self.pad(length)?;
        }
        let header = block(name, kind, link, metadata, size)?;
        self.out.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).map_err(io::Error::other)?;
        match over {
            0 => Ok(()),
            over => self.out.write_all(&[0; BLOCK][over..]),
        }
    }
}

/// A header. What does not fit is cut or 0 here, and in the records before.
fn block(
    name: &[u8],
    kind: EntryType,
    link: &[u8],
    metadata: &Metadata,
    size: u64,
) -> io::Result<Header> {
    let mut header = Header::new_ustar();
    let fields = header.as_old_mut();
    put(&mut fields.name, name);
    put(&mut fields.linkname, link);
    header.set_entry_type(kind);
    header.set_mode(metadata.mode);
    header.set_uid(u64::from(metadata.uid.min(ID)));
    header.set_gid(u64::from(metadata.gid.min(ID)));
    header.set_size(if size > NUMBER { 0 } else { size });
    header.set_mtime(whole_seconds(metadata.mtime).unwrap_or(0));
    if let Some((major, minor)) = metadata.device {
        header.set_device_major(major)?;
        header.set_device_minor(minor)?;
    }
    header.set_cksum();
    Ok(header)
}

fn put(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

fn whole_seconds((seconds, nanoseconds): (i64, u32)) -> Option<u64> {
    let fits = |seconds: &u64| nanoseconds == 0 && *seconds <= NUMBER;
    u64::try_from(seconds).ok().filter(fits)
}

/// The PAX records of an entry, in a fixed order.
fn records(name: &[u8], link: &[u8], metadata: &Metadata, size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    let mut add = |key: &[u8], value: &[u8]| records.extend(record(key, value));
    if name.len() > NAME {
        add(b"path", name);
    }
    if link.len() > NAME {
        add(b"linkpath", link);
    }
    if size > NUMBER {
        add(b"size", size.to_string().as_bytes());
    }
    for (key, id) in [(&b"uid"[..], metadata.uid), (b"gid", metadata.gid)] {
        if id > ID {
            add(key, id.to_string().as_bytes());
        }
    }
    if whole_seconds(metadata.mtime).is_none() {
        add(b"mtime", decimal(metadata.mtime).as_bytes());
    }
    for (key, value) in &metadata.xattrs {
        add(&[b"SCHILY.xattr.", key.as_slice()].concat(), value);
    }
    records
}

/// Seconds with a fraction; before 1970 the fraction counts downwards.
fn decimal((seconds, nanoseconds): (i64, u32)) -> String {
    let text = match (seconds, nanoseconds) {
        (..0, 1..) => format!("-{}.{:09}", -(seconds + 1), 1_000_000_000 - nanoseconds),
        (_, 0) => return seconds.to_string(),
        _ => format!("{seconds}.{nanoseconds:09}"),
    };
    text.trim_end_matches('0').to_owned()
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_counts_its_own_digits() {
        assert_eq!(record(b"path", b"x"), b"9 path=x\n");
        for length in 0..2000 {
            let made = record(b"k", &vec![b'v'; length]);
            let digits = made.iter().position(|byte| *byte == b' ').unwrap();
            let said: usize = std::str::from_utf8(&made[..digits])
                .unwrap()
                .parse()
                .unwrap();
            assert_eq!(said, made.len());
        }
    }

    #[test]
    fn times_are_exact() {
        for (time, text) in [
            ((5, 0), "5"),
            ((5, 500_000_000), "5.5"),
            ((5, 1), "5.000000001"),
            ((-1, 500_000_000), "-0.5"),
            ((-2, 250_000_000), "-1.75"),
            ((-7, 0), "-7"),
        ] {
            assert_eq!(decimal(time), text);
        }
    }
}
