//! What is said on the side: warnings as notes, and with `--debug` what is done.

use std::io::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use crate::context::Context;
use crate::output::escaped;

/// Writes to standard error.
struct Logger;

/// Says as much as the global flags ask for.
pub(crate) fn start(context: &Context) {
    let level = match (context.quiet, context.debug) {
        (true, _) => LevelFilter::Off,
        (false, true) => LevelFilter::Debug,
        (false, false) => LevelFilter::Warn,
    };
    // There is one call of this, so it cannot fail.
    let _ = log::set_logger(&Logger);
    log::set_max_level(level);
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let kind = if record.level() <= log::Level::Warn {
                "note"
            } else {
                "debug"
            };
            let text = record.args().to_string();
            let _ = writeln!(io::stderr().lock(), "skua: {kind}: {}", escaped(&text));
        }
    }

    fn flush(&self) {}
}
