//! The contents of `/etc/resolv.conf` and `/etc/hosts` of a pod: written field by field from checked values, so that
//! neither a plugin nor the host's files can bring a line of their own.

use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use super::reply::{Joined, is_domain, is_option};

/// The most bytes of the host's `resolv.conf` that are looked at.
const MAX_RESOLV_CONF: u64 = 64 << 10;

/// Whose loopback interface the pod has: a name server there is of use only with the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loopback {
    /// The host's.
    Hosts,
    /// The pod's own.
    Own,
}

/// What a line of `resolv.conf` may say.
#[derive(Debug, Default, PartialEq)]
struct Resolver {
    nameservers: Vec<IpAddr>,
    search: Vec<String>,
    options: Vec<String>,
}

/// `resolv.conf` from what the networks said; from the host's when they named no server.
pub(crate) fn resolv_conf(joined: &[Joined], loopback: Loopback) -> String {
    let said = Resolver::of(joined);
    if !said.nameservers.is_empty() {
        return said.print();
    }
    let mut host = Resolver::parse(&read("/etc/resolv.conf"));
    if loopback == Loopback::Own {
        host.drop_loopback();
        if host.nameservers.is_empty() {
            // systemd-resolved: the file above names only its stub, this one the servers behind it.
            host = Resolver::parse(&read("/run/systemd/resolve/resolv.conf"));
            host.drop_loopback();
        }
    }
    Resolver {
        nameservers: host.nameservers,
        search: if said.search.is_empty() {
            host.search
        } else {
            said.search
        },
        options: if said.options.is_empty() {
            host.options
        } else {
            said.options
        },
    }
    .print()
}

/// `hosts` of a pod: `localhost`, and its own name by its own addresses.
pub(crate) fn hosts(hostname: &str, addresses: &[IpAddr]) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned();
    if is_domain(hostname) && hostname != "localhost" {
        // Without an address of its own the name still has to resolve, as Debian's installer has it.
        let own = [IpAddr::from([127, 0, 1, 1])];
        let addresses = if addresses.is_empty() {
            &own
        } else {
            addresses
        };
        for address in addresses {
            text.push_str(&format!("{address} {hostname}\n"));
        }
    }
    text
}

/// The host's `hosts`, in which the pod's own name resolves too: it has another one than the host.
pub(crate) fn hosts_of_host(mut text: Vec<u8>, hostname: &str) -> Vec<u8> {
    let lines = text.split(|byte| *byte == b'\n');
    let named = |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        let words = line.split('#').next().unwrap_or_default();
        let mut names = words.split_ascii_whitespace().skip(1);
        names.any(|name| name.eq_ignore_ascii_case(hostname))
    };
    if is_domain(hostname) && !lines.into_iter().any(named) {
        if text.last().is_some_and(|last| *last != b'\n') {
            text.push(b'\n');
        }
        text.extend(format!("127.0.1.1 {hostname}\n").bytes());
    }
    text
}

impl Resolver {
    fn of(joined: &[Joined]) -> Self {
        let mut all = Self::default();
        for network in joined {
            add(&mut all.nameservers, &network.nameservers);
            add(&mut all.search, &network.search);
            add(&mut all.options, &network.options);
        }
        all
    }

    /// Takes what is well-formed and leaves out the rest. As for the C library, the last `search` or `domain` counts.
    fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => all
                    .nameservers
                    .extend(words.next().and_then(|ip| ip.parse::<IpAddr>().ok())),
                Some("search" | "domain") => {
                    all.search = words
                        .filter(|word| is_domain(word))
                        .map(str::to_owned)
                        .collect();
                }
                Some("options") => all
                    .options
                    .extend(words.filter(|word| is_option(word)).map(str::to_owned)),
                _ => {}
            }
        }
        all
    }

    fn drop_loopback(&mut self) {
        self.nameservers
            .retain(|server| !server.is_loopback() && !server.is_unspecified());
    }

    fn print(&self) -> String {
        let mut text = String::new();
        for server in &self.nameservers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        for (keyword, words) in [("search", &self.search), ("options", &self.options)] {
            if !words.is_empty() {
                text.push_str(&format!("{keyword} {}\n", words.join(" ")));
            }
        }
        text
    }
}

fn add<T: Clone + PartialEq>(all: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
}

/// A file of the host as far as it can be read: a host without one has no name servers to offer.
fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    let read = pod::small_file::open(Path::new(path))
        .and_then(|file| file.take(MAX_RESOLV_CONF).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_lines_of_the_host_are_taken() {
        let mut host = Resolver::parse(
            "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.2 junk\nnameserver evil\nnameserver ::1\n\
             domain a.example\nsearch b.example c..d $(x)\noptions ndots:2 EVIL;x trust-ad\nsortlist 1.2.3.4\n",
        );
        assert_eq!(host.nameservers.len(), 3);
        host.drop_loopback();
        assert_eq!(
            host.print(),
            "nameserver 10.0.0.2\nsearch b.example\noptions ndots:2 trust-ad\n"
        );
    }

    #[test]
    fn networks_come_before_the_host_and_in_their_order() {
        let network = |server: &str, domain: &str| Joined {
            nameservers: vec![server.parse().unwrap()],
            search: vec![domain.to_owned()],
            ..Joined::default()
        };
        let both = [
            network("9.9.9.9", "a"),
            network("2620:fe::fe", "b"),
            network("9.9.9.9", "a"),
        ];
        assert_eq!(
            resolv_conf(&both, Loopback::Own),
            "nameserver 9.9.9.9\nnameserver 2620:fe::fe\nsearch a b\n"
        );
    }

    #[test]
    fn the_pod_finds_itself_by_name() {
        assert_eq!(
            hosts(
                "web",
                &["10.1.0.2".parse().unwrap(), "fd00::2".parse().unwrap()]
            ),
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.1.0.2 web\nfd00::2 web\n"
        );
        assert!(hosts("web", &[]).ends_with("127.0.1.1 web\n"));
        assert_eq!(hosts("a\n6.6.6.6 bank", &[]).lines().count(), 2);
    }
}
