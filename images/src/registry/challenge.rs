//! `WWW-Authenticate` (RFC 9110, section 11.6.1), as far as registries use it, parsed strictly and bounded.

use thiserror::Error;

const MAX_LENGTH: usize = 4096;
const MAX_PARAMETERS: usize = 16;

/// Why a challenge was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ChallengeError {
    /// It is longer than 4096 bytes.
    #[error("the challenge is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// It is not of the form of RFC 9110.
    #[error("the challenge is malformed at byte {0}")]
    Syntax(usize),
    /// A parameter stands twice, or there are too many.
    #[error("the challenge has repeated or too many parameters")]
    Parameters,
    /// A Bearer challenge without realm.
    #[error("the Bearer challenge has no realm")]
    NoRealm,
}

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with each request.
    Basic,
    /// A token of a token server.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// The service to name to it.
        service: Option<String>,
        /// The scope to ask for.
        scope: Option<String>,
    },
}

/// The challenges of one header that skua can answer; unknown schemes are left out.
///
/// # Errors
/// A [`ChallengeError`] when any part of the header is malformed.
pub(super) fn parse(header: &str) -> Result<Vec<Challenge>, ChallengeError> {
    if header.len() > MAX_LENGTH {
        return Err(ChallengeError::TooLong);
    }
    let mut reader = Reader {
        text: header,
        at: 0,
    };
    let mut challenges = Vec::new();
    reader.skip_separators();
    while !reader.is_at_end() {
        let scheme = reader.token()?.to_ascii_lowercase();
        let parameters = reader.parameters()?;
        match scheme.as_str() {
            "basic" => challenges.push(Challenge::Basic),
            "bearer" => challenges.push(bearer(parameters)?),
            _ => {}
        }
        reader.skip_separators();
    }
    Ok(challenges)
}

fn bearer(parameters: Vec<(String, String)>) -> Result<Challenge, ChallengeError> {
    let value = |name: &str| {
        parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    };
    Ok(Challenge::Bearer {
        realm: value("realm").ok_or(ChallengeError::NoRealm)?,
        service: value("service"),
        scope: value("scope"),
    })
}

/// Parses any header; a realm that it asks for is in it.
#[cfg(any(test, fuzzing))]
pub(crate) fn understand(header: &str) {
    for challenge in parse(header).into_iter().flatten() {
        if let Challenge::Bearer { realm, .. } = challenge {
            assert!(realm.len() <= header.len());
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn error<T>(&self) -> Result<T, ChallengeError> {
        Err(ChallengeError::Syntax(self.at))
    }

    fn skip(&mut self, which: impl Fn(char) -> bool) {
        self.at += self.rest().len() - self.rest().trim_start_matches(which).len();
    }

    fn skip_spaces(&mut self) {
        self.skip(|c| matches!(c, ' ' | '\t'));
    }

    fn skip_separators(&mut self) {
        self.skip(|c| matches!(c, ' ' | '\t' | ','));
    }

    fn eat(&mut self, byte: char) -> bool {
        let found = self.rest().starts_with(byte);
        if found {
            self.at += byte.len_utf8();
        }
        found
    }

    fn token(&mut self) -> Result<&'a str, ChallengeError> {
        let from = self.at;
        self.skip(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
        if self.at == from {
            return self.error();
        }
        Ok(&self.text[from..self.at])
    }

    /// `name=value` pairs up to the end or to the next scheme.
    fn parameters(&mut self) -> Result<Vec<(String, String)>, ChallengeError> {
        let mut found: Vec<(String, String)> = Vec::new();
        loop {
            let before = self.at;
            if found.is_empty() {
                self.skip_spaces();
            } else {
                self.skip_separators();
            }
            if self.is_at_end() || (found.is_empty() && self.rest().starts_with(',')) {
                return Ok(found);
            }
            let name = self.token()?.to_ascii_lowercase();
            self.skip_spaces();
            if !self.eat('=') {
                self.at = before;
                return if found.is_empty() {
                    self.error()
                } else {
                    Ok(found)
                };
            }
            self.skip_spaces();
            let value = self.value()?;
            if found.len() == MAX_PARAMETERS || found.iter().any(|(known, _)| *known == name) {
                return Err(ChallengeError::Parameters);
            }
            found.push((name, value));
            self.skip_spaces();
            if !self.is_at_end() && !self.rest().starts_with(',') {
                return self.error();
            }
        }
    }

    fn value(&mut self) -> Result<String, ChallengeError> {
        if !self.eat('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest().char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at += offset + 1;
                    return Ok(value);
                }
                '\\' => match characters.next() {
                    Some((_, escaped)) if !escaped.is_control() => value.push(escaped),
                    _ => return self.error(),
                },
                control if control.is_control() => return self.error(),
                plain => value.push(plain),
            }
        }
        self.error()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.into(),
            service: service.map(Into::into),
            scope: scope.map(Into::into),
        }
    }

    #[test]
    fn what_registries_send_is_understood() {
        for (header, expected) in [
            (r#"Basic realm="Registry Realm""#, vec![Challenge::Basic]),
            ("Basic", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push""#,
                vec![bearer(
                    "https://auth.example/token",
                    Some("r.example"),
                    Some("repository:a/b:pull,push"),
                )],
            ),
            (
                "bearer REALM=\"https://a/\" , service=x",
                vec![bearer("https://a/", Some("x"), None)],
            ),
            (
                r#"Digest realm="x", qop="auth", Bearer realm="https://a/?q=\"1\"", Basic realm="y""#,
                vec![bearer("https://a/?q=\"1\"", None, None), Challenge::Basic],
            ),
            ("", vec![]),
            (" , ", vec![]),
        ] {
            assert_eq!(parse(header).as_ref(), Ok(&expected), "{header}");
        }
    }

    #[test]
    fn malformed_challenges_are_refused() {
        let many: String = (0..17).map(|n| format!("a{n}=1,")).collect();
        for header in [
            "Bearer",
            "Bearer service=x",
            r#"Bearer realm="unterminated"#,
            r#"Bearer realm="x" service="y""#,
            "Bearer realm=\"line\nbreak\"",
            r#"Bearer realm="a",realm="b""#,
            r#"Bearer realm="ends with \"#,
            "Bearer =x",
            "Bearer realm=",
            "Basic a b",
            "\u{e9}",
            &format!("Bearer {many}"),
            &format!("Bearer realm=\"{}\"", "x".repeat(5000)),
        ] {
            assert!(parse(header).is_err(), "{header}");
        }
    }
}
