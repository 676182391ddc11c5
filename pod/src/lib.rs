#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

#[cfg(feature = "policy")]
pub mod amount;
mod app_file;
mod capability;
mod error;
mod file;
mod handed;
mod idmap;
mod layout;
mod lifecycle;
mod limits;
mod manifest;
mod names;
mod network_file;
mod notify;
mod origin;
#[cfg(feature = "policy")]
pub mod policy;
#[cfg(feature = "remove")]
mod remove;
mod running;
mod sandbox;
#[cfg(feature = "remove")]
mod scratch;
mod service_manager;
#[cfg(feature = "policy")]
pub mod small_file;
mod status;
mod volume;

pub use app_file::{AppFile, CapabilitySets, LandlockRules, MountCheck, VolumeCheck};
pub use capability::Capability;
pub use error::Error;
pub use file::{MAX_FILE, load, load_from, save, sync, to_bytes};
pub use handed::{list_descriptors, parse_descriptors};
pub use idmap::{Extent, IdMap, IdMapChoice};
pub use layout::{
    CREDENTIALS_DIRECTORY, CREDENTIALS_PATH, CREDENTIALS_VARIABLE, DEBUG_VARIABLE, DataDir,
    ERROR_FORMAT_VARIABLE, FILTERED_HINT, LISTEN_VARIABLES, LOCK_FD_VARIABLE, MAX_CREDENTIAL,
    NOTIFY_VARIABLE, PodDir, SOCKETS_VARIABLE, SYSTEM_CALLS,
};
pub use lifecycle::{Locked, Pod, State};
pub use limits::{CpuQuota, IoMax, Limits, PidsLimit};
pub use manifest::{
    App, Credential, EnvironmentVariable, Image, InsecureOption, Layer, Network, NetworkRequest,
    PodManifest, PortMapping, Protocol, Rlimit, SeccompChoice, Trust,
};
pub use names::{
    AppName, CredentialName, NetworkName, PodId, PodName, SocketName, SysctlName, VolumeName,
};
pub use network_file::NetworkFile;
pub use notify::{APP_NOTIFY_SOCKET, AppNotify, Word};
pub use origin::{Origin, Origins};
#[cfg(feature = "remove")]
pub use remove::{remove_directory, remove_tree};
pub use running::{ProcessId, Running};
pub use sandbox::{Device, DeviceKind, ProcessAttributes, SecurityLabels, Sysctl};
#[cfg(feature = "remove")]
pub use scratch::{Scratch, remove_older_locks};
pub use service_manager::{ServiceManager, WATCHDOG_PID_VARIABLE, WATCHDOG_VARIABLE, watchdog};
pub use status::{
    AppIds, AppStatus, LimitsBy, LimitsRecord, NetworkUse, Outcome, PodResult, PodUsage, Usage,
};
pub use volume::{HostVolume, Mount, Volume, VolumeOwner, VolumeSource};

/// The version of the contract. A stage that reads a file of a newer version refuses it.
pub const CONTRACT_VERSION: u32 = 1;
