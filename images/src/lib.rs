//! OCI images: bytes from outside.
