//! Where a registry may send us. Object stores are elsewhere by nature; the machine's own services must not be reached.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};

use url::{Host, Url};

/// The most redirects followed for one request.
pub(super) const MAX_HOPS: usize = 5;

/// Scheme, host and port: credentials for one are not for another.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme()
        && a.host() == b.host()
        && a.port_or_known_default() == b.port_or_known_default()
}

/// The URL that `location` names when `from` answers with it; `home` is the registry.
pub(super) fn target(from: &Url, location: &str, home: &Url) -> Result<Url, &'static str> {
    let to = from.join(location).map_err(|_| "it names no URL")?;
    if from.scheme() == "https" && to.scheme() != "https" {
        return Err("it leads from https to something less");
    }
    check(&to, home)?;
    Ok(to)
}

/// Whether `home` may name `to` to us at all.
pub(super) fn check(to: &Url, home: &Url) -> Result<(), &'static str> {
    if !matches!(to.scheme(), "http" | "https") {
        return Err("it is neither http nor https");
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err("it brings a user name or password");
    }
    if to.host() == home.host() {
        return Ok(());
    }
    let addresses = addresses(to);
    if addresses.iter().any(|address| is_never_public(*address)) {
        return Err("it leads to a link-local, multicast or unspecified address");
    }
    if addresses.iter().any(is_loopback) && !self::addresses(home).iter().all(is_loopback) {
        return Err("it leads to this machine");
    }
    Ok(())
}

/// The addresses of a URL's host; none when it cannot be resolved here, as behind a proxy.
fn addresses(url: &Url) -> Vec<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(address)) => vec![address.into()],
        Some(Host::Ipv6(address)) => vec![address.to_canonical()],
        Some(Host::Domain(name)) => (name, 0)
            .to_socket_addrs()
            .map(|found| found.map(|address| address.ip().to_canonical()).collect())
            .unwrap_or_default(),
        None => Vec::new(),
    }
}

fn is_loopback(address: &IpAddr) -> bool {
    address.is_loopback()
}

fn is_never_public(address: IpAddr) -> bool {
    address.is_unspecified()
        || address.is_multicast()
        || match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4 == Ipv4Addr::BROADCAST,
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    /// From, location, and a part of the refusal.
    const CASES: &[(&str, &str, Option<&str>)] = &[
        (
            "https://r.example/v2/x",
            "https://192.0.2.7/blob?sig=1",
            None,
        ),
        ("https://r.example/v2/x", "/elsewhere", None),
        (
            "http://127.0.0.1:5000/v2/x",
            "http://127.0.0.1:6000/y",
            None,
        ),
        ("http://127.0.0.1:5000/v2/x", "https://192.0.2.7/y", None),
        ("https://r.example/v2/x", "http://r.example/y", Some("less")),
        ("https://r.example/v2/x", "http://192.0.2.7/y", Some("less")),
        (
            "http://192.0.2.1/v2/x",
            "file:///etc/passwd",
            Some("neither"),
        ),
        ("http://192.0.2.1/v2/x", "data:,x", Some("neither")),
        (
            "http://192.0.2.1/v2/x",
            "http://169.254.169.254/latest",
            Some("link-local"),
        ),
        (
            "http://192.0.2.1/v2/x",
            "http://[fe80::1]/",
            Some("link-local"),
        ),
        (
            "http://192.0.2.1/v2/x",
            "http://[::ffff:169.254.1.1]/",
            Some("link-local"),
        ),
        (
            "http://192.0.2.1/v2/x",
            "http://0.0.0.0/",
            Some("unspecified"),
        ),
        (
            "http://192.0.2.1/v2/x",
            "http://0x7f.1/",
            Some("this machine"),
        ),
        (
            "http://192.0.2.1/v2/x",
            "http://localhost/",
            Some("this machine"),
        ),
        (
            "http://192.0.2.1/v2/x",
            "http://user:pw@192.0.2.7/",
            Some("password"),
        ),
        ("http://192.0.2.1/v2/x", "http://[", Some("no URL")),
    ];

    #[test]
    fn redirects_are_followed_only_where_they_may_lead() {
        for (from, location, refusal) in CASES {
            let answer = target(&url(from), location, &url(from));
            match refusal {
                None => assert!(answer.is_ok(), "{location}: {answer:?}"),
                Some(part) => {
                    let reason = answer.unwrap_err();
                    assert!(reason.contains(part), "{location}: {reason}");
                }
            }
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let home = url("https://r.example/v2/");
        assert!(same_origin(&home, &url("https://R.EXAMPLE:443/other")));
        for other in [
            "http://r.example/",
            "https://r.example:444/",
            "https://r.example.evil/",
        ] {
            assert!(!same_origin(&home, &url(other)), "{other}");
        }
    }
}
