//! `skua enter`: starts a program in a running pod.

use std::process::ExitCode;

use clap::Args;
use pod::{AppName, PodManifest, State};

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;
use crate::handover::Stage1;
use crate::heal;
use crate::manifest::Terminal;

// What `enter` takes.
#[derive(Debug, Args)]
pub(crate) struct EnterArgs {
    #[command(flatten)]
    pub(crate) pod: OnePod,
    /// The app whose root and confinement the program gets [default: the only app]
    #[arg(long, value_name = "NAME")]
    pub(crate) app: Option<pod::AppName>,
    /// The program and its arguments [default: /bin/sh]. It has a terminal of the pod if our standard input and output are one
    #[arg(last = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: EnterArgs, context: &Context) -> Result<ExitCode, Error> {
    heal::pods(context)?;
    let pod = args.pod.find(&context.data)?;
    if pod.state != State::Run || !pod.is_locked()? {
        return Err(Error::NotRunning(pod.id, pod.state));
    }
    let manifest: PodManifest = pod::load(&pod.dir().manifest())?;
    let app = which_app(&manifest, args.app)?;
    let mut arguments = vec!["--app".to_owned(), app.to_string()];
    if Terminal::of_caller() == Terminal::ToTypeAndShow {
        arguments.push("--terminal".to_owned());
    }
    arguments.push("--".to_owned());
    if args.program.is_empty() {
        arguments.push("/bin/sh".to_owned());
    }
    arguments.extend(args.program);
    Err(Stage1::new(None, context)?.enter(&pod.dir(), &arguments))
}

/// The app typed, else the only one.
fn which_app(manifest: &PodManifest, typed: Option<AppName>) -> Result<AppName, Error> {
    let names = || {
        manifest
            .apps
            .iter()
            .map(|app| app.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match (typed, manifest.apps.as_slice()) {
        (Some(name), apps) if apps.iter().any(|app| app.name == name) => Ok(name),
        (Some(name), _) => {
            let hint = format!("its apps are: {}", names());
            Err(Error::usage(
                format!("the pod has no app '{name}'"),
                Some(&hint),
            ))
        }
        (None, [only]) => Ok(only.name.clone()),
        (None, _) => {
            let hint = format!("name one with --app: {}", names());
            Err(Error::usage("the pod has several apps", Some(&hint)))
        }
    }
}
