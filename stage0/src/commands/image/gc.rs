//! `skua image gc`: removes what no image and no pod uses.

use std::process::ExitCode;

use images::gc::{Downloads, Mode, Removed};
use images::store::Store;

use crate::age::Clock;
use crate::context::Context;
use crate::error::Error;
use crate::typed::Seconds;
use crate::{errand, in_use, output, size};

pub(super) fn run(
    grace_period: Option<Seconds>,
    dry_run: bool,
    context: &Context,
) -> Result<ExitCode, Error> {
    let store = context.store()?;
    let mode = if dry_run { Mode::DryRun } else { Mode::Remove };
    let downloads = match grace_period {
        Some(Seconds(0)) => Downloads::None,
        _ => Downloads::Young,
    };
    let seconds = grace_period.unwrap_or(Seconds(0));
    let removed = collect(&store, seconds, downloads, mode, context)?;
    if dry_run || !context.quiet {
        output::print(&text(&removed, mode))?;
    }
    kept(removed, context)
}

/// Fails for every name that keeps all objects, because its record cannot be read.
pub(super) fn kept(removed: Removed, context: &Context) -> Result<ExitCode, Error> {
    let unreadable = removed.unreadable.into_iter();
    errand::failed(
        context,
        unreadable.map(|error| Error::CollectImages(Box::new(error.into()))),
    )
}

/// Removes what no image and no pod uses.
pub(super) fn collect(
    store: &Store,
    grace_period: Seconds,
    downloads: Downloads,
    mode: Mode,
    context: &Context,
) -> Result<Removed, Error> {
    let in_use = || in_use::by_pods(&context.data);
    let mut grace = Clock::now()?.grace(grace_period.0.into());
    grace.downloads = downloads;
    images::gc::collect(store, in_use, &grace, mode).map_err(|e| Error::CollectImages(Box::new(e)))
}

fn text(removed: &Removed, mode: Mode) -> String {
    let verb = match mode {
        Mode::DryRun => "would remove",
        Mode::Remove => "removed",
    };
    let mut text = String::new();
    for tree in &removed.trees {
        text.push_str(&format!("{verb} layer {tree}\n"));
    }
    for blob in &removed.blobs {
        text.push_str(&format!("{verb} document {blob}\n"));
    }
    for path in &removed.leftovers {
        text.push_str(&format!(
            "{verb} {}\n",
            output::escaped(&path.to_string_lossy())
        ));
    }
    text.push_str(&format!(
        "{verb} {} layers ({})\n",
        removed.trees.len(),
        size::text(removed.bytes)
    ));
    if removed.waiting > 0 {
        text.push_str(&format!(
            "{} objects have not been unneeded for long enough\n",
            removed.waiting
        ));
    }
    text
}
