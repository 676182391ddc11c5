//! The answer to ADD.

use cni_plugin::reply::{Dns, Interface, Ip, Route, SuccessReply};
use ipnetwork::{IpNetwork, Ipv4Network};

use crate::inputs::Inputs;
use crate::pasta;

/// What the pod got.
pub(crate) fn of(inputs: Inputs) -> SuccessReply {
    let network = Ipv4Network::new(pasta::ADDRESS, pasta::PREFIX).map(IpNetwork::V4);
    let everywhere = Ipv4Network::new([0, 0, 0, 0].into(), 0).map(IpNetwork::V4);
    let gateway = Some(pasta::GATEWAY.into());
    let interface = Interface {
        name: inputs.interface,
        mac: None,
        sandbox: inputs.netns.unwrap_or_default().into(),
    };
    SuccessReply {
        cni_version: inputs.version,
        interfaces: vec![interface],
        ips: network
            .map(|address| Ip {
                address,
                gateway,
                interface: Some(0),
            })
            .into_iter()
            .collect(),
        routes: everywhere
            .map(|dst| Route { dst, gw: gateway })
            .into_iter()
            .collect(),
        dns: Dns {
            nameservers: vec![pasta::DNS.into()],
            ..Dns::default()
        },
        specific: Default::default(),
    }
}
