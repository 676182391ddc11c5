//! `skua image rm`: removes names, and what nothing needs then.

use std::process::ExitCode;

use images::gc::{Downloads, Mode};
use images::reference::ImageName;

use crate::context::Context;
use crate::error::Error;
use crate::in_use;
use crate::typed::Seconds;

pub(super) fn run(images: &[String], context: &Context) -> Result<ExitCode, Error> {
    let store = context.store()?;
    let names = images.iter().map(|image| ImageName::parse(image));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    // A pod that cannot be read must not cost the name of an image whose layers could not be removed then.
    in_use::by_pods(&context.data)?;
    // All or none: a name that was mistyped costs no other image.
    for name in &names {
        if store.ref_record(name).is_ok_and(|record| record.is_none()) {
            return Err(Error::NothingToRemove(name.to_string()));
        }
    }
    for name in &names {
        store.remove_ref(name)?;
    }
    let removed = super::gc::collect(&store, Seconds(0), Downloads::Young, Mode::Remove, context)?;
    super::gc::kept(removed, context)
}
