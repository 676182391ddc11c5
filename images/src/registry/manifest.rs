//! Manifests and indexes: `GET /v2/<repository>/manifests/<tag or digest>` and `…/referrers/<digest>`.

use std::io::Write;

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{
    ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
};

use super::Registry;
use super::blob::Paced;
use super::error::RegistryError;
use super::http::{host_of, refusal};
use crate::digest::Digest;
use crate::fetch::protocol::Answer;

const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

const MAX_HEADER: usize = 256;

impl Registry {
    /// Writes the manifest `name` to `sink`, unless the registry still has version `etag` or has none.
    pub(super) fn manifest(
        &self,
        name: &str,
        etag: Option<&str>,
        limit: u64,
        sink: &mut impl Write,
    ) -> Result<Answer, RegistryError> {
        let mut headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
        if let Some(value) = etag.and_then(|etag| HeaderValue::from_str(etag).ok()) {
            headers.insert(IF_NONE_MATCH, value);
        }
        let response = self.get(&format!("manifests/{name}"), &headers)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Answer::NotModified),
            StatusCode::NOT_FOUND => return Ok(Answer::NotFound(refusal(response).to_string())),
            _ => return Err(refusal(response)),
        }
        write(response, limit, sink)
    }

    /// Writes the first page of the index of manifests that refer to `digest` to `sink`. Many registries know nothing of
    /// that, and say so in many ways.
    pub(super) fn referrers(
        &self,
        digest: &Digest,
        limit: u64,
        sink: &mut impl Write,
    ) -> Result<Answer, RegistryError> {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(INDEX))]);
        let response = self.get(&format!("referrers/{digest}"), &headers)?;
        if response.status().is_server_error() {
            return Err(refusal(response));
        }
        let kind = text(&response, &CONTENT_TYPE).unwrap_or_default();
        if response.status() != StatusCode::OK || !kind.starts_with(INDEX) {
            return Ok(Answer::NotFound(refusal(response).to_string()));
        }
        write(response, limit, sink)
    }
}

/// Writes a document of at most `limit` bytes.
fn write(response: Response, limit: u64, sink: &mut impl Write) -> Result<Answer, RegistryError> {
    let answer = Answer::Done {
        media_type: text(&response, &CONTENT_TYPE),
        etag: text(&response, &ETAG),
    };
    let host = host_of(response.url());
    let mut body = Paced::new(response, host.clone());
    let written = body.copy(limit, |bytes| {
        sink.write_all(bytes).map_err(RegistryError::Sink)
    })?;
    if written > limit {
        return Err(RegistryError::TooLong(host, limit));
    }
    Ok(answer)
}

/// A header of visible ASCII, if it is short.
pub(super) fn text(response: &Response, name: &HeaderName) -> Option<String> {
    let value = response.headers().get(name)?.to_str().ok()?;
    (value.len() <= MAX_HEADER).then(|| value.to_owned())
}
