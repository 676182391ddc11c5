//! The proxy on the way to a server, and who named it: as the HTTP client finds it, with the matcher that it has from the same
//! crate.

use std::env;
use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use url::Url;

/// A proxy, without the password that may be for it.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    variable: &'static str,
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proxy {}, which {} names", self.url, self.variable)
    }
}

impl Proxy {
    /// The one on the way to `url`.
    pub(super) fn to(url: &Url) -> Option<Self> {
        let found = Matcher::from_env().intercept(&url.as_str().parse().ok()?)?;
        let first = |names: [&'static str; 2]| {
            names
                .into_iter()
                .find_map(|name| Some((name, env::var(name).ok()?)))
        };
        let own = match url.scheme() {
            "https" => first(["HTTPS_PROXY", "https_proxy"]),
            _ => first(["HTTP_PROXY", "http_proxy"]),
        };
        // One that is no URL does not count, here as there.
        let is_it = |value: &str| {
            let alone = Matcher::builder().all(value.to_owned()).build();
            url.as_str()
                .parse()
                .is_ok_and(|url| alone.intercept(&url).is_some())
        };
        let own = own.filter(|(_, value)| is_it(value));
        let (variable, _) = own.or_else(|| first(["ALL_PROXY", "all_proxy"]))?;
        Some(Self {
            url: found.uri().to_string(),
            variable,
        })
    }
}
