//! `skua image cat-manifest`: the bytes that were signed.

use std::process::ExitCode;

use images::reference::ImageName;

use crate::context::Context;
use crate::error::Error;
use crate::output;

pub(super) fn run(image: &str, context: &Context) -> Result<ExitCode, Error> {
    let store = context.store()?;
    let name = ImageName::parse(image)?;
    match store.image(&name)? {
        Some(image) => output::print_bytes(&image.manifest)?,
        None => return Err(Error::NotInStore(name.to_string())),
    }
    Ok(ExitCode::SUCCESS)
}
