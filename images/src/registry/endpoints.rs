//! The places that may have the image, mirrors before the registry itself: who is asked, and who is asked next.
//!
//! The first that has what is asked for is taken. The one that knew the image's name is asked first from then on, and those
//! after it for what it lacks: all that is asked for later is known by its digest, or is a signature, which is verified.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use super::blob::Transfer;
use super::manifest::Reply;
use super::{Registry, RegistryError};
use crate::digest::Digest;
use crate::fetch::protocol::Answer;
use crate::wire::error_line;

/// All places, in order.
pub(super) struct Endpoints {
    places: Vec<Place>,
    /// The one that had the image.
    chosen: OnceLock<usize>,
}

/// How one request is to be answered.
pub(super) struct Asking<'a> {
    /// Places that are not to be asked.
    pub(super) avoid: &'a BTreeSet<usize>,
    /// Who is told.
    pub(super) report: &'a dyn Fn(Answer),
}

struct Place {
    registry: Result<Registry, RegistryError>,
    /// Nobody is there: why. It is not asked again.
    gone: OnceLock<String>,
    /// The user has been told that it fails.
    noted: OnceLock<()>,
}

impl Endpoints {
    pub(super) fn new(registries: Vec<Result<Registry, RegistryError>>) -> Self {
        let place = |registry| Place {
            registry,
            gone: OnceLock::new(),
            noted: OnceLock::new(),
        };
        Self {
            places: registries.into_iter().map(place).collect(),
            chosen: OnceLock::new(),
        }
    }

    pub(super) fn manifest(
        &self,
        asking: &Asking<'_>,
        name: &str,
        etag: Option<&str>,
        limit: u64,
    ) -> Result<Reply, RegistryError> {
        self.first(asking, |registry| registry.manifest(name, etag, limit))
    }

    pub(super) fn referrers(
        &self,
        asking: &Asking<'_>,
        digest: &Digest,
        limit: u64,
    ) -> Result<Reply, RegistryError> {
        self.first(asking, |registry| registry.referrers(digest, limit))
    }

    /// Writes a blob, continued at the next place where one fails.
    pub(super) fn blob(
        &self,
        asking: &Asking<'_>,
        transfer: &mut Transfer<'_>,
    ) -> Result<(), RegistryError> {
        transfer.begin()?;
        let mut failed = Vec::new();
        for (at, place) in self.rest(asking) {
            transfer.place = at;
            match place.ask(|registry| transfer.run(registry)) {
                Ok(()) => {
                    self.tell(&failed, transfer.report);
                    return Ok(());
                }
                Err(error @ RegistryError::Sink(_)) => return Err(error),
                Err(error) => failed.push((at, error)),
            }
            transfer.go_elsewhere();
        }
        Err(all(failed))
    }

    /// The first reply that is a document, or says that it is as it was.
    fn first(
        &self,
        asking: &Asking<'_>,
        mut ask: impl FnMut(&Registry) -> Result<Reply, RegistryError>,
    ) -> Result<Reply, RegistryError> {
        let known = self.chosen.get().is_some();
        let (mut missing, mut failed) = (Vec::new(), Vec::new());
        for (at, place) in self.rest(asking) {
            match place.ask(&mut ask) {
                Ok(Reply::NotFound(said)) => missing.push(said),
                Ok(reply) => {
                    self.chosen.get_or_init(|| at);
                    self.tell(&failed, asking.report);
                    (asking.report)(Answer::From(at));
                    return Ok(reply);
                }
                Err(error) => failed.push((at, error)),
            }
        }
        // What the place of the image lacks need not be anywhere; but an image is missing only where everybody says so.
        if (failed.is_empty() && !missing.is_empty()) || (known && !missing.is_empty()) {
            return Ok(Reply::NotFound(missing.join("; ")));
        }
        let missing = missing
            .into_iter()
            .map(|said| RegistryError::Everywhere(vec![said]));
        failed.extend(missing.map(|error| (self.places.len(), error)));
        Err(all(failed))
    }

    /// Tells, once for each, of the places that failed before one that did not: somebody meant them to be asked.
    fn tell(&self, failed: &[(usize, RegistryError)], report: &dyn Fn(Answer)) {
        for (at, error) in failed {
            if self.places[*at].noted.set(()).is_ok() {
                report(Answer::PassedOver(error_line(error)));
            }
        }
    }

    fn rest(&self, asking: &Asking<'_>) -> impl Iterator<Item = (usize, &Place)> {
        let first = self.chosen.get().copied().unwrap_or(0);
        let places = self.places.iter().enumerate().skip(first);
        places.filter(|(at, _)| !asking.avoid.contains(at))
    }
}

impl Place {
    fn ask<T>(
        &self,
        ask: impl FnOnce(&Registry) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        if let Some(reason) = self.gone.get() {
            return Err(RegistryError::Everywhere(vec![reason.clone()]));
        }
        let registry = self.registry.as_ref();
        let registry =
            registry.map_err(|error| RegistryError::Everywhere(vec![error_line(error)]))?;
        let answer = ask(registry);
        if let Err(error) = &answer
            && error.is_unreachable()
        {
            let _ = self.gone.set(error_line(error));
        }
        answer
    }
}

/// One error as it is, several in one line.
fn all(mut errors: Vec<(usize, RegistryError)>) -> RegistryError {
    match errors.pop() {
        None => RegistryError::NoPlace,
        Some((_, only)) if errors.is_empty() => only,
        last => {
            let lines = errors.iter().chain(&last);
            RegistryError::Everywhere(lines.map(|(_, error)| error_line(error)).collect())
        }
    }
}
