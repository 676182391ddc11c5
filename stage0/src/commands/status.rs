//! `skua status`: shows one pod.

use std::io;
use std::mem::MaybeUninit;
use std::process::ExitCode;

use clap::Args;
use pod::{Pod, State};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;
use crate::output::Format;
use crate::report::Report;
use crate::{heal, output};

// What `status` takes.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
    /// Wait until the pod has ended; one that is prepared must have been run before
    #[arg(long)]
    pub(crate) wait: bool,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: StatusArgs, context: &Context) -> Result<ExitCode, Error> {
    heal::pods(context)?;
    let mut pod = args.pod.find(&context.data)?;
    if args.wait {
        pod = wait(pod, context)?;
    }
    let report = Report::of(&pod);
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Table => output::print(&report.lines())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for the end of a pod, without polling: its lock is free then. Where its keeper was killed, what it left is
/// healed first. Nobody holds the lock of one that is prepared; its directory moves when it is run or given up.
fn wait(mut pod: Pod, context: &Context) -> Result<Pod, Error> {
    while pod.state <= State::Run {
        let before = pod.state;
        match before {
            State::Prepared => moved(&pod).map_err(|e| Error::Watch(pod.id.clone(), e))?,
            _ => pod.wait()?,
        }
        heal::pods(context)?;
        let id = pod.id.clone();
        pod = Pod::find(&context.data, &id)
            // Of one that was never run nothing is to be told.
            .filter(|pod| (before, pod.state) != (State::Prepared, State::Garbage))
            .ok_or(Error::RemovedMeanwhile(id))?;
        if pod.state == before && before != State::Prepared && !pod.is_locked()? {
            break;
        }
    }
    Ok(pod)
}

/// Blocks until the directory of a pod is renamed or removed.
fn moved(pod: &Pod) -> io::Result<()> {
    let events = inotify::init(CreateFlags::CLOEXEC)?;
    let what = WatchFlags::MOVE_SELF | WatchFlags::DELETE_SELF | WatchFlags::ONLYDIR;
    match inotify::add_watch(&events, pod.path(), what) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    // Had it moved before, nothing would be at its path.
    inotify::Reader::new(&events, &mut [MaybeUninit::uninit(); 512]).next()?;
    Ok(())
}
