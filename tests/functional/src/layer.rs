//! Layers of any content: a tar writer that writes what it is told, also what no archiver would.

use std::io::Write;

use crate::image::{Blob, sha256};

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    #[default]
    Gzip,
    /// zstd.
    Zstd,
}

/// What an entry is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A regular file.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(String),
    /// A hard link to this entry.
    HardLink(String),
    /// A fifo.
    Fifo,
    /// A character device, major and minor.
    CharacterDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
}

/// One entry of a layer.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name, as it is: nothing is checked.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds.
    pub mtime: u64,
    /// Further PAX records: `SCHILY.xattr.user.name`, `size`, `mtime`…
    pub pax: Vec<(String, Vec<u8>)>,
}

impl Entry {
    /// An entry of root's, of mode 0755, from 2024.
    #[must_use]
    pub fn new(path: impl Into<Vec<u8>>, kind: Kind) -> Self {
        Self {
            path: path.into(),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: 1_704_067_200,
            pax: Vec::new(),
        }
    }

    /// With these permission bits.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// With this owner and group.
    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.uid = uid;
        self.gid = gid;
        self
    }

    /// With an extended attribute.
    #[must_use]
    pub fn xattr(self, name: &str, value: &[u8]) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    /// With a PAX record.
    #[must_use]
    pub fn pax(mut self, key: &str, value: &[u8]) -> Self {
        self.pax.push((key.to_owned(), value.to_vec()));
        self
    }
}

/// A layer that is being made.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    tar: Vec<u8>,
    compression: Compression,
    zstd_window: Option<u32>,
    unfinished: bool,
}

impl Layer {
    /// An empty layer, gzip.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A layer with this archive, byte for byte.
    #[must_use]
    pub fn raw(tar: Vec<u8>) -> Self {
        Self {
            tar,
            unfinished: true,
            ..Self::default()
        }
    }

    /// Compressed in this way.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// Compressed with zstd, whose frame says that it needs a window of 2 to this power.
    #[must_use]
    pub fn with_zstd_window(mut self, log: u32) -> Self {
        self.zstd_window = Some(log);
        self.compression(Compression::Zstd)
    }

    /// With all entries of another layer.
    #[must_use]
    pub fn append(mut self, other: &Self) -> Self {
        self.tar.extend(&other.tar);
        self
    }

    /// Without the two blocks of zeros at the end.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.unfinished = true;
        self
    }

    /// A directory of mode 0755.
    #[must_use]
    pub fn directory(self, path: &str) -> Self {
        self.entry(Entry::new(path, Kind::Directory))
    }

    /// A regular file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, content: impl Into<Vec<u8>>) -> Self {
        self.entry(Entry::new(path, Kind::File(content.into())).mode(mode))
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(Entry::new(path, Kind::Symlink(target.to_owned())))
    }

    /// A hard link.
    #[must_use]
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(Entry::new(path, Kind::HardLink(target.to_owned())))
    }

    /// An entry.
    #[must_use]
    pub fn entry(mut self, entry: Entry) -> Self {
        let empty = Vec::new();
        let (kind, link, content) = match &entry.kind {
            Kind::File(content) => (b'0', "", content),
            Kind::HardLink(target) => (b'1', target.as_str(), &empty),
            Kind::Symlink(target) => (b'2', target.as_str(), &empty),
            Kind::CharacterDevice(..) => (b'3', "", &empty),
            Kind::BlockDevice(..) => (b'4', "", &empty),
            Kind::Directory => (b'5', "", &empty),
            Kind::Fifo => (b'6', "", &empty),
        };
        let mut records = entry.pax.clone();
        if entry.path.len() > 100 {
            records.push(("path".into(), entry.path.clone()));
        }
        if link.len() > 100 {
            records.push(("linkpath".into(), link.into()));
        }
        if !records.is_empty() {
            let body: Vec<u8> = records.iter().flat_map(|(k, v)| pax_record(k, v)).collect();
            let extended = Entry::new("pax", Kind::File(Vec::new())).mode(0o644);
            self.tar
                .extend(header(&extended, b'x', "", body.len() as u64));
            self.append_body(&body);
        }
        self.tar
            .extend(header(&entry, kind, link, content.len() as u64));
        self.append_body(content);
        self
    }

    fn append_body(&mut self, content: &[u8]) {
        self.tar.extend(content);
        let padded = self.tar.len().next_multiple_of(512);
        self.tar.resize(padded, 0);
    }

    /// The archive, uncompressed.
    #[must_use]
    pub fn build_tar(&self) -> Vec<u8> {
        let mut tar = self.tar.clone();
        if !self.unfinished {
            tar.extend([0; 1024]);
        }
        tar
    }

    /// The finished blob.
    ///
    /// # Panics
    /// Never: memory does not fail to be written.
    #[must_use]
    pub fn build(&self) -> Blob {
        let tar = self.build_tar();
        let diff_id = sha256(&tar);
        let (media_type, bytes) = match self.compression {
            Compression::None => ("application/vnd.oci.image.layer.v1.tar", tar),
            Compression::Gzip => ("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&tar)),
            Compression::Zstd => (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                zstd(&tar, self.zstd_window),
            ),
        };
        Blob {
            digest: sha256(&bytes),
            media_type: media_type.to_owned(),
            diff_id,
            bytes,
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(bytes: &[u8], window: Option<u32>) -> Vec<u8> {
    let Some(log) = window else {
        return zstd::encode_all(bytes, 1).expect("memory");
    };
    // Without the size of the content: with it, the window is that size.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory");
    encoder.window_log(log).expect("a window");
    encoder.include_contentsize(false).expect("a setting");
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// `<length> <key>=<value>\n`, where the length counts itself.
fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend(value);
    record.push(b'\n');
    record
}

fn header(entry: &Entry, kind: u8, link: &str, size: u64) -> [u8; 512] {
    let mut block = [0_u8; 512];
    put(&mut block[0..100], &entry.path);
    octal(&mut block[100..108], u64::from(entry.mode));
    octal(&mut block[108..116], u64::from(entry.uid));
    octal(&mut block[116..124], u64::from(entry.gid));
    octal(&mut block[124..136], size);
    octal(&mut block[136..148], entry.mtime);
    block[148..156].fill(b' ');
    block[156] = kind;
    put(&mut block[157..257], link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    if let Kind::CharacterDevice(major, minor) | Kind::BlockDevice(major, minor) = entry.kind {
        octal(&mut block[329..337], u64::from(major));
        octal(&mut block[337..345], u64::from(minor));
    }
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    octal(&mut block[148..156], sum);
    block
}

fn put(field: &mut [u8], value: &[u8]) {
    let count = value.len().min(field.len());
    field[..count].copy_from_slice(&value[..count]);
}

/// Octal digits and NUL; a value too large for that in the binary form.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let text = format!("{value:0width$o}");
    if text.len() <= width {
        put(field, text.as_bytes());
        field[width] = 0;
    } else {
        field.fill(0);
        let start = field.len() - 8;
        field[start..].copy_from_slice(&value.to_be_bytes());
        field[0] |= 0x80;
    }
}
