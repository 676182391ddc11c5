//! Published ports are taken from the host for as long as the pod lives. The reference plugin `portmap` only writes rules for the
//! packet filter: they would silently take a port away from a server of the host, or from another pod.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};

use ipnetwork::IpNetwork;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use pod::{PortMapping, Protocol};

use super::conflist::{Conflist, Plugin};
use super::error::NetworkError;
use super::reply::Joined;

/// The plugin that only writes rules. Others, like `skua-cni-pasta`, bind what they publish.
const BY_RULES: &str = "portmap";

/// Sockets that are bound to the published ports, and hear nothing: packets for the pod do not come as far.
#[derive(Debug, Default)]
pub(crate) struct Held {
    _sockets: Vec<OwnedFd>,
}

/// Whether `list` publishes by rules alone.
fn by_rules(list: &Conflist) -> bool {
    let by_rules = |plugin: &Plugin| {
        plugin.kind == BY_RULES
            && plugin
                .capabilities
                .iter()
                .any(|one| one == super::PORT_MAPPINGS)
    };
    list.plugins.iter().any(by_rules)
}

/// Fails when the pod has no address of a kind of which an address of the host is to be published: there is nothing that the
/// rules could lead to, so the plugin writes none.
pub(super) fn reach(
    list: &Conflist,
    ports: &[PortMapping],
    joined: &Joined,
) -> Result<(), NetworkError> {
    if !by_rules(list) {
        return Ok(());
    }
    for port in ports {
        let Some(ip) = port.host_ip else { continue };
        let of_kind = |address: &IpNetwork| address.is_ipv6() == ip.is_ipv6();
        if !joined.addresses.iter().any(of_kind) {
            let address = SocketAddr::new(ip, port.host_port);
            let kind = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
            return Err(NetworkError::NoAddress(address, list.name.clone(), kind));
        }
    }
    Ok(())
}

/// Takes the ports that `list` publishes by rules alone. The processes of the pod do not have the sockets.
pub(super) fn hold(list: &Conflist, ports: &[PortMapping]) -> Result<Held, NetworkError> {
    if !by_rules(list) {
        return Ok(Held::default());
    }
    let mut sockets = Vec::new();
    for port in ports {
        match port.host_ip {
            Some(ip) => sockets.push(taken(ip, port)?),
            None => {
                sockets.push(taken(Ipv4Addr::UNSPECIFIED.into(), port)?);
                sockets.extend(of_version_6(port)?);
            }
        }
    }
    Ok(Held { _sockets: sockets })
}

/// The same port of every address of version 6, on a host that has such addresses.
fn of_version_6(port: &PortMapping) -> Result<Option<OwnedFd>, NetworkError> {
    match take(Ipv6Addr::UNSPECIFIED.into(), port) {
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) => Ok(None),
        taken => named(taken, Ipv6Addr::UNSPECIFIED.into(), port).map(Some),
    }
}

fn taken(ip: IpAddr, port: &PortMapping) -> Result<OwnedFd, NetworkError> {
    named(take(ip, port), ip, port)
}

fn named(
    taken: Result<OwnedFd, Errno>,
    ip: IpAddr,
    port: &PortMapping,
) -> Result<OwnedFd, NetworkError> {
    let address = SocketAddr::new(ip, port.host_port);
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    taken.map_err(|e| NetworkError::Port(address, protocol, io::Error::from(e)))
}

/// Binds one port. A socket of TCP does not listen, so that who connects to what the rules do not catch is refused, and not kept
/// waiting. Connections that ended a moment ago forbid that, but not to listen: then it does.
fn take(ip: IpAddr, port: &PortMapping) -> Result<OwnedFd, Errno> {
    let address = SocketAddr::new(ip, port.host_port);
    match (bound(&address, port.protocol), port.protocol) {
        (Err(Errno::EADDRINUSE), Protocol::Tcp) => TcpListener::bind(address)
            .map(OwnedFd::from)
            .map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EADDRINUSE))),
        (result, _) => result,
    }
}

fn bound(address: &SocketAddr, protocol: Protocol) -> Result<OwnedFd, Errno> {
    let kind = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    };
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(*address))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    fn mapping(host_port: u16, protocol: Protocol) -> PortMapping {
        PortMapping {
            host_ip: Some(Ipv4Addr::LOCALHOST.into()),
            host_port,
            pod_port: 80,
            protocol,
        }
    }

    #[test]
    fn a_port_is_held_by_one_and_nobody_who_connects_is_kept_waiting() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        let port = mapping(address.port(), Protocol::Tcp);
        assert_eq!(take(address.ip(), &port).err(), Some(Errno::EADDRINUSE));
        drop(free);
        let held = take(address.ip(), &port).unwrap();
        assert_eq!(take(address.ip(), &port).err(), Some(Errno::EADDRINUSE));
        assert!(TcpListener::bind(address).is_err());
        assert!(std::net::TcpStream::connect(address).is_err());
        drop(held);
        take(address.ip(), &port).unwrap();
    }

    #[test]
    fn connections_that_have_ended_do_not_forbid_it() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        // The side that closes first waits: here it has the server's port.
        drop(server.accept().unwrap());
        drop(client);
        drop(server);
        let port = mapping(address.port(), Protocol::Tcp);
        let held = take(address.ip(), &port).unwrap();
        assert_eq!(take(address.ip(), &port).err(), Some(Errno::EADDRINUSE));
        drop(held);
    }

    #[test]
    fn ports_of_udp_are_held_too() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = mapping(server.local_addr().unwrap().port(), Protocol::Udp);
        let ip = Ipv4Addr::LOCALHOST.into();
        assert_eq!(take(ip, &port).err(), Some(Errno::EADDRINUSE));
        drop(server);
        take(ip, &port).unwrap();
    }
}
