//! `skua doctor`: checks what the host offers. What can be tried is tried, in this process, which does nothing else.

mod host;
mod trial;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::error::Error;
use crate::output;
use crate::output::Format;
use crate::settings::Settings;

/// Version of the JSON form.
const VERSION: u32 = 1;

// What `doctor` takes.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Runs the command. Exit status 1 when something is missing that every pod needs.
pub(crate) fn run(args: DoctorArgs, context: &Context) -> Result<ExitCode, Error> {
    let settings = Settings::load(&context.config_directories)?;
    let mut checks = vec![
        host::worker(),
        host::stage(context, "skua-stage1"),
        host::stage(context, "skua-stage2"),
        host::ids(),
        host::seccomp(),
        host::cgroup(),
    ];
    checks.push(if nix::unistd::geteuid().is_root() {
        host::plugins(&settings.cni_path.value)
    } else {
        host::pasta(context)
    });
    // From here on we are in namespaces of our own, and in the end behind Landlock.
    checks.extend(trial::namespaces_and_overlay(&context.data));
    checks.push(trial::landlock());
    match args.format {
        Format::Json => output::print_json(&Report {
            version: VERSION,
            checks: &checks,
        })?,
        Format::Table => output::print(&lines(&checks))?,
    }
    let broken = checks.iter().any(|check| check.verdict == Verdict::Missing);
    Ok(ExitCode::from(u8::from(broken)))
}

/// What `--format=json` prints.
#[derive(Serialize)]
struct Report<'a> {
    version: u32,
    checks: &'a [Check],
}

/// What one look at the host found.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    found: String,
    remedy: Option<String>,
}

/// How good that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    /// As it should be.
    Ok,
    /// Pods run, but not all that skua can do works.
    Limited,
    /// No pod runs.
    Missing,
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Ok,
            found: found.into(),
            remedy: None,
        }
    }

    fn limited(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Limited,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }

    fn missing(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Missing,
            found: found.into(),
            remedy: Some(remedy.into()),
        }
    }
}

fn lines(checks: &[Check]) -> String {
    let mut text = String::new();
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Limited => "limited",
            Verdict::Missing => "missing",
        };
        let found = output::escaped(&check.found);
        text.push_str(&format!("{verdict:8} {:16} {found}\n", check.name));
        if let Some(remedy) = &check.remedy {
            text.push_str(&format!("{:25} hint: {}\n", "", output::escaped(remedy)));
        }
    }
    text
}
