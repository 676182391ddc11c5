//! `skua config`: prints the configuration in force.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use images::credentials;
use images::registries::{AUTH_FILES, Registries};
use serde::Serialize;

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
    value: String,
    /// A file, `command line`, `environment` or `built in`.
    origin: String,
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
    for conflist in network::in_force(&context.config("net.d"))? {
        let value = match &conflist.name {
            Ok(Some(name)) => name.to_string(),
            // What only masks is no network.
            Ok(None) => continue,
            Err(why) => format!("(unusable: {why})"),
        };
        entries.push(entry("network", value, &conflist.path));
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
            let row = |e: &Entry| vec![e.key.clone(), e.value.clone(), e.origin.clone()];
            let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
            output::print(&output::table(&["KEY", "VALUE", "ORIGIN"], &rows))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn entry(key: &str, value: impl ToString, origin: &Path) -> Entry {
    Entry {
        key: key.to_owned(),
        value: value.to_string(),
        origin: origin.display().to_string(),
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
    let path = |path: &Path| format!("{}{}", path.display(), absent(path.exists()));
    for file in credentials::files(|name| env::var_os(name)) {
        entries.push(entry("credentials", path(&file), environment));
    }
    for directory in context.certificates() {
        let origin = context.config_origin(&directory);
        entries.push(entry("certificates", path(&directory), origin));
    }
    Ok(entries)
}

fn absent(exists: bool) -> &'static str {
    if exists { "" } else { " (absent)" }
}

fn directories(context: &Context) -> Result<Vec<Entry>, Error> {
    let mut entries = vec![entry(
        "data-dir",
        context.data.0.display(),
        context.data_origin,
    )];
    for directory in &context.config_directories {
        let there = absent(directory.is_dir());
        entries.push(entry(
            "config-dir",
            format!("{}{there}", directory.display()),
            context.config_origin(directory),
        ));
    }
    let worker = libexec::own(WORKER)?;
    entries.push(entry(WORKER, worker.display(), Path::new(BESIDE)));
    for stage in ["skua-stage1", "skua-stage2"] {
        let path = context.libexec.program(stage)?;
        entries.push(entry(stage, path.display(), context.libexec.origin()));
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
            settings.keep_blobs.value.to_string(),
        ),
        setting("cni-path", &settings.cni_path, paths.join(":")),
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
    setting(key, origin, format!("{}s", origin.value.0))
}

fn setting<T>(key: &str, origin: &Origin<T>, value: String) -> Entry {
    let from = origin
        .from
        .clone()
        .unwrap_or_else(|| PathBuf::from("built in"));
    entry(key, value, &from)
}
