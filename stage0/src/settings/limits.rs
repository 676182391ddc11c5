//! `[image-limits]` of `config.toml`: how much an image may be before its fetch is refused.

use std::path::{Path, PathBuf};

use images::fetch::DocumentLimits;
use images::store::{CONFIG_LIMIT, MANIFEST_LIMIT};
use images::unpack::Limits;
use serde::Deserialize;

/// Layers that overlayfs stacks.
const MOST_LAYERS: u64 = 500;
/// How deep the JSON library can read.
const DEEPEST_JSON: u64 = 127;
/// The kernel's longest path.
const LONGEST_PATH: u64 = 4096;

/// The limits in force, and where each comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageLimits {
    /// Of documents.
    pub(crate) documents: DocumentLimits,
    /// Of what is unpacked.
    pub(crate) unpacked: Limits,
    from: Vec<(&'static str, PathBuf)>,
}

/// The table, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Written {
    manifest: Option<Amount>,
    config: Option<Amount>,
    json_depth: Option<Amount>,
    layers: Option<Amount>,
    entries: Option<Amount>,
    unpacked: Option<Amount>,
    path: Option<Amount>,
    depth: Option<Amount>,
}

/// A number, or a number with a binary unit.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Form")]
struct Amount(u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Number(u64),
    Text(String),
}

impl TryFrom<Form> for Amount {
    type Error = String;
    fn try_from(form: Form) -> Result<Self, String> {
        let text = match form {
            Form::Number(number) => return Ok(Self(number)),
            Form::Text(text) => text,
        };
        let digits = text.find(|c: char| !c.is_ascii_digit());
        let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
        let shift = match unit.trim_start() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => 64,
        };
        let number: Option<u64> = number.parse().ok();
        number
            .and_then(|number| number.checked_mul(1_u64.checked_shl(shift)?))
            .map(Self)
            .ok_or_else(|| format!("'{text}' is not a size such as 4096, 512KiB, 4MiB or 64GiB"))
    }
}

impl ImageLimits {
    /// Puts what a file says in the place of what was in force.
    pub(super) fn apply(&mut self, written: &Written, path: &Path) -> Result<(), String> {
        let all = u64::MAX;
        self.set(
            path,
            "manifest",
            written.manifest,
            MANIFEST_LIMIT,
            |l, n| {
                l.documents.manifest = n;
            },
        )?;
        self.set(path, "config", written.config, CONFIG_LIMIT, |l, n| {
            l.documents.config = n;
        })?;
        self.set(
            path,
            "json-depth",
            written.json_depth,
            DEEPEST_JSON,
            |l, n| {
                l.documents.depth = u32::try_from(n).unwrap_or(u32::MAX);
            },
        )?;
        self.set(path, "layers", written.layers, MOST_LAYERS, |l, n| {
            l.documents.layers = usize::try_from(n).unwrap_or(usize::MAX);
        })?;
        self.set(path, "entries", written.entries, all, |l, n| {
            l.unpacked.entries = n;
        })?;
        self.set(path, "unpacked", written.unpacked, all, |l, n| {
            l.unpacked.bytes = n;
        })?;
        self.set(path, "path", written.path, LONGEST_PATH, |l, n| {
            l.unpacked.path = usize::try_from(n).unwrap_or(usize::MAX);
        })?;
        self.set(path, "depth", written.depth, LONGEST_PATH, |l, n| {
            l.unpacked.depth = usize::try_from(n).unwrap_or(usize::MAX);
        })
    }

    fn set(
        &mut self,
        path: &Path,
        key: &'static str,
        written: Option<Amount>,
        most: u64,
        put: impl FnOnce(&mut Self, u64),
    ) -> Result<(), String> {
        let Some(Amount(amount)) = written else {
            return Ok(());
        };
        if amount == 0 || amount > most {
            return Err(format!("image-limits.{key} is {amount}, not 1 to {most}"));
        }
        put(self, amount);
        self.from.retain(|(known, _)| *known != key);
        self.from.push((key, path.to_owned()));
        Ok(())
    }

    /// Every limit: key, value, and the file that says so.
    pub(crate) fn all(&self) -> Vec<(&'static str, u64, Option<&Path>)> {
        let (documents, unpacked) = (&self.documents, &self.unpacked);
        let from = |key| {
            let mut found = self.from.iter().filter(|(known, _)| *known == key);
            found.next().map(|(_, path)| path.as_path())
        };
        [
            ("manifest", documents.manifest),
            ("config", documents.config),
            ("json-depth", documents.depth.into()),
            ("layers", documents.layers as u64),
            ("entries", unpacked.entries),
            ("unpacked", unpacked.bytes),
            ("path", unpacked.path as u64),
            ("depth", unpacked.depth as u64),
        ]
        .map(|(key, value)| (key, value, from(key)))
        .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(text: &str) -> Result<ImageLimits, String> {
        let written = toml::from_str(text).map_err(|e| e.to_string())?;
        let mut limits = ImageLimits::default();
        limits.apply(&written, Path::new("/a"))?;
        Ok(limits)
    }

    #[test]
    fn limits_are_numbers_or_sizes() {
        let limits = applied("manifest = '1MiB'\nconfig = 4096\nunpacked = '1 GiB'\ndepth = 9\n");
        let limits = limits.unwrap();
        assert_eq!(limits.documents.manifest, 1 << 20);
        assert_eq!(limits.documents.config, 4096);
        assert_eq!((limits.unpacked.bytes, limits.unpacked.depth), (1 << 30, 9));
        let manifest = limits.all()[0];
        assert_eq!(manifest, ("manifest", 1 << 20, Some(Path::new("/a"))));
        assert_eq!(limits.all()[3], ("layers", 128, None));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in [
            "manifest = 0",
            "manifest = '17MiB'",
            "config = -1",
            "config = '4MB'",
            "config = 'MiB'",
            "config = ''",
            "unpacked = '99999999TiB'",
            "json-depth = 128",
            "layers = 501",
            "path = 4097",
            "manifests = 1",
        ] {
            assert!(applied(text).is_err(), "{text}");
        }
    }
}
