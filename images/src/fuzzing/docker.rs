//! The list of images in an archive of `docker save`: it names files of the archive, and images by names.

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;

use rustix::fs::MemfdFlags;
use tar::EntryType;

use crate::digest::Digest;
use crate::fetch::{self, DocumentLimits};
use crate::layout::Layout;
use crate::pack::{Archive, Metadata};

/// What lists may name: two layers, one of them compressed, links to them and to nowhere, a config, and something else.
struct Content {
    config: Vec<u8>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

const LINKS: [(&str, &str); 4] = [
    ("link.tar", "plain.tar"),
    ("below/link.tar", "../packed.tar"),
    ("loop.tar", "loop.tar"),
    ("out.tar", "../../../etc/passwd"),
];

fn content() -> &'static Content {
    static CONTENT: OnceLock<Content> = OnceLock::new();
    CONTENT.get_or_init(|| {
        let plain = vec![0; 1024];
        // The beginning is all that is looked at.
        let packed = [&[0x1f, 0x8b, 8, 0], plain.as_slice()].concat();
        let diff_ids = [Digest::of(&plain), Digest::of(b"not packed")];
        let config = serde_json::json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        Content {
            config: config.to_string().into_bytes(),
            plain,
            packed,
        }
    })
}

/// An archive with this list.
fn archive(list: &[u8]) -> File {
    let file = rustix::fs::memfd_create("archive", MemfdFlags::CLOEXEC).expect("memory");
    let mut archive = Archive::new(File::from(file));
    let (content, metadata) = (content(), Metadata::default());
    for (name, bytes) in [
        ("manifest.json", list),
        ("config.json", &content.config),
        ("plain.tar", &content.plain),
        ("packed.tar", &content.packed),
        ("empty", b""),
    ] {
        let written = archive.file(name.as_bytes(), &metadata, bytes.len() as u64, bytes);
        written.expect("a file");
    }
    for (name, target) in LINKS {
        let (name, target) = (name.as_bytes(), target.as_bytes());
        let written = archive.entry(name, EntryType::Symlink, target, &metadata);
        written.expect("a link");
    }
    archive.finish().expect("an archive")
}

/// A list is refused, or leads to a manifest of files that are in the archive, whose digests are right where nobody checks
/// them later.
pub fn docker(data: &[u8]) {
    let Ok(layout) = Layout::docker_archive(archive(data), None) else {
        return;
    };
    let limits = DocumentLimits::default();
    for name in [
        None,
        Some("1"),
        Some("app:1"),
        Some("app"),
        Some("docker.io/library/app:1"),
    ] {
        let Ok(document) = layout.manifest(name, limits.manifest) else {
            continue;
        };
        assert_eq!(Digest::of(&document.bytes), document.digest);
        let understood = fetch::understand(&document.bytes, &limits);
        let (manifest, _) = understood.expect("a document that we made");
        let manifest = manifest.expect("a manifest");
        let named = std::iter::once(manifest.config()).chain(manifest.layers());
        for descriptor in named {
            let digest = Digest::parse(descriptor.digest().as_ref()).expect("a digest");
            let blob = layout.blob(&digest).expect("a file of the archive");
            assert_eq!(blob.size(), descriptor.size());
            let mut bytes = Vec::new();
            let mut blob = blob;
            blob.read_to_end(&mut bytes).expect("its bytes");
            // Whoever unpacks a layer that is not compressed checks the diff id that it is called by.
            let unpacked = descriptor.media_type().to_string().ends_with(".tar");
            assert!(unpacked || Digest::of(&bytes) == digest);
        }
    }
}
