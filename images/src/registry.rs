//! The client of the OCI distribution protocol. It runs in the registry worker only, which the coordinator does not trust:
//! digests, sizes and documents are checked by others.

mod auth;
mod blob;
pub(crate) mod challenge;
mod endpoints;
mod error;
mod handshake;
mod http;
mod manifest;
mod pace;
mod redirect;
mod serve;
mod way;

use std::sync::{Mutex, PoisonError};

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use url::Url;

use crate::credentials::Login;
use crate::fetch::protocol::{Endpoint, Transport};
use auth::Asker;
use error::Denied;
pub use error::RegistryError;
use http::{Certificates, Http, Whose, host_of, refusal};
pub use serve::serve;

/// The registry that `docker.io` stands for.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// How often one request is authenticated: a token may end while other threads use it up.
const MAX_LOGINS: u32 = 3;

/// Where a repository is.
#[derive(Clone)]
struct Home {
    url: Url,
    /// Nobody has answered there yet.
    tentative: Option<Tentative>,
}

/// What the first answer may change about TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tentative {
    /// It may be wanted.
    More,
    /// It may not be had, and need not: the user calls this registry insecure.
    Less,
}

/// One repository of one registry.
struct Registry {
    http: Http,
    home: Mutex<Home>,
    repository: String,
    /// It is the place that the image's name says.
    own: bool,
    login: Option<Login>,
    /// The `Authorization` header that last worked, for the registry itself only.
    authorization: Mutex<Option<HeaderValue>>,
}

impl Registry {
    /// The repository at `endpoint`, with PEM texts of authorities and of a client certificate.
    fn new(
        endpoint: Endpoint,
        authorities: Vec<u8>,
        identity: Option<Vec<u8>>,
    ) -> Result<Self, RegistryError> {
        let (scheme, tentative) = match endpoint.transport {
            Transport::Https => ("https", None),
            Transport::Insecure => ("https", Some(Tentative::Less)),
            Transport::Http => ("http", None),
            Transport::Loopback => ("http", Some(Tentative::More)),
        };
        let host = match endpoint.host.as_str() {
            "docker.io" => DOCKER_HUB,
            other => other,
        };
        let text = format!("{scheme}://{host}/v2/{}/", endpoint.repository);
        let home = Home {
            url: Url::parse(&text).map_err(|error| RegistryError::Url(text, error))?,
            tentative,
        };
        let certificates = if endpoint.any_certificate {
            Certificates::Any
        } else if endpoint.no_system_authorities {
            Certificates::Only(authorities)
        } else {
            Certificates::System(authorities)
        };
        let direct = endpoint.transport == Transport::Loopback;
        Ok(Self {
            http: Http::new(certificates, identity, direct),
            home: Mutex::new(home),
            repository: endpoint.repository,
            own: endpoint.own,
            login: endpoint.login,
            authorization: Mutex::new(None),
        })
    }

    /// The answer to a GET of `path` below the repository, authenticated when the registry asks for it, redirects followed.
    fn get(&self, path: &str, headers: &HeaderMap) -> Result<Response, RegistryError> {
        let mut tries = 0;
        loop {
            let home = self.home();
            let url = home.url.join(path);
            let url = url.map_err(|error| RegistryError::Url(path.to_owned(), error))?;
            let used = self.authorization();
            let answer = self.follow(&home, url, headers, used.as_ref());
            if home.tentative.is_some() && self.settle(&home, &answer) {
                continue;
            }
            let response = answer?;
            let at_home = redirect::same_origin(response.url(), &home.url);
            if response.status() != StatusCode::UNAUTHORIZED || !at_home || tries == MAX_LOGINS {
                return Ok(response);
            }
            self.authenticate(&home, &response, used.as_ref())?;
            tries += 1;
        }
    }

    /// Why an answer is not the one hoped for. What was refused to us is told with who we said we are.
    fn refusal(&self, response: Response) -> RegistryError {
        let at_home = redirect::same_origin(response.url(), &self.home().url);
        let sent = self
            .login
            .as_ref()
            .filter(|_| self.authorization().is_some());
        match refusal(response) {
            RegistryError::Denied { host, message, .. } if at_home => RegistryError::Denied {
                host,
                to: Denied::new(sent),
                message,
            },
            other => other,
        }
    }

    fn home(&self) -> Home {
        self.home
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Decides after the first answer whether there is to be TLS. A server that wants it calls the request without it bad; one
    /// that has none does not complete a handshake. From TLS to less only where the user calls the registry insecure.
    /// `true`: ask again.
    fn settle(&self, tried: &Home, answer: &Result<Response, RegistryError>) -> bool {
        let mut home = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if home.url != tried.url {
            return true;
        }
        let other = match (tried.tentative, answer) {
            (Some(Tentative::More), Ok(response)) => {
                (response.status() == StatusCode::BAD_REQUEST).then_some("https")
            }
            (Some(Tentative::Less), Err(error)) => error.is_refused_connection().then_some("http"),
            (_, Ok(_)) => None,
            (_, Err(_)) => return false,
        };
        home.tentative = None;
        other.is_some_and(|scheme| home.url.set_scheme(scheme).is_ok())
    }

    fn authorization(&self) -> Option<HeaderValue> {
        let known = self.authorization.lock();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gets a new `Authorization`, unless another thread has replaced the one that was `used` meanwhile.
    fn authenticate(
        &self,
        home: &Home,
        response: &Response,
        used: Option<&HeaderValue>,
    ) -> Result<(), RegistryError> {
        let known = self.authorization.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() == used {
            let asker = Asker {
                http: &self.http,
                home: &home.url,
                repository: &self.repository,
                login: self.login.as_ref(),
            };
            *known = Some(asker.authorize(response)?);
        }
        Ok(())
    }

    /// One GET and its redirects. The authorization stays with scheme, host and port of the registry.
    fn follow(
        &self,
        home: &Home,
        mut url: Url,
        headers: &HeaderMap,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, RegistryError> {
        for _ in 0..=redirect::MAX_HOPS {
            let at_home = redirect::same_origin(&url, &home.url);
            let authorization = authorization.filter(|_| at_home);
            let whose = match at_home {
                true => Whose::Registry,
                false => Whose::Elsewhere,
            };
            let response = self.http.send(&url, whose, |client| {
                let mut request = client
                    .get(url.clone())
                    .header(ACCEPT_ENCODING, "identity")
                    .headers(headers.clone());
                if let Some(value) = authorization {
                    request = request.header(AUTHORIZATION, value);
                }
                request.build()
            })?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            url = next(&home.url, &url, &response)?;
        }
        Err(RegistryError::Redirect {
            host: host_of(&url),
            reason: "there are more than 5 in a row",
        })
    }
}

fn next(home: &Url, from: &Url, response: &Response) -> Result<Url, RegistryError> {
    let location = response.headers().get(LOCATION);
    location
        .and_then(|value| value.to_str().ok())
        .ok_or("it names no URL")
        .and_then(|location| redirect::target(from, location, home))
        .map_err(|reason| RegistryError::Redirect {
            host: host_of(from),
            reason,
        })
}
