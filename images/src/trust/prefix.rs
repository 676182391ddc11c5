//! Prefixes of image names: matched only where a component of the name ends.

use std::fmt;

use thiserror::Error;

/// A prefix of image names, or `*` for every name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);

/// Why a text is not a prefix.
#[derive(Debug, Error)]
#[error("'{given}' is not a prefix of image names: {why}")]
pub struct PrefixError {
    given: String,
    why: &'static str,
}

/// The kinds of local images: what stands before an absolute path in their names.
pub(super) const LOCAL: [&str; 3] = ["oci:", "oci-archive:", "docker-archive:"];

impl Prefix {
    /// Reads `host[:port][/path]`, `oci:/directory`, `oci-archive:/file` or `*`. A `/` at the end means nothing.
    ///
    /// # Errors
    /// [`PrefixError`] with what is wrong.
    pub fn parse(given: &str) -> Result<Self, PrefixError> {
        let checked = if given == "*" {
            Ok(String::new())
        } else if let Some(kind) = LOCAL.into_iter().find(|kind| given.starts_with(kind)) {
            local(kind, &given[kind.len()..])
        } else {
            remote(given.strip_prefix("docker://").unwrap_or(given))
        };
        checked.map(Self).map_err(|why| PrefixError {
            given: crate::escape::text(given.as_bytes()),
            why,
        })
    }

    /// Whether an image of that identity is below this prefix.
    #[must_use]
    pub fn covers(&self, identity: &str) -> bool {
        self.rest(identity).is_some()
    }

    /// What of the identity is below this prefix: empty, or from a `/` on.
    pub(super) fn rest<'a>(&self, identity: &'a str) -> Option<&'a str> {
        let rest = identity.strip_prefix(&self.0)?;
        (self.0.is_empty() || rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// How specific the prefix is; the longest decides.
    pub(super) fn length(&self) -> usize {
        self.0.len()
    }

    /// The prefix as it is written in a policy.
    #[must_use]
    pub fn as_str(&self) -> &str {
        if self.0.is_empty() { "*" } else { &self.0 }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn local(kind: &str, path: &str) -> Result<String, &'static str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(kind.to_owned());
    }
    let Some(below_root) = path.strip_prefix('/') else {
        return Err("the path of a local image is absolute");
    };
    if below_root
        .split('/')
        .any(|component| matches!(component, "" | "." | ".."))
    {
        return Err("the path has an empty component, '.' or '..'");
    }
    Ok(format!("{kind}{path}"))
}

fn remote(name: &str) -> Result<String, &'static str> {
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.is_empty() {
        return Err("it is empty; '*' stands for every image");
    }
    if name.contains('@') {
        return Err("a prefix has no digest");
    }
    let (host, repository) = name
        .split_once('/')
        .map_or((name, None), |(h, r)| (h, Some(r)));
    let host = host.to_ascii_lowercase();
    if !is_host(&host) {
        return Err("it begins with no registry host, as in registry.example.org/team");
    }
    let Some(repository) = repository else {
        return Ok(host);
    };
    if repository.contains(':') {
        return Err("a prefix has no tag");
    }
    if !repository.split('/').all(is_component) {
        return Err(
            "a repository has lower-case letters, digits, '.', '_' and '-' between slashes",
        );
    }
    Ok(format!("{host}/{repository}"))
}

fn is_host(host: &str) -> bool {
    let begins = host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[');
    let known = host == "localhost" || host.contains(['.', ':']);
    let bytes =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    begins && known && host.bytes().all(bytes)
}

fn is_component(component: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    bytes.first().copied().is_some_and(inner)
        && bytes.last().copied().is_some_and(inner)
        && bytes
            .iter()
            .all(|b| inner(*b) || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_a_component_ends() {
        let cases = [
            ("localhost:5000/a", "localhost:5000/a", true),
            ("localhost:5000/a", "localhost:5000/a/b", true),
            ("localhost:5000/a/", "localhost:5000/a/b", true),
            ("localhost:5000/a", "localhost:5000/ab", false),
            ("localhost:5000/a", "localhost:5000/a-b", false),
            ("localhost:5000/a", "localhost:50001/a", false),
            ("localhost:5000/a", "localhost:5000", false),
            ("localhost:5000", "localhost:50001/a", false),
            ("localhost:5000", "localhost:5000/a", true),
            ("example.org", "example.org.evil.net/a", false),
            ("example.org", "example.org:444/a", false),
            ("docker://example.org/a", "example.org/a", true),
            ("EXAMPLE.org/a", "example.org/a", true),
            ("*", "localhost:5000/ab", true),
            ("*", "oci:/srv/x", true),
            ("oci:", "oci:/srv/x", true),
            ("oci:/", "oci:/srv/x", true),
            ("oci:/", "oci-archive:/srv/x", false),
            ("oci:/srv", "oci:/srv/x", true),
            ("oci:/srv", "oci:/srv2/x", false),
            ("oci-archive:/srv/a.tar", "oci-archive:/srv/a.tar", true),
        ];
        for (prefix, identity, expected) in cases {
            let prefix = Prefix::parse(prefix).unwrap();
            assert_eq!(
                prefix.covers(identity),
                expected,
                "{prefix} covers {identity}"
            );
        }
    }

    #[test]
    fn what_could_be_misread_is_no_prefix() {
        let cases = [
            ("", "empty"),
            ("/", "empty"),
            ("nginx", "no registry host"),
            ("library/nginx", "no registry host"),
            ("example.org/a:1", "no tag"),
            ("example.org/a@sha256:00", "no digest"),
            ("example.org//a", "between slashes"),
            ("example.org/a//", "between slashes"),
            ("example.org/../a", "between slashes"),
            ("example.org/A", "lower-case"),
            ("example.org/a b", "lower-case"),
            (".example.org/a", "no registry host"),
            ("exa mple.org/a", "no registry host"),
            ("example.org/*", "lower-case"),
            ("oci:srv/a", "absolute"),
            ("oci:/srv/../a", "'..'"),
            ("oci:/srv//a", "empty component"),
        ];
        for (given, why) in cases {
            let said = Prefix::parse(given).unwrap_err().to_string();
            assert!(said.contains(why), "{given:?}: {said}");
        }
    }
}
