//! `skua config`: prints the configuration in force.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use images::credentials;
use images::registries::{AUTH_FILES, Registries};
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::error::Error;
use crate::libexec::BESIDE;
use crate::output::Format;
use crate::settings::{ImageLimits, Origin, Settings};
use crate::typed::Seconds;
use crate::worker::WORKER;
use crate::{libexec, network, output};

/// Version of the JSON form.
const VERSION: u32 = 1;

// What `config` takes.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// One value.
#[derive(Serialize)]
struct Entry {
    key: String,
    /// Times are seconds, sizes bytes; absent of what cannot be read.
    value: Value,
    /// Of a path: whether something is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// A file, `command line`, `environment` or `built in`.
    origin: String,
    /// The value for people.
    #[serde(skip)]
    shown: String,
}

/// What `--format=json` prints.
#[derive(Serialize)]
struct Config {
    version: u32,
    entries: Vec<Entry>,
}

/// Runs the command.
pub(crate) fn run(args: ConfigArgs, context: &Context) -> Result<ExitCode, Error> {
    let settings = Settings::load(&context.config_directories)?;
    let mut entries = directories(context)?;
    entries.extend(in_force(&settings));
    entries.extend(image_limits(&settings.image_limits));
    let conflists = network::in_force(&context.config("net.d"))?;
    let built_in = network::built_in(&conflists).map(String::from);
    entries.extend(built_in.map(|name| entry("network", name, Path::new("built in"))));
    for conflist in conflists {
        entries.push(match &conflist.name {
            Ok(Some(name)) => entry("network", name.to_string(), &conflist.path),
            // What only masks is no network.
            Ok(None) => continue,
            Err(why) => Entry {
                problem: Some(why.clone()),
                shown: format!("(unusable: {why})"),
                ..entry("network", Value::Null, &conflist.path)
            },
        });
    }
    entries.extend(registries(context)?);
    for bound in context.policy()?.shown() {
        let key = format!("policy.{}", bound.key);
        entries.push(entry(&key, bound.value, &bound.file));
    }
    match args.format {
        Format::Json => output::print_json(&Config {
            version: VERSION,
            entries,
        })?,
        Format::Table => {
            let row = |e: &Entry| vec![e.key.clone(), e.shown.clone(), e.origin.clone()];
            let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
            output::print(&output::table(&["KEY", "VALUE", "ORIGIN"], &rows))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn entry(key: &str, value: impl Into<Value>, origin: &Path) -> Entry {
    let value = value.into();
    Entry {
        key: key.to_owned(),
        shown: value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned),
        value,
        exists: None,
        problem: None,
        origin: origin.display().to_string(),
    }
}

/// A path at which nothing needs to be.
fn place(key: &str, path: &Path, exists: bool, origin: &Path) -> Entry {
    let shown = path.display().to_string();
    let absent = if exists { "" } else { " (absent)" };
    Entry {
        exists: Some(exists),
        shown: format!("{shown}{absent}"),
        ..entry(key, shown, origin)
    }
}

/// Where registries really are, and what belongs to them.
fn registries(context: &Context) -> Result<Vec<Entry>, Error> {
    let registries = Registries::load(&context.registries())?;
    let rules = registries.summary();
    let mut entries: Vec<Entry> = rules
        .map(|(rule, file)| entry("registry", rule, file))
        .collect();
    for helper in registries.helpers() {
        if helper != AUTH_FILES {
            let origin = registries.helpers_file().unwrap_or(Path::new("built in"));
            let program = format!("docker-credential-{helper}");
            entries.push(entry("credentials", program, origin));
        }
    }
    let environment = Path::new("environment");
    for file in credentials::files(|name| env::var_os(name)) {
        entries.push(place("credentials", &file, file.exists(), environment));
    }
    for directory in context.certificates() {
        let (exists, origin) = (directory.exists(), context.config_origin(&directory));
        entries.push(place("certificates", &directory, exists, origin));
    }
    Ok(entries)
}

fn directories(context: &Context) -> Result<Vec<Entry>, Error> {
    let mut entries = vec![entry(
        "data-dir",
        context.data.0.display().to_string(),
        context.data_origin,
    )];
    for directory in &context.config_directories {
        let (exists, origin) = (directory.is_dir(), context.config_origin(directory));
        entries.push(place("config-dir", directory, exists, origin));
    }
    let worker = libexec::own(WORKER)?;
    entries.push(entry(
        WORKER,
        worker.display().to_string(),
        Path::new(BESIDE),
    ));
    for stage in ["skua-stage1", "skua-stage2"] {
        let path = context.libexec.program(stage)?;
        entries.push(entry(
            stage,
            path.display().to_string(),
            context.libexec.origin(),
        ));
    }
    Ok(entries)
}

fn in_force(settings: &Settings) -> [Entry; 6] {
    let paths: Vec<String> = settings
        .cni_path
        .value
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    [
        setting("net", &settings.net, settings.net.value.to_string()),
        span("stop-timeout", &settings.stop_timeout),
        span("grace-period", &settings.grace_period),
        span("expire-prepared", &settings.expire_prepared),
        setting(
            "keep-blobs",
            &settings.keep_blobs,
            settings.keep_blobs.value,
        ),
        Entry {
            shown: paths.join(":"),
            ..setting("cni-path", &settings.cni_path, paths)
        },
    ]
}

fn image_limits(limits: &ImageLimits) -> Vec<Entry> {
    let built_in = Path::new("built in");
    let limits = limits.all().into_iter();
    limits
        .map(|(key, value, from)| {
            let key = format!("image-limits.{key}");
            entry(&key, value, from.unwrap_or(built_in))
        })
        .collect()
}

fn span(key: &str, origin: &Origin<Seconds>) -> Entry {
    let seconds = origin.value.0;
    Entry {
        shown: format!("{seconds}s"),
        ..setting(key, origin, seconds)
    }
}

fn setting<T>(key: &str, origin: &Origin<T>, value: impl Into<Value>) -> Entry {
    let from = origin
        .from
        .clone()
        .unwrap_or_else(|| PathBuf::from("built in"));
    entry(key, value, &from)
}
