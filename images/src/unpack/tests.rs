//! Layers, honest and hostile, on a real file system.

mod hostile;
mod layers;
mod lying;
mod overlay;
mod streams;

use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::*;

/// [`super::layer`] with as much room as it wants.
pub(super) fn layer(
    blob: impl Read + Send,
    expect: &Expect,
    into: BorrowedFd<'_>,
    ownership: Ownership,
    limits: &Limits,
) -> Result<LayerReport, UnpackError> {
    let budget = Budget::unbounded();
    super::layer(blob, expect, into, ownership, limits, budget)
}

/// A tar archive made byte by byte, so that it can be wrong.
#[derive(Clone, Default)]
pub(super) struct Tar(pub(super) Vec<u8>);

/// A header before its checksum.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    pub(super) kind: u8,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: u64,
    pub(super) link: Vec<u8>,
    pub(super) size: Option<Vec<u8>>,
    pub(super) device: (u32, u32),
    pub(super) data: Vec<u8>,
}

pub(super) fn entry(kind: u8, name: impl AsRef<[u8]>) -> Entry {
    Entry {
        name: name.as_ref().to_vec(),
        kind,
        mode: if kind == b'5' { 0o755 } else { 0o644 },
        owner: (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        ),
        mtime: 1_000_000_000,
        link: Vec::new(),
        size: None,
        device: (0, 0),
        data: Vec::new(),
    }
}

pub(super) fn file(name: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Entry {
    Entry {
        data: data.as_ref().to_vec(),
        ..entry(b'0', name)
    }
}

pub(super) fn directory(name: impl AsRef<[u8]>) -> Entry {
    entry(b'5', name)
}

pub(super) fn link(kind: u8, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Entry {
    Entry {
        link: target.as_ref().to_vec(),
        ..entry(kind, name)
    }
}

pub(super) fn symlink(name: &str, target: &str) -> Entry {
    link(b'2', name, target)
}

pub(super) fn hard_link(name: &str, target: &str) -> Entry {
    link(b'1', name, target)
}

pub(super) fn record(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let body = [format!(" {key}=").as_bytes(), value.as_ref(), b"\n"].concat();
    let length = (1..)
        .find(|length| *length == body.len() + length.to_string().len())
        .unwrap();
    [length.to_string().as_bytes(), &body].concat()
}

pub(super) fn pax(records: &[Vec<u8>]) -> Entry {
    Entry {
        data: records.concat(),
        ..entry(b'x', "PaxHeaders/x")
    }
}

impl Entry {
    pub(super) fn header(&self) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, format!("{:07o}\0", self.owner.0).as_bytes());
        put(116, format!("{:07o}\0", self.owner.1).as_bytes());
        let size = format!("{:011o}\0", self.data.len()).into_bytes();
        put(124, self.size.as_deref().unwrap_or(&size));
        put(136, format!("{:011o}\0", self.mtime).as_bytes());
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        put(329, format!("{:07o}\0", self.device.0).as_bytes());
        put(337, format!("{:07o}\0", self.device.1).as_bytes());
        with_sum(block)
    }
}

pub(super) fn with_sum(mut block: [u8; 512]) -> [u8; 512] {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

pub(super) fn tar(entries: &[Entry]) -> Tar {
    let mut tar = Tar::default();
    for entry in entries {
        tar.raw(&entry.header());
        tar.raw(&entry.data);
        tar.raw(&vec![
            0;
            entry.data.len().next_multiple_of(512)
                - entry.data.len()
        ]);
    }
    tar
}

impl Tar {
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn ended(&self) -> Vec<u8> {
        [self.0.as_slice(), &[0; 1024]].concat()
    }
}

/// A directory with a tree in it, and things beside it that a layer must not reach.
pub(super) struct Ground {
    _directory: tempfile::TempDir,
    pub(super) outside: PathBuf,
    pub(super) root: PathBuf,
}

impl Ground {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        let root = directory.path().join("root");
        std::fs::create_dir(&outside).unwrap();
        std::fs::create_dir(&root).unwrap();
        std::fs::write(outside.join("secret"), "secret").unwrap();
        Self {
            _directory: directory,
            outside,
            root,
        }
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(super) fn text(&self, path: &str) -> String {
        std::fs::read_to_string(self.at(path)).unwrap()
    }

    pub(super) fn unpack(&self, entries: &[Entry]) -> Result<LayerReport, UnpackError> {
        self.unpack_bytes(&tar(entries).ended(), &Limits::default())
    }

    pub(super) fn unpack_bytes(
        &self,
        archive: &[u8],
        limits: &Limits,
    ) -> Result<LayerReport, UnpackError> {
        let root = std::fs::File::open(&self.root).unwrap();
        let expect = expect("", archive, archive);
        layer(archive, &expect, root.as_fd(), Ownership::Keep, limits)
    }

    /// Nothing outside of the tree was made, changed or removed.
    pub(super) fn is_untouched(&self) {
        let names = |path: &Path| -> Vec<_> {
            let entries = std::fs::read_dir(path).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names(&self.outside), ["secret"]);
        assert_eq!(names(self.root.parent().unwrap()).len(), 2);
        let secret = self.outside.join("secret");
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
        let metadata = std::fs::metadata(&secret).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::nlink(&metadata), 1);
    }
}

/// What a blob of `archive`, compressed as `compression` says, has to turn out to be.
pub(super) fn expect(compression: &str, blob: &[u8], archive: &[u8]) -> Expect {
    Expect {
        media_type: format!("application/vnd.oci.image.layer.v1.tar{compression}"),
        size: blob.len() as u64,
        digest: Digest::of(blob),
        diff_id: Digest::of(archive),
    }
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
