//! OCI images: bytes from outside.

pub mod strict_json;
