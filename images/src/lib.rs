//! OCI images: bytes from outside. References, registries, trust, the store, unpacking. Knows nothing of pods.
#![forbid(unsafe_code)]

pub mod certificates;
pub mod credentials;
pub mod digest;
pub mod escape;
pub mod evidence;
pub mod export;
pub mod fetch;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod gc;
pub mod layout;
pub mod pack;
pub mod reference;
pub mod registries;
// The client and all that it needs is not built where only parsers are fuzzed.
#[cfg(fuzzing)]
#[path = "registry/challenge.rs"]
#[allow(unreachable_pub, reason = "public only where the client is")]
mod challenge;
#[cfg(not(fuzzing))]
pub mod registry;
pub mod small_file;
pub mod store;
pub mod strict_json;
pub mod trust;
pub mod unpack;
pub mod wire;
