//! Errors that are large are kept apart.

use super::Error;

impl From<images::fetch::FetchError> for Error {
    fn from(error: images::fetch::FetchError) -> Self {
        Self::Fetch(Box::new(error))
    }
}

impl From<crate::worker::WorkerError> for Error {
    fn from(error: crate::worker::WorkerError) -> Self {
        Self::Worker(Box::new(error))
    }
}
