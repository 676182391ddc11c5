//! Who may ask a registry: anybody, whoever knows a password, or whoever has a token.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::http::{Incoming, Response};
use super::{Content, SocketAddr};

/// Who may ask.
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Anybody.
    #[default]
    Anybody,
    /// Whoever sends this user and password with each request.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// Whoever has a token for the repository from `/token`.
    Token {
        /// Who gets a token: whoever knows this user and password, or anybody. With user `<token>` it is whoever sends
        /// the password as a refresh token.
        login: Option<(String, String)>,
        /// Where the token server is said to be; absent: here.
        realm: Option<String>,
        /// How many requests a token is good for.
        uses: u32,
    },
}

#[derive(Debug)]
pub(super) struct Token {
    name: String,
    repository: String,
    uses_left: u32,
}

/// `None` when `request` may be answered, otherwise the refusal.
pub(super) fn check(
    content: &mut Content,
    request: &Incoming,
    repository: Option<&str>,
    address: SocketAddr,
) -> Option<Response> {
    let sent = request.header("authorization").unwrap_or_default();
    match &content.auth {
        Auth::Anybody => None,
        Auth::Basic { user, password } => {
            if sent == basic(user, password) {
                return None;
            }
            Some(
                Response::error(401, "UNAUTHORIZED")
                    .with("WWW-Authenticate", "Basic realm=\"test registry\""),
            )
        }
        Auth::Token { realm, .. } => {
            let token = sent.strip_prefix("Bearer ").and_then(|name| {
                content.tokens.iter_mut().find(|t| {
                    t.name == name
                        && repository.is_none_or(|r| r == t.repository)
                        && t.uses_left > 0
                })
            });
            if let Some(token) = token {
                token.uses_left -= 1;
                return None;
            }
            let realm = realm
                .clone()
                .unwrap_or_else(|| format!("http://{address}/token"));
            let scope = repository
                .map(|r| format!(",scope=\"repository:{r}:pull\""))
                .unwrap_or_default();
            let challenge = format!("Bearer realm=\"{realm}\",service=\"test registry\"{scope}");
            Some(Response::error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge))
        }
    }
}

/// Answers `/token?service=…&scope=repository:NAME:pull`.
pub(super) fn token(content: &mut Content, request: &Incoming) -> Response {
    let Auth::Token { login, uses, .. } = &content.auth else {
        return Response::error(404, "NAME_UNKNOWN");
    };
    let query = match request.method.as_str() {
        "POST" => request.body.as_str(),
        _ => request.path.split_once('?').map_or("", |(_, q)| q),
    };
    let query = query.replace("%3A", ":").replace("%2F", "/");
    if let Some((user, password)) = login {
        let known = match user.as_str() {
            "<token>" => {
                let sent = format!("refresh_token={password}");
                let parts: Vec<&str> = query.split('&').collect();
                parts.contains(&sent.as_str()) && parts.contains(&"grant_type=refresh_token")
            }
            user => request.header("authorization") == Some(&basic(user, password)),
        };
        if !known {
            return Response::error(401, "UNAUTHORIZED");
        }
    }
    let repository = query
        .split('&')
        .find_map(|part| part.strip_prefix("scope=repository:"))
        .and_then(|scope| scope.strip_suffix(":pull"));
    let Some(repository) = repository else {
        return Response::error(400, "UNSUPPORTED");
    };
    let token = Token {
        name: format!("token-{}", content.tokens.len()),
        repository: repository.to_owned(),
        uses_left: *uses,
    };
    let document = serde_json::json!({"token": token.name, "expires_in": 300});
    content.tokens.push(token);
    Response::new(200)
        .with("Content-Type", "application/json")
        .body(document.to_string().into_bytes())
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
