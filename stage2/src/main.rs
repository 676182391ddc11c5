//! skua-stage2: pid 1 of a pod; starts, confines, reaps and records the apps.

#![cfg_attr(not(test), no_main)]

mod app;
mod arguments;
mod capability;
mod confine;
mod credentials;
mod directory;
mod domain;
mod error;
mod exec;
mod ids;
mod limits;
mod listener;
mod message;
mod nest;
mod procfs;
mod reap;
mod report;
mod root;
mod run;
mod sockets;
mod status;
mod stdio;
mod stop;
mod sys;
mod teller;
mod user;
mod verify;
mod voices;
mod watch;

use arguments::Arguments;
use error::Error;

/// The exit status when skua itself failed.
const FAILED: u8 = 254;

/// The whole program; called by [`sys::entry`]. Returns its exit status.
fn stage2() -> u8 {
    life().unwrap_or_else(|error| {
        error::print(&error);
        FAILED
    })
}

fn life() -> Result<u8, Error> {
    match arguments::parse(std::env::args_os().skip(1))? {
        Arguments::Run(arguments) => run::run(arguments),
        Arguments::Enter(arguments) => match run::enter(arguments)? {},
    }
}
