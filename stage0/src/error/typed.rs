//! What clap says about a wrong command line, in our form: one line, and a hint that says where a word belongs.

mod elsewhere;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command};

use super::Error;
use crate::cli::Global;
use crate::commands::explain::ExplainArgs;
use crate::commands::run::RunArgs;
use crate::run_line::AppFlags;

/// What the usage of the commands that take images with flags of their own has.
const TAKES_APPS: &str = "[APP FLAGS]";
/// What the usage of the command that runs a program in a pod has.
const TAKES_PROGRAM: &str = "<PROGRAM>";

/// The first paragraph of clap's message is what is wrong; the hint is ours, else its tips, else the usage.
impl From<clap::Error> for Error {
    fn from(error: clap::Error) -> Self {
        let text = error.render().to_string();
        let first = text.split("\n\n").next().unwrap_or_default();
        let lines: Vec<&str> = first.lines().map(str::trim).collect();
        let line = lines.join(" ");
        let usage = text
            .lines()
            .find_map(|line| line.strip_prefix("Usage: "))
            .map(|usage| format!("usage: {usage}"));
        let message = match error.kind() {
            ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                "a command is missing"
            }
            // Before the first image: after it `---` is no argument.
            ErrorKind::UnknownArgument if unknown(&error) == Some("---") => {
                "there is no image before '---'"
            }
            _ => line.strip_prefix("error: ").unwrap_or(&line),
        };
        let foreign = || std::env::args_os().find(|argument| argument.to_str().is_none());
        let message = match (error.kind(), foreign()) {
            (ErrorKind::InvalidUtf8, Some(argument)) => {
                &format!("argument {argument:?} is not UTF-8")
            }
            _ => message,
        };
        Self::Usage {
            message: message.to_owned(),
            hint: ours(&error, usage.as_deref())
                .or_else(|| tips(&text))
                .or(usage),
        }
    }
}

/// The argument that nobody expected.
fn unknown(error: &clap::Error) -> Option<&str> {
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(argument) => Some(argument),
        _ => None,
    }
}

/// What does here what a command of other launchers does there.
fn foreign(error: &clap::Error, usage: Option<&str>) -> Option<String> {
    let ContextValue::String(command) = error.get(ContextKind::InvalidSubcommand)? else {
        return None;
    };
    // Not a word after `image` or `trust`.
    usage.filter(|usage| usage.starts_with("usage: skua [OPTIONS]"))?;
    elsewhere::command(command).map(str::to_owned)
}

/// What we know better than clap does.
fn ours(error: &clap::Error, usage: Option<&str>) -> Option<String> {
    let takes = |what| usage.is_some_and(|usage| usage.contains(what));
    match error.kind() {
        ErrorKind::UnknownArgument if unknown(error) == Some("---") => usage.map(str::to_owned),
        ErrorKind::UnknownArgument => of_skua(unknown(error)?).or_else(|| {
            if takes(TAKES_APPS) {
                of_apps(unknown(error)?)
            } else if takes(TAKES_PROGRAM) {
                elsewhere::flag_of_enter(unknown(error)?).map(str::to_owned)
            } else {
                None
            }
        }),
        // What is no flag is taken for the pod, where a flag has named it.
        ErrorKind::ArgumentConflict if takes(TAKES_PROGRAM) => {
            Some("the pod is named once, and the program stands after '--'".to_owned())
        }
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            usage.map(|usage| format!("{usage}; --help lists the commands"))
        }
        ErrorKind::InvalidSubcommand => {
            let suggested = error.get(ContextKind::SuggestedSubcommand).is_some();
            let whole = || usage.map(|usage| format!("{usage}; --help lists the commands"));
            foreign(error, usage).or_else(|| if suggested { None } else { whole() })
        }
        _ => None,
    }
}

/// Where a flag of skua itself belongs.
fn of_skua(argument: &str) -> Option<String> {
    has(Global::augment_args, argument)
        .then(|| format!("{argument} is a flag of skua itself: it stands before the command"))
}

/// Where an argument that stands in the wrong place of a line with images belongs.
fn of_apps(argument: &str) -> Option<String> {
    if let Some(here) = elsewhere::flag_of_run(argument) {
        return Some(here.to_owned());
    }
    if !argument.starts_with('-') {
        return Some(
            "arguments of an app stand after '--', and the next image after '---'".to_owned(),
        );
    }
    // A command refuses flags of the one only before the first image, and of the other only after it.
    if has(AppFlags::augment_args, argument) {
        return Some(format!(
            "{argument} is a flag of an app: it stands after the image"
        ));
    }
    if has(RunArgs::augment_args, argument) || has(ExplainArgs::augment_args, argument) {
        return Some(format!(
            "{argument} is a flag of the pod: it stands before the first image"
        ));
    }
    None
}

/// Whether one of these flags is written like this.
fn has(flags: fn(Command) -> Command, argument: &str) -> bool {
    let command = flags(Command::new("flags"));
    command.get_arguments().any(|flag| {
        let long = flag
            .get_long()
            .is_some_and(|long| argument.strip_prefix("--") == Some(long));
        let short = |short| {
            argument
                .strip_prefix('-')
                .is_some_and(|name| name.chars().eq([short]))
        };
        long || flag.get_short().is_some_and(short)
    })
}

fn tips(text: &str) -> Option<String> {
    let tips: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("tip: "))
        // Of no use where nothing is for an app, and where something is, it stands after '--' as we say.
        .filter(|tip| !tip.starts_with("to pass '"))
        .collect();
    (!tips.is_empty()).then(|| tips.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::joined;

    #[test]
    fn the_hint_is_the_tip_of_clap() {
        let command = clap::Command::new("skua").arg(clap::Arg::new("debug").long("debug"));
        let error = Error::from(
            command
                .try_get_matches_from(["skua", "--debgu"])
                .unwrap_err(),
        );
        assert_eq!(joined(&error), "unexpected argument '--debgu' found");
        assert_eq!(
            error.hint().unwrap(),
            "a similar argument exists: '--debug'"
        );
    }
}
