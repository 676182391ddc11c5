//! What is read only after a signature was verified, read without one.
#![allow(
    clippy::expect_used,
    reason = "a panic is how a fuzz target reports what it found"
)]

use super::subject::Subject;
use super::{bundle, cosign};
use crate::digest::Digest;
use crate::reference::ImageName;

fn about(check: impl Fn(&Subject<'_>)) {
    let manifest = b"{}";
    let name = ImageName::parse("registry.example.org/team/app:1").expect("a name");
    let repository = "registry.example.org/team/app".to_owned();
    check(&Subject::new(
        &name,
        repository,
        Digest::of(manifest),
        manifest,
        &[],
    ));
}

/// A simple-signing document.
pub(crate) fn understand_payload(data: &[u8]) {
    about(|subject| drop(cosign::check(data, subject)));
}

/// An in-toto statement.
pub(crate) fn understand_statement(data: &[u8]) {
    about(|subject| drop(bundle::check(data, subject)));
}
