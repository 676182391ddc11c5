//! `skua man`: writes the manual pages, one for each subcommand; used by the packaging.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;

use crate::error::Error;
use crate::{cli, run_line};

// What `man` takes.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// An existing directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: ManArgs) -> Result<ExitCode, Error> {
    let mut skua = cli::command();
    skua.build();
    write_below(&skua, &args.directory).map_err(|e| Error::ManPages(args.directory, e))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the page of a command, and those of what is below it.
fn write_below(command: &Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        write_below(below, directory)?;
    }
    let man = Man::new(command.clone()).source(concat!("skua ", env!("CARGO_PKG_VERSION")));
    fs::write(directory.join(man.get_filename()), page(&man, command)?)
}

/// The sections of a page, in the usual order.
fn page(man: &Man, command: &Command) -> io::Result<String> {
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    page.extend_from_slice(synopsis(command).as_bytes());
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if cli::TAKES_APPS.contains(&command.get_name()) {
        Man::new(run_line::app_flags()).render_options_section(&mut page)?;
    }
    if command.get_subcommands().any(|c| !c.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(help) = command.get_after_help() {
        page.extend_from_slice(section(&help.to_string()).as_bytes());
    }
    let page = String::from_utf8(page).map_err(io::Error::other)?;
    Ok(page.chars().map(ascii).collect())
}

/// The usage that `--help` prints, as it is.
fn synopsis(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage).lines();
    let usage: String = usage.map(|line| literal(line.trim())).collect();
    format!(".SH SYNOPSIS\n.nf\n{usage}.fi\n")
}

/// A line that a formatter prints as it is.
fn literal(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-");
    format!("\\&{}\n", escaped.replace('\'', "\\(aq"))
}

/// What `--help` says at its end, a heading and lines in columns, as a section of its own.
fn section(help: &str) -> String {
    let (heading, lines) = help.split_once(":\n").unwrap_or(("Notes", help));
    let lines: String = lines
        .lines()
        .map(|line| literal(line.strip_prefix("  ").unwrap_or(line)))
        .collect();
    let heading = heading.to_uppercase();
    format!(".SH \"{heading}\"\n.nf\n{lines}.fi\n")
}

/// Not every formatter of pages knows more.
fn ascii(character: char) -> String {
    match character.is_ascii() {
        true => character.to_string(),
        false => format!("\\[u{:04X}]", u32::from(character)),
    }
}
