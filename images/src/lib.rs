//! OCI images: bytes from outside. References, registries, trust, the store, unpacking. Knows nothing of pods.
#![forbid(unsafe_code)]

pub mod digest;
pub mod escape;
pub mod reference;
pub mod strict_json;
