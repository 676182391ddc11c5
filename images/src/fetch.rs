//! The coordinator of a fetch: a name becomes an image complete in the store, or nothing.

pub mod protocol;
