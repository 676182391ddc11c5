//! One function for each parser of bytes from outside: any input is refused or understood, and what is understood keeps the
//! promises that other code relies on. Compiled for the fuzz targets of `images/fuzz`, and for the test that runs their corpora.

#![allow(
    clippy::expect_used,
    reason = "a panic is how a fuzz target reports what it found"
)]

mod archive;
mod docker;
mod signature;

use oci_spec::image::{Descriptor, ImageConfiguration};

pub use archive::{entries, unpack};
pub use docker::docker;
pub use signature::{bundle, cosign, minisign, openssh};

#[cfg(fuzzing)]
use crate::challenge;
use crate::digest::Digest;
use crate::fetch::{self, DocumentLimits};
use crate::reference::ImageName;
#[cfg(not(fuzzing))]
use crate::registry::challenge;
use crate::store;
use crate::strict_json;

/// A reference means the same when what it was understood as is read again, and leads to no other directory of the store.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(name) = ImageName::parse(text) else {
        return;
    };
    let again = ImageName::parse_recorded(&name.to_string());
    assert_eq!(again.as_ref().ok(), Some(&name), "{text:?}");
    if let ImageName::Registry(reference) = &name {
        let parts = reference
            .repository
            .split('/')
            .chain([reference.host.as_str()]);
        for part in parts {
            assert!(!matches!(part, "" | "." | ".."), "{text:?}");
        }
    }
}

/// A manifest or an index is one of the two; what it names, it names by a digest.
pub fn document(data: &[u8]) {
    let limits = DocumentLimits::default();
    let named: Vec<Descriptor> = match fetch::understand(data, &limits) {
        None => return,
        Some((Some(manifest), None)) => manifest.layers().clone(),
        Some((None, Some(index))) => index.manifests().clone(),
        Some(_) => panic!("both a manifest and an index"),
    };
    for descriptor in named {
        let _ = Digest::parse(descriptor.digest().as_ref());
    }
    // One reader's manifest is no other reader's index.
    let value: serde_json::Value = strict_json::from_slice(data, data.len()).expect("strict JSON");
    assert!(value.get("manifests").is_none() || value.get("layers").is_none());
}

/// A config's diff ids are digests or it is refused.
pub fn config(data: &[u8]) {
    let limits = DocumentLimits::default();
    if let Ok(config) = strict_json::within::<ImageConfiguration>(data, limits.configs()) {
        let _ = store::diff_ids(&Digest::of(data), &config);
    }
}

/// A challenge names a realm or is refused.
pub fn challenge(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        challenge::understand(text);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// The inputs that fuzzing found worth keeping stay harmless, also where nobody fuzzes.
    #[test]
    fn every_input_of_the_corpora_is_understood_or_refused() {
        let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (target, run) in [
            ("reference", super::reference as fn(&[u8])),
            ("manifest", super::document),
            ("index", super::document),
            ("config", super::config),
            ("challenge", super::challenge),
            ("cosign", super::cosign),
            ("bundle", super::bundle),
            ("minisign", super::minisign),
            ("openssh", super::openssh),
            ("docker", super::docker),
            ("entries", super::entries),
            ("unpack", super::unpack),
        ] {
            let inputs = fs::read_dir(corpora.join(target)).unwrap();
            let mut count = 0;
            for input in inputs {
                run(&fs::read(input.unwrap().path()).unwrap());
                count += 1;
            }
            assert!(count >= 3, "{target} has {count} inputs");
        }
        let ground = format!("skua-fuzz-{}", std::process::id());
        fs::remove_dir_all(std::env::temp_dir().join(ground)).unwrap();
    }
}
