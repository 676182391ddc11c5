//! Finding the pods that a command line means: by the beginning of a UUID, by name, or by a file with a UUID.

use std::path::PathBuf;

use clap::Args;
use pod::PodName;

/// One pod.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(crate) struct OnePod {
    /// UUID of the pod, or the beginning of it
    #[arg(value_name = "UUID")]
    pub(crate) uuid: Option<String>,
    /// The pod of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<PodName>,
    /// The pod whose UUID is in FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) uuid_file: Option<PathBuf>,
}

/// One or more pods.
#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = true)]
pub(crate) struct SomePods {
    /// UUIDs of pods, or their beginnings
    #[arg(value_name = "UUID")]
    pub(crate) uuids: Vec<String>,
    /// A pod of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Vec<PodName>,
    /// A pod whose UUID is in FILE
    #[arg(long, value_name = "FILE")]
    pub(crate) uuid_file: Vec<PathBuf>,
}
