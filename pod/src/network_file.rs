//! `net/<name>.json`: one network of a pod. Written before its first plugin runs, again with each plugin's result, and
//! removed when DEL has succeeded: whoever finds it knows all that DEL needs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{NetworkName, PodId};

/// One network that a pod has joined, or was joining when its keeper died.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkFile {
    /// [`crate::CONTRACT_VERSION`] of the writer.
    pub version: u32,
    /// The network's name.
    pub name: NetworkName,
    /// `CNI_CONTAINERID`.
    pub container_id: PodId,
    /// `CNI_IFNAME`: `eth0` for the first network, then `eth1`, …
    pub interface: String,
    /// `CNI_PATH`: directories in which plugins are searched.
    pub plugin_path: Vec<String>,
    /// `CNI_ARGS`.
    pub arguments: String,
    /// The version of the CNI specification that is spoken with the plugins.
    pub cni_version: String,
    /// The conflist as it was when the pod joined.
    pub conflist: Value,
    /// Values for the capabilities of plugins, by capability: `portMappings`, `ips`, `mac`, …
    pub capabilities: Map<String, Value>,
    /// The pod's addresses in this network with their prefix lengths, taken from `result`.
    pub addresses: Vec<String>,
    /// What the last plugin of the chain that succeeded has answered to ADD.
    pub result: Option<Value>,
}
