//! What each step is confined to, and what it then does.

use std::io;
use std::os::fd::AsFd;

use images::fetch::layout_worker::{self, Input};
use images::fetch::unpack_worker;
use images::fetch::workers::Step;
use images::pack;
use images::wire::Channel;

use crate::error::Error;
use crate::{confine, empty, isolate};

/// Takes a step: confined first, and only then told of anything foreign. It reads neither a file nor a variable of the user.
pub(crate) fn take(step: Step) -> Result<(), Error> {
    confine::close_inherited()?;
    let socket = io::stdin().as_fd().try_clone_to_owned();
    let channel = Channel::from(socket.map_err(Error::Socket)?);
    match step {
        Step::Net => {
            confine::network()?;
            images::registry::serve(&channel)?;
        }
        Step::Layout => {
            let input = Input::receive(&channel)?;
            confine::layout(input.directory(), input.has_scratch())?;
            layout_worker::serve(&channel, input)?;
        }
        Step::Unpack => {
            let root = isolate::enter(&channel)?;
            confine::unpack(root.as_fd())?;
            unpack_worker::serve(&channel, root.as_fd())?;
        }
        Step::Pack => {
            isolate::enter(&channel)?;
            let input = pack::Input::receive(&channel)?;
            confine::pack(input.directories())?;
            pack::serve(&channel, input)?;
        }
        Step::Extract => {
            let root = isolate::enter(&channel)?;
            confine::unpack(root.as_fd())?;
            pack::serve_extract(&channel, root.as_fd())?;
        }
        Step::Empty => {
            let root = isolate::enter(&channel)?;
            confine::unpack(root.as_fd())?;
            empty::serve(&channel)?;
        }
    }
    Ok(())
}
