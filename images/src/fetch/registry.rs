//! The registry worker's job: every place that may have an image, with what belongs to that place and to no other.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;

use rustix::fs::MemfdFlags;

use super::protocol::{Endpoint, RegistryJob, Transport};
use super::source::REGISTRY;
use super::workers::Worker;
use super::{FetchError, Fetcher};
use crate::certificates::Certificates;
use crate::credentials;
use crate::reference::Reference;
use crate::registries::{Place, Registries};

/// Starts a worker for the image and tells it where to ask. With it come the names of these places.
pub(super) fn start(
    fetcher: &Fetcher<'_>,
    reference: &Reference,
) -> Result<(Worker, Vec<String>), FetchError> {
    let refused = |source| FetchError::Registries {
        name: reference.to_string(),
        source: Box::new(source),
    };
    let registries = Registries::load(&fetcher.registries).map_err(refused)?;
    let places = registries.places(reference).map_err(refused)?;
    let helpers = registries.helpers();
    let endpoints = places
        .iter()
        .map(|place| endpoint(fetcher, place, &helpers))
        .collect::<Result<Vec<_>, _>>()?;
    let worker = fetcher
        .workers
        .registry()
        .map_err(|error| FetchError::Spawn(REGISTRY, error))?;
    let lost = |error| {
        let doing = format!("fetch {reference}");
        FetchError::worker(doing, worker.lost(REGISTRY, error))
    };
    let job = RegistryJob {
        endpoints: endpoints.len(),
    };
    worker.channel.send(&job, &[]).map_err(lost)?;
    for (endpoint, texts) in &endpoints {
        let texts: Vec<_> = texts.iter().map(AsFd::as_fd).collect();
        worker.channel.send(endpoint, &texts).map_err(lost)?;
    }
    let name = |place: &Place| format!("{}/{}", place.host, place.repository);
    Ok((worker, places.iter().map(name).collect()))
}

/// A place, and the texts that go with it.
fn endpoint(
    fetcher: &Fetcher<'_>,
    place: &Place,
    helpers: &[String],
) -> Result<(Endpoint, Vec<File>), FetchError> {
    let transport = transport(fetcher, place);
    let login = credentials::find(
        &fetcher.credentials,
        helpers,
        &place.host,
        &place.repository,
    )?;
    let any_certificate = fetcher.any_certificate || place.insecure;
    // A registry on this machine may need none, so there a bundle may be missing.
    let needed = |path: &&std::path::PathBuf| {
        !any_certificate && (transport == Transport::Https || path.exists())
    };
    let bundle = fetcher.authorities.as_ref().filter(needed);
    let certificates = match transport {
        Transport::Http => Certificates::default(),
        _ => Certificates::load(
            &fetcher.certificates,
            &place.host,
            bundle.map(AsRef::as_ref),
        )?,
    };
    let authorities = Some(&certificates.authorities).filter(|text| !text.is_empty());
    let identity = certificates.identity.as_ref();
    let texts = authorities.into_iter().chain(identity);
    let texts = texts.map(|text| in_memory(text).map_err(FetchError::HandOver));
    let endpoint = Endpoint {
        host: place.host.clone(),
        repository: place.repository.clone(),
        own: place.own,
        transport,
        any_certificate,
        no_system_authorities: certificates.exclusive,
        has_authorities: authorities.is_some(),
        has_identity: identity.is_some(),
        login,
    };
    Ok((endpoint, texts.collect::<Result<_, _>>()?))
}

/// A file that is nowhere but in memory: the worker may open none.
fn in_memory(text: &[u8]) -> io::Result<File> {
    let flags = MemfdFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::memfd_create("certificates", flags)?);
    file.write_all(text)?;
    file.rewind()?;
    Ok(file)
}

/// HTTP without TLS only where no network is, or where the user allows it.
fn transport(fetcher: &Fetcher<'_>, place: &Place) -> Transport {
    if is_loopback(&place.host) {
        Transport::Loopback
    } else if fetcher.plain_http {
        Transport::Http
    } else if place.insecure {
        Transport::Insecure
    } else {
        Transport::Https
    }
}

/// Whether the host of a reference is this machine by its name alone; nothing is resolved.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost"
        || name
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_this_machine_is_loopback() {
        for (host, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("localhost.example", false),
            ("127.0.0.1.example:5000", false),
            ("192.0.2.1", false),
            ("[2001:db8::1]:5000", false),
            ("example.org", false),
        ] {
            assert_eq!(super::is_loopback(host), expected, "{host}");
        }
    }
}
