//! One HTTP request and its answer: client set-up, deadlines, retries. It follows no redirect and knows no credentials.

use std::io::Read;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Client, ClientBuilder, Request, Response};
use reqwest::header::RETRY_AFTER;
use url::Url;

use super::error::{RegistryError, is_transient};

/// The most tries of one request.
pub(super) const MAX_TRIES: u32 = 5;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How certificates are checked.
pub(super) enum Certificates {
    /// Against the system's certificate authorities.
    System,
    /// Against those in this PEM text.
    Pem(Vec<u8>),
    /// Not at all.
    Any,
}

/// Clients for plain HTTP and for TLS, each made when it is first needed: loading certificates takes longer than many a request.
pub(super) struct Http {
    certificates: Certificates,
    /// No proxy reaches this machine's loopback interface.
    direct: bool,
    plain: Mutex<Option<Client>>,
    tls: Mutex<Option<Client>>,
}

impl Http {
    pub(super) fn new(certificates: Certificates, direct: bool) -> Self {
        // The first call wins; whoever was first chose the same provider, there is no other in the binary.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            certificates,
            direct,
            plain: Mutex::new(None),
            tls: Mutex::new(None),
        }
    }

    /// A client for `url`'s scheme; all of its kind share their connections.
    pub(super) fn client(&self, url: &Url) -> Result<Client, RegistryError> {
        let is_tls = url.scheme() == "https";
        let slot = if is_tls { &self.tls } else { &self.plain };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = slot.as_ref() {
            return Ok(client.clone());
        }
        let client = if is_tls {
            self.tls_client(url)?
        } else {
            let no_roots = self.builder().tls_certs_only([]);
            no_roots.build().map_err(RegistryError::Client)?
        };
        Ok(slot.insert(client).clone())
    }

    fn tls_client(&self, url: &Url) -> Result<Client, RegistryError> {
        match &self.certificates {
            Certificates::Any => self
                .builder()
                .tls_certs_only([])
                .tls_danger_accept_invalid_certs(true)
                .build()
                .map_err(RegistryError::Client),
            Certificates::Pem(text) => {
                let roots = reqwest::Certificate::from_pem_bundle(text)
                    .map_err(RegistryError::Certificates)?;
                if roots.is_empty() {
                    return Err(RegistryError::NoCertificates(host_of(url)));
                }
                self.builder()
                    .tls_certs_only(roots)
                    .build()
                    .map_err(RegistryError::Certificates)
            }
            Certificates::System => self.builder().build().map_err(|error| {
                if error.is_builder() {
                    RegistryError::NoCertificates(host_of(url))
                } else {
                    RegistryError::Client(error)
                }
            }),
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

    /// Sends the request that `make` builds until there is an answer that is no passing trouble.
    pub(super) fn send(
        &self,
        url: &Url,
        make: impl Fn(&Client) -> reqwest::Result<Request>,
    ) -> Result<Response, RegistryError> {
        let client = self.client(url)?;
        let failed = |source: reqwest::Error| RegistryError::Send {
            host: host_of(url),
            source: source.without_url(),
        };
        let mut tries = 1;
        loop {
            let answer = make(&client)
                .and_then(|request| client.execute(request))
                .map_err(failed);
            let wait = match &answer {
                Ok(response) if is_transient(response.status()) => retry_after(response),
                Err(error) if error.is_transient() => None,
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

/// The registry's own wish, in seconds, within reason. The form with a date is not heeded: it would need the right time.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds: u64 = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
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
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Denied { host, message },
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
