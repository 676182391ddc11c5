//! Removes everything below the root of this process.

use std::fs;
use std::io;

use images::store::remove_tree;
use images::wire::{Channel, error_line};

use crate::error::Error;

/// Removes it, and says whether it could.
pub(crate) fn serve(channel: &Channel) -> Result<(), Error> {
    let outcome = clear().map_err(|error| error_line(&error));
    Ok(channel.send(&outcome, &[])?)
}

fn clear() -> io::Result<()> {
    for entry in fs::read_dir("/")? {
        remove_tree(&entry?.path())?;
    }
    Ok(())
}
