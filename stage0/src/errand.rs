//! Doing the same to several pods: all are tried, every failure is told, the first one is the result.

use std::process::ExitCode;

use pod::Pod;

use crate::context::Context;
use crate::error::Error;
use crate::find::Found;

/// Does `act` to each pod.
pub(crate) fn each(
    context: &Context,
    pods: &[Pod],
    mut act: impl FnMut(&Pod) -> Result<(), Error>,
) -> Result<ExitCode, Error> {
    let mut first: Option<Error> = None;
    for pod in pods {
        match (act(pod), &first) {
            (Ok(()), _) => {}
            (Err(error), None) => first = Some(error),
            (Err(error), Some(_)) => {
                error.report(context.error_format);
            }
        }
    }
    first.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// As [`each`], of what was found: that others are not there is told too, and keeps nobody.
pub(crate) fn each_found(
    context: &Context,
    found: Found,
    act: impl FnMut(&Pod) -> Result<(), Error>,
) -> Result<ExitCode, Error> {
    let acted = each(context, &found.pods, act);
    failed(context, found.failures.into_iter().chain(acted.err()))
}

/// Tells of every failure; the first one is the result.
pub(crate) fn failed(
    context: &Context,
    failures: impl IntoIterator<Item = Error>,
) -> Result<ExitCode, Error> {
    let mut failures = failures.into_iter();
    let first = failures.next();
    for error in failures {
        error.report(context.error_format);
    }
    first.map_or(Ok(ExitCode::SUCCESS), Err)
}
