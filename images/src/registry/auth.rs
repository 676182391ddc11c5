//! Answers to a registry's challenge: basic authentication, or a token from the token server it names.

use std::io::Read;

use reqwest::StatusCode;
use reqwest::blocking::{Client, Request, Response};
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use url::Url;

use super::challenge::{self, Challenge};
use super::error::{Denied, RegistryError};
use super::http::{Http, Whose, host_of, refusal};
use super::redirect;
use crate::credentials::{Credential, Login};
use crate::strict_json;

const MAX_TOKEN_ANSWER: usize = 256 * 1024;

/// Who asks, and for what.
pub(super) struct Asker<'a> {
    pub(super) http: &'a Http,
    /// The registry.
    pub(super) home: &'a Url,
    pub(super) repository: &'a str,
    pub(super) login: Option<&'a Login>,
}

impl Asker<'_> {
    /// The `Authorization` header that answers the challenges of `response`.
    pub(super) fn authorize(&self, response: &Response) -> Result<HeaderValue, RegistryError> {
        let mut challenges = Vec::new();
        for header in response.headers().get_all(WWW_AUTHENTICATE) {
            let text = header.to_str().unwrap_or("\u{0}");
            let parsed = challenge::parse(text)
                .map_err(|error| RegistryError::Challenge(host_of(self.home), error))?;
            challenges.extend(parsed);
        }
        challenges.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
        match challenges.into_iter().next() {
            Some(Challenge::Bearer { realm, service, .. }) => {
                self.bearer(&realm, service.as_deref())
            }
            Some(Challenge::Basic) => self.basic(),
            None => Err(RegistryError::UnknownChallenge(host_of(self.home))),
        }
    }

    fn credential(&self) -> Option<&Credential> {
        self.login.map(|login| &login.credential)
    }

    fn basic(&self) -> Result<HeaderValue, RegistryError> {
        let Some(Credential::Password { user, password }) = self.credential() else {
            return Err(RegistryError::NoCredentials(host_of(self.home)));
        };
        use base64::Engine;
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        secret(&format!("Basic {pair}"))
            .ok_or_else(|| RegistryError::NoCredentials(host_of(self.home)))
    }

    /// Asks the token server for a token to fetch from this repository, never for the scope that the registry names.
    fn bearer(&self, realm: &str, service: Option<&str>) -> Result<HeaderValue, RegistryError> {
        let url = self.realm(realm)?;
        let host = host_of(&url);
        let scope = format!("repository:{}:pull", self.repository);
        // A client certificate is for the registry's own port.
        let whose = match redirect::same_origin(&url, self.home) {
            true => Whose::Registry,
            false => Whose::Elsewhere,
        };
        let response = self.http.send(&url, whose, |client| {
            self.token_request(client, &url, service, &scope)
        })?;
        if response.status() != StatusCode::OK {
            return Err(match refusal(response) {
                RegistryError::Denied { host, message, .. } => RegistryError::Denied {
                    host,
                    to: Denied::new(self.login),
                    message,
                },
                other => other,
            });
        }
        let token = read_token(response, &host)?;
        secret(&format!("Bearer {token}")).ok_or(RegistryError::NoToken(host))
    }

    fn token_request(
        &self,
        client: &Client,
        url: &Url,
        service: Option<&str>,
        scope: &str,
    ) -> reqwest::Result<Request> {
        let mut parameters = vec![("scope", scope)];
        parameters.extend(service.map(|service| ("service", service)));
        if let Some(Credential::IdentityToken(token)) = self.credential() {
            parameters.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "skua"),
                ("refresh_token", token),
            ]);
            let form = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(parameters)
                .finish();
            return client
                .post(url.clone())
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form)
                .build();
        }
        let mut url = url.clone();
        url.query_pairs_mut().extend_pairs(parameters);
        let request = client.get(url);
        match self.credential() {
            Some(Credential::Password { user, password }) => {
                request.basic_auth(user, Some(password)).build()
            }
            _ => request.build(),
        }
    }

    /// The token server's URL, if it may be asked. With a credential it would learn the secret: so never over less TLS than
    /// the registry, and without TLS only when it is the registry's own host.
    fn realm(&self, realm: &str) -> Result<Url, RegistryError> {
        let refuse = |reason| RegistryError::Realm {
            realm: realm.to_owned(),
            reason,
        };
        let url = Url::parse(realm).map_err(|_| refuse("it is no URL"))?;
        redirect::check(&url, self.home).map_err(refuse)?;
        if self.home.scheme() == "https" && url.scheme() != "https" {
            return Err(refuse("it has less TLS than the registry"));
        }
        if self.login.is_some() && url.scheme() != "https" && url.host() != self.home.host() {
            return Err(refuse(
                "it is another host, without TLS, and would get the password",
            ));
        }
        Ok(url)
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

fn read_token(response: Response, host: &str) -> Result<String, RegistryError> {
    let mut body = Vec::new();
    response
        .take(MAX_TOKEN_ANSWER as u64 + 1)
        .read_to_end(&mut body)
        .map_err(|error| RegistryError::Body(host.to_owned(), error))?;
    let answer: TokenAnswer = strict_json::from_slice(&body, MAX_TOKEN_ANSWER)
        .map_err(|error| RegistryError::Token(host.to_owned(), error))?;
    answer
        .token
        .or(answer.access_token)
        .filter(|token| !token.is_empty())
        .ok_or_else(|| RegistryError::NoToken(host.to_owned()))
}

/// A header value that no log shows; none when the text cannot be one.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::super::http::Certificates;
    use super::*;

    fn realm(home: &str, realm: &str, login: Option<&Login>) -> Result<Url, RegistryError> {
        Asker {
            http: &Http::new(Certificates::Any, None, false),
            home: &Url::parse(home).unwrap(),
            repository: "r",
            login,
        }
        .realm(realm)
    }

    #[test]
    fn a_password_goes_only_where_it_is_safe() {
        let password = Login {
            credential: Credential::Password {
                user: "u".into(),
                password: "p".into(),
            },
            origin: "f".into(),
        };
        for (home, server, with_password, anonymous) in [
            ("https://192.0.2.1", "https://192.0.2.2/token", true, true),
            ("https://192.0.2.1", "http://192.0.2.1/token", false, false),
            ("http://192.0.2.1", "http://192.0.2.1:81/token", true, true),
            ("http://192.0.2.1", "http://192.0.2.2/token", false, true),
            ("http://192.0.2.1", "https://192.0.2.2/token", true, true),
            (
                "https://192.0.2.1",
                "https://169.254.169.254/",
                false,
                false,
            ),
            ("https://192.0.2.1", "file:///etc/shadow", false, false),
            ("https://192.0.2.1", "not a url", false, false),
        ] {
            assert_eq!(
                realm(home, server, Some(&password)).is_ok(),
                with_password,
                "{server}"
            );
            assert_eq!(realm(home, server, None).is_ok(), anonymous, "{server}");
        }
    }
}
