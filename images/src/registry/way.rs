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

/// The variables for a scheme, and those for all: the first of each that is set counts.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NONE: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The variable that names no proxy though it is to name the one on the way to `url`. The HTTP client would go without.
pub(super) fn unusable(url: &Url) -> Option<&'static str> {
    let exempt = first(NONE).map(|(_, hosts)| hosts).unwrap_or_default();
    let proxied = |proxy: &str| {
        let matcher = Matcher::builder().all(proxy.to_owned()).no(exempt.clone());
        let url = url.as_str().parse();
        url.is_ok_and(|url| matcher.build().intercept(&url).is_some())
    };
    let wanted = |(_, value): &(&str, String)| !value.is_empty();
    let (name, value) = first(of_scheme(url))
        .filter(wanted)
        .or_else(|| first(ALL).filter(wanted))?;
    (proxied("http://proxy.invalid") && !proxied(&value)).then_some(name)
}

fn of_scheme(url: &Url) -> [&'static str; 2] {
    match url.scheme() {
        "https" => HTTPS,
        _ => HTTP,
    }
}

fn first(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    let mut set = names
        .into_iter()
        .filter_map(|name| Some((name, env::var(name).ok()?)));
    set.next()
}

impl Proxy {
    /// The one on the way to `url`.
    pub(super) fn to(url: &Url) -> Option<Self> {
        let found = Matcher::from_env().intercept(&url.as_str().parse().ok()?)?;
        // What is empty does not count, here as there.
        let own = first(of_scheme(url)).filter(|(_, value)| !value.is_empty());
        let (variable, _) = own.or_else(|| first(ALL))?;
        Some(Self {
            url: found.uri().to_string(),
            variable,
        })
    }
}
