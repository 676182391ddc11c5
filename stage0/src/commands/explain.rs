//! `skua explain`: prints all that `run` would do with a command line, or what was decided for a pod. Nothing is started,
//! and nothing of a pod is left behind.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pod::{App, InsecureOption, PodManifest, Trust};
use serde::Serialize;
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Error;
use crate::find::OnePod;
use crate::handover::{Form, Stage1};
use crate::manifest::Terminal;
use crate::output::{self, escaped};
use crate::prepare;
use crate::run_line::{AppWords, PodFlags};

/// Version of the JSON form.
const VERSION: u32 = 1;

// What `explain` takes.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    #[arg(help_heading = None)]
    pub(crate) format: ExplainFormat,
    /// Explain the pod whose UUID is in FILE
    #[arg(long, value_name = "FILE", help_heading = None)]
    pub(crate) uuid_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) pod: PodFlags,
    /// UUID of a pod, its first eight characters or more, or its name; or images with their flags and arguments, as 'skua run' takes them
    #[arg(required_unless_present = "uuid_file", conflicts_with = "uuid_file")]
    #[arg(trailing_var_arg = true, value_name = "POD|IMAGE")]
    words: Vec<String>,
}

/// A value of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ExplainFormat {
    /// For people
    Text,
    /// For programs: one object with a version, stable
    Json,
}

/// What `--format=json` prints.
#[derive(Serialize)]
struct Explanation<'a> {
    version: u32,
    manifest: &'a PodManifest,
    policy: Vec<BoundReport>,
    plan: Value,
}

/// A bound that the pod is within.
#[derive(Serialize)]
struct BoundReport {
    key: &'static str,
    value: String,
    file: String,
}

/// Runs the command.
pub(crate) fn run(args: ExplainArgs, context: &Context) -> Result<ExitCode, Error> {
    let stage1 = Stage1::new(args.pod.stage1.as_deref(), context)?;
    let form = match args.format {
        ExplainFormat::Text => Form::Text,
        ExplainFormat::Json => Form::Json,
    };
    let (manifest, plan) = match existing(&args)? {
        Some(which) => {
            let dir = which.find(&context.data)?.dir();
            let manifest: PodManifest = pod::load(&dir.manifest())?;
            let plan = stage1.explain(&dir, form)?;
            (manifest, plan)
        }
        None => {
            let manifest = of_line(args, context)?;
            let plan = stage1.explain_draft(&manifest, form)?;
            (manifest, plan)
        }
    };
    let policy = bounds(context)?;
    match form {
        Form::Text => output::print(&(apps(&manifest) + &bound_lines(&policy) + &plan))?,
        Form::Json => output::print_json(&Explanation {
            version: VERSION,
            plan: serde_json::from_str(&plan).map_err(|e| Error::Output(e.into()))?,
            manifest: &manifest,
            policy,
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The pod that is meant, if it is one: a single word that cannot name an image.
fn existing(args: &ExplainArgs) -> Result<Option<OnePod>, Error> {
    let which = match (&args.uuid_file, args.words.as_slice()) {
        (Some(file), _) => OnePod::of_file(file.clone()),
        (None, [word]) if !word.contains(['/', ':']) => OnePod::of_word(word.clone()),
        (None, _) => return Ok(None),
    };
    match args.pod.are_default() {
        true => Ok(Some(which)),
        false => Err(Error::usage(
            "flags of a pod explain what 'run' would do, and there is no image",
            Some("name an image, or leave the flags away to explain a pod that exists"),
        )),
    }
}

fn of_line(args: ExplainArgs, context: &Context) -> Result<PodManifest, Error> {
    if args.pod.uuid_file_save.is_some() {
        let hint = "nothing is made, so there is no UUID to save";
        return Err(Error::usage("--uuid-file-save is for 'run'", Some(hint)));
    }
    let lines = AppWords::new(args.words).parse()?;
    let manifest = prepare::manifest(
        &args.pod,
        lines,
        Terminal::of_later(),
        &context.store()?,
        context,
    )?;
    if let Some(name) = &manifest.name {
        prepare::name_is_free(name, context)?;
    }
    Ok(manifest)
}

fn bounds(context: &Context) -> Result<Vec<BoundReport>, Error> {
    let shown = context.policy()?.shown().into_iter();
    let report = |bound: pod::policy::Shown| BoundReport {
        key: bound.key,
        value: bound.value,
        file: bound.file.display().to_string(),
    };
    Ok(shown.map(report).collect())
}

fn bound_lines(bounds: &[BoundReport]) -> String {
    let line = |bound: &BoundReport| {
        let BoundReport { key, value, file } = bound;
        format!("bound {key}: {} [{}]\n", escaped(value), escaped(file))
    };
    bounds.iter().map(line).collect()
}

/// Which images the apps come from, and why they may run.
fn apps(manifest: &PodManifest) -> String {
    let exceptions = &manifest.insecure_options;
    let first = match exceptions.is_empty() {
        true => format!("pod {}\n", manifest.id),
        false => {
            let word = |one: &InsecureOption| json!(one).as_str().unwrap_or_default().to_owned();
            let words: Vec<String> = exceptions.iter().map(word).collect();
            let words = words.join(",");
            format!("pod {} (--insecure-options={words})\n", manifest.id)
        }
    };
    let app = |app: &App| {
        let image = &app.image;
        let reference = escaped(&image.reference).into_owned();
        let trust = trust(&image.trust);
        format!(
            "app {}: {reference} is {}\n  {trust}\n",
            app.name, image.manifest
        )
    };
    first + &manifest.apps.iter().map(app).collect::<String>()
}

fn trust(trust: &Trust) -> String {
    let text = match trust {
        Trust::Signed {
            prefix,
            keys,
            policy,
        } => format!(
            "trusted: signed by {} as '{prefix}' asks [{policy}]",
            keys.join(", ")
        ),
        Trust::DigestPinned { prefix, policy } => {
            format!("trusted: '{prefix}' asks for a digest, which was given [{policy}]")
        }
        Trust::InsecureAcceptAnything { prefix, policy } => {
            format!("not verified: '{prefix}' accepts anything [{policy}]")
        }
        Trust::InsecureOption => "not verified: --insecure-options=image [command line]".to_owned(),
    };
    escaped(&text).into_owned()
}
