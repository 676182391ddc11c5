//! Manifests and indexes: `GET /v2/<repository>/manifests/<tag or digest>` and `…/referrers/<digest>`.

use std::thread::sleep;

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{
    ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};

use super::Registry;
use super::error::RegistryError;
use super::http::{MAX_TRIES, backoff, host_of};
use super::pace::Paced;
use crate::digest::Digest;

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

const MAX_HEADER: usize = 256;

/// How an answer with a document ended.
pub(super) enum Reply {
    Found(Found),
    NotModified,
    NotFound(String),
}

/// A document.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: Option<String>,
    pub(super) etag: Option<String>,
}

impl Registry {
    /// The manifest `name`, unless the registry still has version `etag` or has none.
    pub(super) fn manifest(
        &self,
        name: &str,
        etag: Option<&str>,
        limit: u64,
    ) -> Result<Reply, RegistryError> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
        let etag = etag.filter(|etag| self.means_the_same(etag));
        if let Some(value) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(IF_NONE_MATCH, value);
        }
        self.document(
            &format!("manifests/{name}"),
            &headers,
            limit,
            |response| match response.status() {
                StatusCode::OK => Ok(Judged::Read(response)),
                StatusCode::NOT_MODIFIED if etag.is_some() => Ok(Judged::Ended(Reply::NotModified)),
                StatusCode::NOT_FOUND => Ok(self.not_found(response)),
                _ => Err(self.refusal(response)),
            },
        )
    }

    /// The first page of the index of manifests that refer to `digest`. Many registries know nothing of that, and say so in
    /// many ways.
    pub(super) fn referrers(&self, digest: &Digest, limit: u64) -> Result<Reply, RegistryError> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(INDEX))]);
        self.document(
            &format!("referrers/{digest}"),
            &headers,
            limit,
            |response| {
                if response.status().is_server_error() {
                    return Err(self.refusal(response));
                }
                let kind = text(&response, &CONTENT_TYPE).unwrap_or_default();
                if response.status() != StatusCode::OK || !kind.starts_with(INDEX) {
                    return Ok(self.not_found(response));
                }
                Ok(Judged::Read(response))
            },
        )
    }

    /// A document of at most `limit` bytes, asked for again when the connection breaks inside it.
    fn document(
        &self,
        path: &str,
        headers: &HeaderMap,
        limit: u64,
        judge: impl Fn(Response) -> Result<Judged, RegistryError>,
    ) -> Result<Reply, RegistryError> {
        let mut tries = 1;
        loop {
            let response = match judge(self.get(path, headers)?)? {
                Judged::Read(response) => response,
                Judged::Ended(reply) => return Ok(reply),
            };
            let media_type = text(&response, &CONTENT_TYPE);
            let etag = text(&response, &ETAG).filter(|etag| self.means_the_same(etag));
            match whole(response, limit) {
                Ok(bytes) => {
                    return Ok(Reply::Found(Found {
                        bytes,
                        media_type,
                        etag,
                    }));
                }
                Err(error) if error.is_break() && tries < MAX_TRIES => sleep(backoff(tries)),
                Err(error) => return Err(error),
            }
            tries += 1;
        }
    }

    fn not_found(&self, response: Response) -> Judged {
        Judged::Ended(Reply::NotFound(self.refusal(response).to_string()))
    }

    /// What a place calls a version holds for that place alone, unless it is a digest. Only the versions of the place that
    /// the name says are kept.
    fn means_the_same(&self, etag: &str) -> bool {
        let bare = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
        self.own || Digest::parse(bare).is_ok()
    }
}

/// What an answer's head says.
enum Judged {
    Read(Response),
    Ended(Reply),
}

fn whole(response: Response, limit: u64) -> Result<Vec<u8>, RegistryError> {
    let host = host_of(response.url());
    let mut bytes = Vec::new();
    let mut body = Paced::new(response, host.clone());
    let came = body.copy(limit, |part| {
        bytes.extend_from_slice(part);
        Ok(())
    })?;
    if came > limit {
        return Err(RegistryError::TooLong(host, limit));
    }
    Ok(bytes)
}

/// A header of visible ASCII, if it is short.
pub(super) fn text(response: &Response, name: &HeaderName) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    (value.len() <= MAX_HEADER).then(|| value.to_owned())
}
