//! Names of entries, made relative to the root of the tree.

use super::Limits;

/// A path below the root without `.`, `..`, empty components and slashes at its ends. Empty is the root itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Cleans a name of the archive.
    pub(crate) fn parse(name: &[u8], limits: &Limits) -> Result<Self, &'static str> {
        if name.len() > limits.path {
            return Err("its path is too long");
        }
        if name.contains(&0) {
            return Err("its path has a NUL");
        }
        let mut clean = Vec::with_capacity(name.len());
        let mut depth = 0;
        for component in name.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err("its path has a '..'"),
                _ => {}
            }
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(component);
            depth += 1;
        }
        if depth > limits.depth {
            return Err("its path has too many components");
        }
        Ok(Self(clean))
    }

    /// The root itself.
    pub(super) fn root() -> Self {
        Self(Vec::new())
    }

    /// The whole path.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root.
    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory and the last component.
    pub(super) fn split(&self) -> (&[u8], &[u8]) {
        split(&self.0)
    }
}

/// The directory and the last component of a clean path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_relative_or_refused() {
        let limits = Limits::default();
        for (name, clean) in [
            (&b"etc/passwd"[..], Some(&b"etc/passwd"[..])),
            (b"/etc/passwd", Some(b"etc/passwd")),
            (b"./etc//./passwd/", Some(b"etc/passwd")),
            (b"./", Some(b"")),
            (b"/", Some(b"")),
            (b"...", Some(b"...")),
            (b"a/..b", Some(b"a/..b")),
            (b"caf\xe9", Some(b"caf\xe9")),
            (b"..", None),
            (b"../etc", None),
            (b"a/../../etc", None),
            (b"a/..", None),
            (b"a\0b", None),
        ] {
            let found = EntryPath::parse(name, &limits).ok();
            assert_eq!(found.as_ref().map(EntryPath::bytes), clean, "{name:?}");
        }
        assert!(EntryPath::parse(&[b'a'; 4097], &limits).is_err());
        assert!(EntryPath::parse(&b"a/".repeat(257), &limits).is_err());
    }
}
