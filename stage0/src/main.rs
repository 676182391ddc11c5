//! skua, stage0: the command line; fetches, verifies, prepares and hands over to stage1.

#![forbid(unsafe_code)]

mod age;
mod cli;
mod commands;
mod context;
mod errand;
mod error;
mod find;
mod given;
mod handover;
mod heal;
mod id_map;
mod in_use;
mod libexec;
mod lock;
mod logger;
mod manifest;
mod network;
mod notify;
mod output;
mod parent;
mod prepare;
mod progress;
mod record;
mod remove;
mod report;
mod run_line;
mod settings;
mod size;
mod trusted;
mod typed;
mod uuid_file;
mod watchdog;
mod worker;

use std::process::ExitCode;

use nix::sys::stat::{Mode, umask};

use error::ErrorFormat;

fn main() -> ExitCode {
    signals::remember_children();
    // The caller's may be odd; no file of ours depends on it.
    umask(Mode::from_bits_truncate(0o022));
    let (global, command) = match cli::parse() {
        Ok(parsed) => parsed,
        Err(error) => return error.report(ErrorFormat::of_arguments()),
    };
    let format = global.error_format;
    let done = context::Context::new(global).and_then(|context| {
        logger::start(&context);
        if !command.makes_config() {
            context.check_config()?;
        }
        context.check_exceptions()?;
        if command.uses_data() {
            context.check_data()?;
        }
        command.run(&context)
    });
    done.unwrap_or_else(|error| error.report(format))
}
