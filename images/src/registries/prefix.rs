//! Prefixes of names as `registries.conf` has them: `host[:port][/path]` or `*.domain[/path]`, ending at a `/`.

use std::fmt;

use crate::reference::Reference;

/// A prefix, without a `/` at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix(String);

impl Prefix {
    /// Checks a prefix as written.
    pub(super) fn parse(given: &str) -> Result<Self, &'static str> {
        let given = given.trim_end_matches('/');
        match given.strip_prefix("*.") {
            // Any host stands for all of them, as far as form goes.
            Some(domain) => check(&format!("x.{domain}"))?,
            None => check(given)?,
        }
        Ok(Self(given.to_owned()))
    }

    /// What of `name`, `host/repository`, comes after the prefix; none when it does not match.
    pub(super) fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        let is_boundary = |rest: &&str| rest.is_empty() || rest.starts_with('/');
        let Some(domain) = self.0.strip_prefix('*') else {
            return name.strip_prefix(self.0.as_str()).filter(is_boundary);
        };
        let host = name.split('/').next().unwrap_or_default();
        name.match_indices(domain)
            .filter(|(at, _)| (1..host.len()).contains(at))
            .map(|(at, _)| &name[at + domain.len()..])
            .find(is_boundary)
    }

    /// How specific it is.
    pub(super) fn length(&self) -> usize {
        self.0.len()
    }

    /// It stands for all hosts of a domain.
    pub(super) fn is_wildcard(&self) -> bool {
        self.0.starts_with('*')
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks that `text` is `host[:port][/path]`.
pub(super) fn check(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.contains("://") {
        return Err("must not have a scheme");
    }
    if text.contains('*') {
        return Err("may have a '*' only at the beginning of a prefix, before a '.'");
    }
    let path = text.split_once('/').map_or("", |(_, path)| path);
    if text.contains('@') || path.contains(':') {
        return Err("names a tag or a digest, which skua does not support there");
    }
    // Whatever comes after it, the part that is here must be right.
    match Reference::parse(&format!("{text}/x")) {
        Ok(_) => Ok(()),
        Err(_) => Err("is not of the form host[:port][/path], in lower case"),
    }
}
