//! Why a registry did not give what was asked for. Made in the registry worker, shown by the coordinator as one line.

use std::fmt;
use std::io;

use thiserror::Error;

use super::challenge::ChallengeError;
use super::handshake;
use super::way::Proxy;
use crate::credentials::Login;

/// The most tries of a request that is not answered at all.
const MAX_SILENCES: u32 = 2;

/// A failed step of a conversation with a registry.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// Host, repository and name do not make a URL.
    #[error("cannot make a URL of {0}")]
    Url(String, #[source] url::ParseError),
    /// The HTTP client cannot be set up.
    #[error("cannot set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// `SSL_CERT_FILE` or `certs.d` has no usable certificates.
    #[error("cannot use the certificates given for {0} (certs.d, SSL_CERT_FILE)")]
    Certificates(String, #[source] reqwest::Error),
    /// A client certificate and its key do not parse.
    #[error("cannot use the client certificate given for {0} (certs.d)")]
    Identity(String, #[source] reqwest::Error),
    /// There is nothing to check a server's certificate against.
    #[error(
        "cannot check the certificate of {0}: no CA certificates are installed (install ca-certificates, set SSL_CERT_FILE, or use certs.d)"
    )]
    NoCertificates(String),
    /// Its certificate is of an authority that nobody here knows.
    #[error(
        "the certificate of {0} is signed by no authority that is known here (if you trust it: put it into certs.d/{0}/ca.crt, or into the file that SSL_CERT_FILE names)"
    )]
    UnknownAuthority(String),
    /// Its certificate is not good for another reason.
    #[error("the certificate of {host} is not trusted: {why}")]
    Untrusted {
        /// Whose it is.
        host: String,
        /// The reason.
        why: String,
    },
    /// It answers, and not by TLS.
    #[error(
        "{0} does not speak TLS (if you trust the network: insecure = true in registries.conf, or --insecure-options=http)"
    )]
    NoTls(String),
    /// It wants to know who we are, by a certificate.
    #[error(
        "{0} wants a client certificate, or another than it got (a registry gets certs.d/{0}/NAME.cert with NAME.key)"
    )]
    NoIdentity(String),
    /// There is to be a proxy, and it cannot be told which.
    #[error("cannot reach {0}: {1} is no URL of a proxy (such as http://HOST:PORT)")]
    Proxy(String, &'static str),
    /// No answer came.
    #[error("cannot reach {host}{}: {}", through(.proxy.as_ref()), innermost(.error))]
    Send {
        /// Whom we asked.
        host: String,
        /// The proxy on the way there.
        proxy: Option<Proxy>,
        /// Why not.
        error: reqwest::Error,
    },
    /// The answer is a refusal.
    #[error("{host} answered {status}{message}")]
    Status {
        /// Who answered.
        host: String,
        /// The HTTP status.
        status: reqwest::StatusCode,
        /// What the answer says, with a separator before it, or nothing.
        message: String,
    },
    /// The registry wants to know who we are, and we have no credentials.
    #[error(
        "{0} asks for credentials and there are none for it (log in with skopeo, podman or docker)"
    )]
    NoCredentials(String),
    /// The registry does not accept our credentials.
    #[error("{host} refuses access{to}{message}{}", .to.remedy())]
    Denied {
        /// Who refused.
        host: String,
        /// To whom.
        to: Denied,
        /// What the answer says, with a separator before it, or nothing.
        message: String,
    },
    /// The challenge cannot be understood.
    #[error("cannot understand how {0} wants to be asked")]
    Challenge(String, #[source] ChallengeError),
    /// The registry asks for a kind of authentication that skua does not know.
    #[error("{0} asks for no authentication that is known here")]
    UnknownChallenge(String),
    /// The token server named by the registry must not be asked.
    #[error("the token server {realm} is not asked: {reason}")]
    Realm {
        /// As the registry names it.
        realm: String,
        /// The rule.
        reason: &'static str,
    },
    /// The token server's answer is no token.
    #[error("cannot understand the token of {0}")]
    Token(String, #[source] crate::strict_json::JsonError),
    /// The token server's answer has no usable token.
    #[error("the answer of token server {0} has no usable token")]
    NoToken(String),
    /// A redirect that is not followed.
    #[error("the redirect of {host} is not followed: {reason}")]
    Redirect {
        /// Who redirects.
        host: String,
        /// The rule.
        reason: &'static str,
    },
    /// The connection broke inside a body.
    #[error("the connection to {0} broke")]
    Body(String, #[source] io::Error),
    /// The body comes too slowly.
    #[error("{0} sends too slowly: less than 1 KiB/s for 30 s")]
    Slow(String),
    /// The bytes come too slowly over many connections.
    #[error("less than 1 KiB/s came over several connections, for more than 3 min")]
    SlowWithBreaks(#[source] Box<RegistryError>),
    /// The body is longer than it may be.
    #[error("the answer of {0} has more than the {1} bytes it may have")]
    TooLong(String, u64),
    /// The body is shorter than it must be.
    #[error("the answer of {host} ended after {at} of {size} bytes")]
    TooShort {
        /// Who answered.
        host: String,
        /// Bytes that came.
        at: u64,
        /// Bytes that the descriptor says.
        size: u64,
    },
    /// A partial answer is not the part that was asked for.
    #[error("{0} answers with another part than asked for")]
    Range(String),
    /// The bytes kept from an earlier try cannot be used.
    #[error("cannot use the kept part of the blob")]
    Kept(#[source] io::Error),
    /// Whoever wants the bytes has gone.
    #[error("the receiver of the bytes has gone")]
    Sink(#[source] io::Error),
    /// All places that could be asked have served other bytes than were asked for.
    #[error("there is no other place to ask")]
    NoPlace,
    /// No place has it; what each says, in order.
    #[error("{}", .0.join("; "))]
    Everywhere(Vec<String>),
}

/// Who is refused access.
#[derive(Debug)]
pub enum Denied {
    /// We, and no credential belongs there: a redirect leads to it.
    Elsewhere,
    /// Whoever has no credentials.
    Nobody,
    /// Whose they are, and where they were found.
    Login(String),
}

impl Denied {
    /// Whoever sent this.
    pub(super) fn new(sent: Option<&Login>) -> Self {
        sent.map_or(Self::Nobody, |login| Self::Login(login.to_string()))
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Elsewhere => "",
            Self::Nobody => " (log in with skopeo, podman or docker, if the image is there)",
            Self::Login(_) => " (log in anew with skopeo, podman or docker, as who may fetch it)",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere => Ok(()),
            Self::Nobody => f.write_str(" without credentials"),
            Self::Login(login) => write!(f, " to {login}"),
        }
    }
}

impl RegistryError {
    /// A request that got no answer.
    pub(super) fn send(host: String, proxy: Option<Proxy>, error: reqwest::Error) -> Self {
        handshake::failed(&host, &error).unwrap_or_else(|| Self::Send {
            host,
            proxy,
            error: error.without_url(),
        })
    }

    /// Whether a request that failed in this way for the given time is worth another try. Silence is long in itself.
    pub(super) fn is_worth_another(&self, tries: u32) -> bool {
        match self {
            Self::Send { error, .. } if error.is_timeout() => tries < MAX_SILENCES,
            _ => self.is_transient(),
        }
    }

    /// The same request may succeed a moment later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Send { error, .. } => !error.is_connect() && !error.is_builder(),
            _ => false,
        }
    }

    /// The answer began well and broke off: it can be continued.
    pub(super) fn is_break(&self) -> bool {
        matches!(self, Self::Body(..) | Self::TooShort { .. })
    }

    /// Nobody is there whom we could ask, now or a moment later.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Send { .. }
                | Self::UnknownAuthority(_)
                | Self::Untrusted { .. }
                | Self::NoTls(_)
                | Self::Proxy(..)
                | Self::NoIdentity(_)
                | Self::NoCertificates(_)
                | Self::Certificates(..)
                | Self::Identity(..)
        )
    }

    /// It refused the connection, as a registry does that is being started again.
    pub(super) fn is_refused_connection(&self) -> bool {
        match self {
            Self::Send { error, .. } => error.is_connect(),
            Self::NoTls(_) => true,
            _ => false,
        }
    }
}

/// The registry is busy or ill: worth another try.
pub(super) fn is_transient(status: reqwest::StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

fn through(proxy: Option<&Proxy>) -> String {
    proxy.map_or_else(String::new, |proxy| format!(" through {proxy}"))
}

/// Why there was no answer: what is on the way there are the layers of the HTTP library, which say nothing to its users' users.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
