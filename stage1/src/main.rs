//! skua-stage1: builds the sandbox of a pod, waits for its end, undoes. Called by stage0 with the pod's directory as cwd.

#![cfg_attr(not(test), no_main)]

mod alive;
mod buffer;
mod cgroup;
mod channel;
mod credentials;
mod device;
mod enter;
mod error;
mod explain;
mod file_system;
mod files;
mod finish;
mod gc;
mod given;
mod handover;
mod host;
mod idmap;
mod inroot;
mod inside;
mod labels;
mod netns;
mod network;
mod notify;
mod op;
mod opened;
mod outlet;
mod owner;
mod plan;
mod pty;
mod range;
mod remove;
mod report;
mod rootfs;
mod run;
mod seccomp;
mod signals;
mod skeleton;
mod stop;
mod streams;
mod sys;
mod sysctl;
mod terminal;
mod trees;
mod wait;

use std::ffi::OsString;

use error::Error;

/// The whole program; called by [`sys::entry`]. Returns its exit status.
fn stage1() -> u8 {
    dispatch().unwrap_or_else(|error| {
        report::print(&error);
        finish::FAILED
    })
}

fn dispatch() -> Result<u8, Error> {
    let arguments = std::env::args_os().skip(1).map(OsString::into_string);
    let arguments: Result<Vec<_>, _> = arguments.collect();
    let arguments = arguments.map_err(|_| Error::Usage)?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run"] => run::run(),
        ["stop"] => stop::stop(stop::How::Orderly),
        ["stop", "--force"] => stop::stop(stop::How::Forced),
        ["enter", ref order @ ..] => enter::enter(&enter::Enter::parse(order)?),
        ["explain", ref options @ ..] => explain::explain(options),
        ["kill", signal] => stop::kill(signal),
        ["gc"] => gc::gc(gc::Networks::Left),
        ["gc", "--abandon-networks"] => gc::gc(gc::Networks::Abandoned),
        _ => Err(Error::Usage),
    }
}
