//! `skua list`: shows the pods.

use std::process::ExitCode;

use clap::Args;
use pod::Pod;
use serde::Serialize;

use crate::context::Context;
use crate::error::Error;
use crate::output::Format;
use crate::report::{LIST_VERSION, Report};
use crate::{heal, output};

// What `list` takes.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// How it is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "table")]
    pub(crate) format: Format,
}

/// Runs the command.
pub(crate) fn run(args: ListArgs, context: &Context) -> Result<ExitCode, Error> {
    heal::pods(context)?;
    let pods = Pod::list(&context.data)?;
    let mut reports: Vec<Report> = pods.iter().map(Report::of).collect();
    reports.sort_by(|a, b| (&a.created, &a.uuid).cmp(&(&b.created, &b.uuid)));
    match args.format {
        Format::Json => output::print_json(&List {
            version: LIST_VERSION,
            pods: reports,
        })?,
        Format::Table => {
            let header = ["UUID", "NAME", "STATE", "EXIT", "CREATED", "APPS"];
            let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
            output::print(&output::table(&header, &rows))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What `--format=json` prints.
#[derive(Serialize)]
struct List {
    version: u32,
    pods: Vec<Report>,
}

fn row(report: &Report) -> Vec<String> {
    let apps = report
        .apps
        .iter()
        .map(|app| format!("{}={}", app.name, app.image));
    let problem = report.problem.iter().cloned();
    let exit = report
        .exit_status
        .map_or_else(|| "-".to_owned(), |status| status.to_string());
    vec![
        report.uuid.clone(),
        report.name.clone().unwrap_or_else(|| "-".to_owned()),
        report.state.to_owned(),
        exit,
        report.created.clone().unwrap_or_else(|| "-".to_owned()),
        apps.chain(problem).collect::<Vec<_>>().join(" "),
    ]
}
