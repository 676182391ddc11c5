//! One HTTP request and its answer: client set-up, deadlines, retries. It follows no redirect and knows no credentials.

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::StatusCode;
use reqwest::blocking::{Client, ClientBuilder, Request, Response};
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use url::Url;

use super::error::{Denied, RegistryError, is_transient};
use super::way::{self, Proxy};

/// The most tries of one request.
pub(super) const MAX_TRIES: u32 = 5;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How certificates are checked.
pub(super) enum Certificates {
    /// Against the system's certificate authorities and those in this PEM text.
    System(Vec<u8>),
    /// Against those in this PEM text alone.
    Only(Vec<u8>),
    /// Not at all.
    Any,
}

/// A client for each kind of connection, made when it is first needed: loading certificates takes longer than many a request.
pub(super) struct Http {
    certificates: Certificates,
    /// PEM text of a client certificate and its key, for the registry itself and nobody else.
    identity: Option<Vec<u8>>,
    /// No proxy reaches this machine's loopback interface.
    direct: bool,
    plain: Mutex<Option<Client>>,
    tls: Mutex<Option<Client>>,
    identified: Mutex<Option<Client>>,
}

/// Whose URL a request is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// The registry's own: scheme, host and port.
    Registry,
    /// A token server's, or what a redirect leads to.
    Elsewhere,
}

impl Http {
    pub(super) fn new(certificates: Certificates, identity: Option<Vec<u8>>, direct: bool) -> Self {
        // The first call wins; whoever was first chose the same provider, there is no other in the binary.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            certificates,
            identity,
            direct,
            plain: Mutex::new(None),
            tls: Mutex::new(None),
            identified: Mutex::new(None),
        }
    }

    /// A client for `url`'s scheme; all of its kind share their connections.
    fn client(&self, url: &Url, whose: Whose) -> Result<Client, RegistryError> {
        let identity = self.identity.as_ref().filter(|_| whose == Whose::Registry);
        let slot = match (url.scheme() == "https", identity) {
            (false, _) => &self.plain,
            (true, None) => &self.tls,
            (true, Some(_)) => &self.identified,
        };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = slot.as_ref() {
            return Ok(client.clone());
        }
        let client = if url.scheme() == "https" {
            let host = host_of(url);
            let mut builder = self.checking(&host)?;
            if let Some(text) = identity {
                let identity = reqwest::Identity::from_pem(text)
                    .map_err(|error| RegistryError::Identity(host.clone(), error))?;
                builder = builder.identity(identity);
            }
            builder.build().map_err(|error| self.unbuilt(host, error))?
        } else {
            let no_roots = self.builder().tls_certs_only([]);
            no_roots.build().map_err(RegistryError::Client)?
        };
        Ok(slot.insert(client).clone())
    }

    /// A builder that knows how to check the certificate of `host`.
    fn checking(&self, host: &str) -> Result<ClientBuilder, RegistryError> {
        let parse = |text: &[u8]| {
            reqwest::Certificate::from_pem_bundle(text)
                .map_err(|error| RegistryError::Certificates(host.to_owned(), error))
        };
        Ok(match &self.certificates {
            Certificates::Any => self
                .builder()
                .tls_certs_only([])
                .tls_danger_accept_invalid_certs(true),
            Certificates::Only(text) => {
                let roots = parse(text)?;
                if roots.is_empty() {
                    return Err(RegistryError::NoCertificates(host.to_owned()));
                }
                self.builder().tls_certs_only(roots)
            }
            Certificates::System(more) => self.builder().tls_certs_merge(parse(more)?),
        })
    }

    /// Why a client cannot be made: with nothing given to us, it is the system that has no authorities.
    fn unbuilt(&self, host: String, error: reqwest::Error) -> RegistryError {
        match (&self.certificates, &self.identity) {
            (Certificates::System(more), None) if more.is_empty() && error.is_builder() => {
                RegistryError::NoCertificates(host)
            }
            _ => RegistryError::Certificates(host, error),
        }
    }

    fn builder(&self) -> ClientBuilder {
        let builder = Client::builder()
            .user_agent(concat!("skua/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(IDLE_TIMEOUT);
        if self.direct {
            builder.no_proxy()
        } else {
            builder
        }
    }

    /// The proxy on the way to `url`.
    fn proxy(&self, url: &Url) -> Option<Proxy> {
        (!self.direct).then(|| Proxy::to(url)).flatten()
    }

    /// Sends the request that `make` builds until there is an answer that is no passing trouble.
    pub(super) fn send(
        &self,
        url: &Url,
        whose: Whose,
        make: impl Fn(&Client) -> reqwest::Result<Request>,
    ) -> Result<Response, RegistryError> {
        if let Some(variable) = way::unusable(url).filter(|_| !self.direct) {
            return Err(RegistryError::Proxy(host_of(url), variable));
        }
        let client = self.client(url, whose)?;
        let failed = |source| RegistryError::send(host_of(url), self.proxy(url), source);
        let mut tries = 1;
        loop {
            let answer = make(&client)
                .and_then(|request| client.execute(request))
                .map_err(failed);
            let wait = match &answer {
                Ok(response) if is_transient(response.status()) => retry_after(response.headers()),
                Err(error) if error.is_worth_another(tries) => None,
                _ => return answer,
            };
            if tries == MAX_TRIES {
                return answer;
            }
            sleep(wait.unwrap_or_else(|| backoff(tries)));
            tries += 1;
        }
    }
}

/// How long to wait after the given try: 0.2 s, doubled each time.
pub(super) fn backoff(tries: u32) -> Duration {
    Duration::from_millis(100 << tries.min(MAX_TRIES))
}

/// The registry's own wish, in seconds or as a date, within reason.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let then = date(text)?;
            // By the registry's own clock, if it tells: ours may be wrong.
            let now = headers
                .get(DATE)
                .and_then(|value| date(value.to_str().ok()?));
            let now = now.unwrap_or_else(Timestamp::now);
            Duration::try_from(then.duration_since(now)).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

/// A date as HTTP has it.
fn date(text: &str) -> Option<Timestamp> {
    const PARSER: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new();
    PARSER.parse_timestamp(text).ok()
}

/// Host and port, for messages.
pub(super) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// An error of an answer that is not the one hoped for, with what its JSON body says (distribution specification, "Error Codes").
pub(super) fn refusal(response: Response) -> RegistryError {
    let host = host_of(response.url());
    let status = response.status();
    let message = message(response);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied {
            host,
            to: Denied::Elsewhere,
            message,
        },
        _ => RegistryError::Status {
            host,
            status,
            message,
        },
    }
}

fn message(response: Response) -> String {
    const MAX_BODY: u64 = 8192;
    const MAX_TEXT: usize = 200;
    let mut body = Vec::new();
    if response.take(MAX_BODY).read_to_end(&mut body).is_err() {
        return String::new();
    }
    let said = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|document| document["errors"][0]["message"].as_str().map(str::to_owned));
    match said {
        Some(text) => format!(": {}", text.chars().take(MAX_TEXT).collect::<String>()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_may_say_when_to_come_back_within_reason() {
        const NOW: &str = "Wed, 25 Nov 2026 10:00:00 GMT";
        for (header, seconds) in [
            ("2", Some(2)),
            ("0", Some(0)),
            ("86400", Some(30)),
            ("99999999999999999999", None),
            ("-1", None),
            ("soon", None),
            ("Wed, 25 Nov 2026 10:00:07 GMT", Some(7)),
            ("Wed, 25 Nov 2026 09:00:00 GMT", Some(0)),
            ("Thu, 26 Nov 2026 10:00:00 GMT", Some(30)),
        ] {
            let headers = HeaderMap::from_iter([
                (RETRY_AFTER, header.parse().unwrap()),
                (DATE, NOW.parse().unwrap()),
            ]);
            let expected = seconds.map(Duration::from_secs);
            assert_eq!(retry_after(&headers), expected, "{header}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
