//! `skua image cat-manifest`: the bytes that were signed.

use std::process::ExitCode;

use images::reference::ImageName;
use images::store::Store;

use crate::context::Context;
use crate::error::Error;
use crate::output;

pub(super) fn run(image: &str, context: &Context) -> Result<ExitCode, Error> {
    let store = Store::open(&context.data.store())?;
    let name = ImageName::parse(image)?;
    match store.image(&name)? {
        Some(image) => output::print_bytes(&image.manifest)?,
        None => return Err(Error::NotInStore(name.to_string())),
    }
    Ok(ExitCode::SUCCESS)
}
