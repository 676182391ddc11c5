//! `skua image verify`: whether images still are what was fetched.

use std::process::ExitCode;

use images::reference::ImageName;

use crate::context::Context;
use crate::error::Error;
use crate::output;

/// The documents are hashed again by reading the image; the layers are compared with the record of their unpacking.
pub(super) fn run(images: &[String], context: &Context) -> Result<ExitCode, Error> {
    let store = context.store()?;
    for image in images {
        let name = ImageName::parse(image)?;
        let Some(image) = store.image(&name)? else {
            return Err(Error::NotInStore(name.to_string()));
        };
        for layer in &image.layers {
            if let Some(path) = store.changed_in_tree(&layer.diff_id)? {
                return Err(Error::LayerChanged {
                    image: name.to_string(),
                    path,
                });
            }
        }
        if !context.quiet {
            output::print(&format!(
                "{name}: {} layers unchanged\n",
                image.layers.len()
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
