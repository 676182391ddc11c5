//! A network namespace in place of one that ended with its pod: with an interface of the same name and addresses.
//!
//! The reference plugins `bridge` and `ptp` read the addresses whose masquerading rules they remove from the interface
//! itself. Without a namespace their DEL reports success and leaves the rules. So after a crash they get one to look at.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use ipnetwork::IpNetwork;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};
use nix::unistd::geteuid;
use pod::NetworkFile;

use super::error::NetworkError;
use super::masquerade;

/// The network namespace of this thread.
const OUR_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// The namespace; it ends when this is dropped.
pub(super) struct StandIn {
    path: String,
    _namespace: File,
}

impl StandIn {
    /// The namespace for DEL of this network, if that is of use: the network gave addresses, or nobody knows, and we are
    /// root, as the plugins that have rules to remove need to be.
    pub(super) fn for_network(record: &NetworkFile) -> Result<Option<Self>, NetworkError> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let addresses = match record.result {
            Some(_) => record
                .addresses
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            None => addresses_without_result(record)?,
        };
        if addresses.is_empty() {
            return Ok(None);
        }
        let failed = |what| move |e: io::Error| NetworkError::StandIn(what, e);
        let host = File::open(OUR_NAMESPACE).map_err(failed("open ours"))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(|e| failed("unshare")(e.into()))?;
        let made = File::open(OUR_NAMESPACE)
            .and_then(|namespace| furnish(&record.interface, &addresses).map(|()| namespace));
        setns(host.as_fd(), CloneFlags::CLONE_NEWNET)
            .map_err(|e| failed("return to ours")(e.into()))?;
        let namespace = made.map_err(failed("make its interface"))?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        Ok(Some(Self {
            path,
            _namespace: namespace,
        }))
    }

    /// `CNI_NETNS`.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// Of a pod whose keeper was killed during ADD. If no rule has its address yet, any address will do: what is left then are
/// at most the chains that such rules would jump to.
fn addresses_without_result(record: &NetworkFile) -> Result<Vec<IpNetwork>, NetworkError> {
    let mut addresses = masquerade::addresses(record.container_id.as_str())?;
    if addresses.is_empty() {
        addresses.extend("192.0.2.1/32".parse::<IpNetwork>());
    }
    Ok(addresses)
}

/// Makes the interface in the namespace that we are in.
fn furnish(interface: &str, addresses: &[IpNetwork]) -> io::Result<()> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    request(&netlink, &new_link(interface))?;
    let index = if_nametoindex(interface)?;
    addresses
        .iter()
        .try_for_each(|address| request(&netlink, &new_address(index, *address)))
}

/// `rtnetlink(7)`: one half of a pair of virtual Ethernet interfaces, the other is named by the kernel.
fn new_link(name: &str) -> Vec<u8> {
    let interface_message = [0; 16];
    let kind = attribute(libc::IFLA_INFO_KIND, b"veth");
    let mut name = name.as_bytes().to_vec();
    name.push(0);
    let mut body = interface_message.to_vec();
    body.extend(attribute(libc::IFLA_IFNAME, &name));
    body.extend(attribute(libc::IFLA_LINKINFO, &kind));
    message(libc::RTM_NEWLINK, &body)
}

/// An address for the interface.
fn new_address(index: u32, address: IpNetwork) -> Vec<u8> {
    let (family, octets) = match address {
        IpNetwork::V4(v4) => (libc::AF_INET, v4.ip().octets().to_vec()),
        IpNetwork::V6(v6) => (libc::AF_INET6, v6.ip().octets().to_vec()),
    };
    let family = u8::try_from(family).unwrap_or_default();
    let (flags, scope) = (0, 0);
    let mut body = vec![family, address.prefix(), flags, scope];
    body.extend(index.to_ne_bytes());
    body.extend(attribute(libc::IFA_LOCAL, &octets));
    body.extend(attribute(libc::IFA_ADDRESS, &octets));
    message(libc::RTM_NEWADDR, &body)
}

/// `netlink(7)`: a request that makes something new and is answered.
fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let length = HEADER + body.len();
    let mut message = Vec::with_capacity(length);
    message.extend(u32::try_from(length).unwrap_or_default().to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(u16::try_from(flags).unwrap_or_default().to_ne_bytes());
    let (sequence, sender) = ([0; 4], [0; 4]);
    message.extend(sequence);
    message.extend(sender);
    message.extend(body);
    message
}

/// Bytes of a netlink header.
const HEADER: usize = 16;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or_default();
    let mut attribute = length.to_ne_bytes().to_vec();
    attribute.extend(kind.to_ne_bytes());
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// Sends one request; the answer is an error number, negative, or 0.
fn request(netlink: &OwnedFd, message: &[u8]) -> io::Result<()> {
    send(netlink.as_raw_fd(), message, MsgFlags::empty())?;
    let mut answer = [0; 1024];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let code = answer[..length]
        .get(HEADER..HEADER + 4)
        .and_then(|code| code.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}
