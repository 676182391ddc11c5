//! What a plugin is told: `CNI_*` variables and the configuration on standard input. Read here and not by
//! `cni_plugin::Cni`, whose port mappings have no `hostIP`: publishing on one address would become publishing on all.

use std::env;
use std::io::Read;
use std::net::IpAddr;

use cni_plugin::Command;
use cni_plugin::config::{NetworkConfig, PortMapping, PortProtocol};
use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

/// The most bytes of a configuration.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// What is asked.
pub(crate) enum Asked {
    /// Which versions are spoken; the caller speaks this one.
    Version(Version),
    Add(Inputs),
    Check(Inputs),
    Del(Inputs),
}

/// Which pod, which network.
pub(crate) struct Inputs {
    pub(crate) version: Version,
    pub(crate) container: String,
    pub(crate) interface: String,
    /// Absent at DEL of a pod that is gone.
    pub(crate) netns: Option<String>,
    pub(crate) ports: Vec<Port>,
}

/// A published port.
pub(crate) struct Port {
    pub(crate) address: Option<IpAddr>,
    pub(crate) host: u16,
    pub(crate) pod: u16,
    pub(crate) protocol: PortProtocol,
}

/// The versions of the specification that are spoken.
pub(crate) fn supported() -> Vec<Version> {
    vec![Version::new(0, 4, 0), Version::new(1, 0, 0)]
}

impl Asked {
    /// Reads and checks everything.
    pub(crate) fn read() -> Result<Self, Error> {
        let command = env::var("CNI_COMMAND")
            .ok()
            .and_then(|command| command.parse().ok());
        let command: Command = command.ok_or(Error::Environment("CNI_COMMAND"))?;
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock().take(MAX_CONFIGURATION);
        input.read_to_end(&mut bytes).map_err(Error::Read)?;
        let document: Value = serde_json::from_slice(&bytes).map_err(Error::Parse)?;
        Ok(match command {
            Command::Version => Self::Version(version(&document)),
            Command::Add => Self::Add(Inputs::new(&document)?),
            Command::Check => Self::Check(Inputs::new(&document)?),
            Command::Del => Self::Del(Inputs::new(&document)?),
        })
    }

    /// The version to answer in.
    pub(crate) fn version(&self) -> Version {
        match self {
            Self::Version(version) => version.clone(),
            Self::Add(inputs) | Self::Check(inputs) | Self::Del(inputs) => inputs.version.clone(),
        }
    }
}

impl Inputs {
    fn new(document: &Value) -> Result<Self, Error> {
        let config = NetworkConfig::deserialize(document).map_err(Error::Parse)?;
        if !supported().contains(&config.cni_version) {
            return Err(Error::Incompatible(config.cni_version));
        }
        Ok(Self {
            version: config.cni_version.clone(),
            container: name("CNI_CONTAINERID")?,
            interface: name("CNI_IFNAME")?,
            netns: env::var("CNI_NETNS").ok().filter(|path| !path.is_empty()),
            ports: ports(&config, document),
        })
    }
}

/// The published ports: typed by the crate, their host addresses taken from the document.
fn ports(config: &NetworkConfig, document: &Value) -> Vec<Port> {
    let mappings = config
        .runtime
        .iter()
        .flat_map(|runtime| &runtime.port_mappings);
    let address = |at: usize| {
        let text = &document["runtimeConfig"]["portMappings"][at]["hostIP"];
        text.as_str().and_then(|text| text.parse().ok())
    };
    let port = |(at, mapping): (usize, &PortMapping)| Port {
        address: address(at),
        host: mapping.host_port,
        pod: mapping.container_port,
        protocol: mapping.protocol.clone().unwrap_or(PortProtocol::Tcp),
    };
    mappings.enumerate().map(port).collect()
}

fn version(document: &Value) -> Version {
    let named = document["cniVersion"]
        .as_str()
        .and_then(|version| version.parse().ok());
    named.unwrap_or(Version::new(1, 0, 0))
}

/// A variable that becomes part of a file name.
fn name(variable: &'static str) -> Result<String, Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    env::var(variable)
        .ok()
        .filter(|name| (1..=128).contains(&name.len()) && name.bytes().all(plain))
        .filter(|name| !name.starts_with('.'))
        .ok_or(Error::Environment(variable))
}
