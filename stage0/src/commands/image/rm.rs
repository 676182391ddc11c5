//! `skua image rm`: removes names, and what nothing needs then.

use std::process::ExitCode;

use images::gc::Mode;
use images::reference::ImageName;

use crate::context::Context;
use crate::error::Error;
use crate::in_use;

pub(super) fn run(images: &[String], context: &Context) -> Result<ExitCode, Error> {
    let store = context.store()?;
    let names = images.iter().map(|image| ImageName::parse(image));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    // A pod that cannot be read must not cost the name of an image whose layers could not be removed then.
    in_use::by_pods(&context.data)?;
    for name in &names {
        if !store.remove_ref(name)? {
            return Err(Error::NotInStore(name.to_string()));
        }
    }
    super::gc::collect(&store, Mode::Remove, context)?;
    Ok(ExitCode::SUCCESS)
}
