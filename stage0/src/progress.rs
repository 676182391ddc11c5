//! How a fetch shows that it goes on: bars on a terminal, lines otherwise, nothing with `--quiet`. All on standard error.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use images::digest::Digest;
use images::fetch::{Event, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

const BAR: &str = "{prefix} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec}";

/// The form that fits standard error.
pub(crate) fn choose(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(Silent)
    } else if io::stderr().is_terminal() {
        Box::new(Bars::default())
    } else {
        Box::new(Lines::default())
    }
}

struct Silent;

impl Progress for Silent {
    fn on(&self, _: Event<'_>) {}
}

/// One line for what begins and for what ends. Failed writes are ignored: progress is not worth a failure.
#[derive(Default)]
struct Lines {
    sizes: Mutex<HashMap<Digest, u64>>,
}

impl Progress for Lines {
    fn on(&self, event: Event<'_>) {
        let mut sizes = self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        let line = match event {
            Event::Resolved(name, manifest, 0) => {
                format!("{name} is {manifest}; all layers are here")
            }
            Event::Resolved(name, manifest, 1) => format!("{name} is {manifest}; fetching 1 layer"),
            Event::Resolved(name, manifest, missing) => {
                format!("{name} is {manifest}; fetching {missing} layers")
            }
            Event::Waiting(digest) => waiting(digest),
            Event::Layer(digest, size) => {
                sizes.insert(*digest, size);
                return;
            }
            Event::Unpacked(digest) => {
                let size = sizes.get(digest).copied().unwrap_or_default();
                format!("layer {}: {size} bytes unpacked", short(digest))
            }
            Event::At(..) => return,
        };
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// One bar for each layer, gone when it is unpacked.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
}

/// What failed leaves no half bar behind.
impl Drop for Bars {
    fn drop(&mut self) {
        let _ = self.all.clear();
    }
}

impl Progress for Bars {
    fn on(&self, event: Event<'_>) {
        let mut bars = self.bars.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Resolved(name, manifest, _) => {
                let _ = self.all.println(format!("{name} is {manifest}"));
            }
            Event::Waiting(digest) => {
                let _ = self.all.println(waiting(digest));
            }
            Event::Layer(digest, size) => {
                let bar = self
                    .all
                    .add(ProgressBar::new(size).with_prefix(short(digest)));
                if let Ok(style) = ProgressStyle::with_template(BAR) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bars.insert(*digest, bar);
            }
            Event::At(digest, bytes) => {
                if let Some(bar) = bars.get(digest) {
                    bar.set_position(bytes);
                }
            }
            Event::Unpacked(digest) => {
                if let Some(bar) = bars.remove(digest) {
                    bar.finish_and_clear();
                }
            }
        }
    }
}

fn waiting(digest: &Digest) -> String {
    let layer = short(digest);
    format!("layer {layer}: waiting for another fetch that unpacks it")
}

/// Enough of a digest to tell layers apart.
fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}
