//! The images that are fetched, the same in every run.

use std::io::Read as _;

use flate2::read::GzDecoder;
use functional::{Blob, Built, Compression, Entry, Kind, Layer, debian_layout, read_layout};
use serde_json::json;

use crate::lab::Failure;

/// Number of the layer of the Debian image that containerd cannot unpack: it has whiteouts below a directory that is a file.
const ODD: usize = 4;

/// Debian with Python in seven layers, the first of which has most of the files, as in images that people use.
pub(super) fn debian(compression: &str) -> Result<(&'static str, Built), Failure> {
    let layout = debian_layout("bench fetch").ok_or("the Debian image cannot be made")?;
    let image = read_layout(&layout, "debian");
    let mut layers = Vec::new();
    for (number, layer) in image.layers.iter().enumerate() {
        if number == ODD {
            continue;
        }
        let mut tar = Vec::new();
        GzDecoder::new(&layer.bytes[..]).read_to_end(&mut tar)?;
        layers.push(blob(tar, compression));
    }
    Ok(("debian", with_layers(layers)))
}

/// 1 GiB in four layers of eight files, which compress to seven tenths.
pub(super) fn large(compression: &str) -> Result<(&'static str, Built), Failure> {
    const FILE: usize = 32 << 20;
    let mut layers = Vec::new();
    for layer in 0..4_u64 {
        let mut files = Layer::new();
        for file in 0..8 {
            let mut content = Vec::with_capacity(FILE);
            let mut random = Random(1 + layer * 8 + file);
            while content.len() < FILE {
                random.block(&mut content);
            }
            let entry = Entry::new(format!("data/{layer}/{file}"), Kind::File(content));
            files = files.entry(entry);
        }
        layers.push(blob(files.build_tar(), compression));
    }
    Ok(("large", with_layers(layers)))
}

fn blob(tar: Vec<u8>, compression: &str) -> Blob {
    let compression = match compression {
        "zstd" => Compression::Zstd,
        _ => Compression::Gzip,
    };
    Layer::raw(tar).compression(compression).build()
}

fn with_layers(layers: Vec<Blob>) -> Built {
    let diff_ids: Vec<_> = layers.iter().map(|layer| &layer.diff_id).collect();
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config_type = "application/vnd.oci.image.config.v1+json";
    let config = Blob::new(config.to_string().into_bytes(), config_type);
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": config.descriptor(),
        "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
    });
    Built {
        manifest: Blob::new(manifest.to_string().into_bytes(), manifest_type),
        config,
        layers,
    }
}

/// xorshift64: the same bytes on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// 64 KiB: one block in five cannot be compressed, the others are words of a vocabulary, some far more often than others.
    fn block(&mut self, into: &mut Vec<u8>) {
        const BLOCK: usize = 64 << 10;
        let end = into.len() + BLOCK;
        if self.next().is_multiple_of(5) {
            while into.len() < end {
                into.extend_from_slice(&self.next().to_le_bytes());
            }
            return;
        }
        while into.len() < end {
            let word = self.next();
            let rank = (word & 0xfff)
                .min(word >> 12 & 0xfff)
                .min(word >> 24 & 0xfff);
            let letters = rank.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            let length = 2 + (rank % 6) as usize;
            into.extend(letters[8 - length..].iter().map(|byte| b'a' + byte % 26));
            into.push(b' ');
        }
        into.truncate(end);
    }
}
