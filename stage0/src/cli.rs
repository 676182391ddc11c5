//! What was typed: the global flags and the subcommands. What a subcommand takes stands in its own file.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::commands;
use crate::context::Context;
use crate::error::{Error, ErrorFormat};
use crate::{output, run_line};

/// What `--help` and the manual page say at their end.
const EXIT_STATUS: &str = "\
Exit status:
  254     skua itself failed: one line on standard error says at what
  run     the pod's, of the first app that failed; 128+n for signal n
  enter   the program's
  doctor  1 when something is missing that every pod needs";

/// The commands that take images with flags of their own.
pub(crate) const TAKES_APPS: [&str; 3] = ["run", "prepare", "explain"];

/// Launches pods of signed OCI images, without a daemon
#[derive(Debug, Parser)]
#[command(name = "skua", version, disable_help_subcommand = true, after_help = EXIT_STATUS)]
#[command(next_help_heading = "Global flags")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// The flags that stand before the command. Of these alone the last counts, so that an alias or a wrapper of skua can be overruled;
/// any other that is given twice is an error.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Where images and pods are kept [default: /var/lib/skua; as an ordinary user $XDG_DATA_HOME/skua]
    #[arg(long, overrides_with = "data_dir", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Read configuration from DIR instead of /etc/skua and $XDG_CONFIG_HOME/skua
    #[arg(long, overrides_with = "config_dir", value_name = "DIR")]
    pub(crate) config_dir: Option<PathBuf>,
    /// Where skua-stage1 and skua-stage2 are [default: ../libexec/skua beside skua, else beside skua]
    #[arg(long, overrides_with = "libexec_dir", value_name = "DIR")]
    pub(crate) libexec_dir: Option<PathBuf>,
    /// Log what is done
    #[arg(long, overrides_with = "debug")]
    pub(crate) debug: bool,
    /// Print no progress and no notes
    #[arg(long, overrides_with = "quiet", conflicts_with = "debug")]
    pub(crate) quiet: bool,
    /// Exceptions from skua's rules, separated by commas; the pod's record shows them for ever
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub(crate) insecure_options: Vec<Insecure>,
    /// How an error is printed on standard error
    #[arg(
        long,
        overrides_with = "error_format",
        value_name = "FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub(crate) error_format: ErrorFormat,
}

/// A value of `--insecure-options`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Insecure {
    /// Run an image that no trust policy accepts
    Image,
    /// Accept any TLS certificate of a registry
    Tls,
    /// Speak plain HTTP to a registry that is not on the loopback interface
    Http,
    /// Allow --seccomp=unconfined
    Seccomp,
    /// All capabilities inside the pod's user namespace
    Capabilities,
    /// No masked and no read-only paths
    Paths,
    /// No Landlock domain; with --net=host the abstract sockets of the host in reach
    Landlock,
    /// Run without the limits that cannot be had here
    Limits,
}

impl From<Insecure> for pod::InsecureOption {
    fn from(typed: Insecure) -> Self {
        match typed {
            Insecure::Image => Self::Image,
            Insecure::Tls => Self::Tls,
            Insecure::Http => Self::Http,
            Insecure::Seccomp => Self::Seccomp,
            Insecure::Capabilities => Self::Capabilities,
            Insecure::Paths => Self::Paths,
            Insecure::Landlock => Self::Landlock,
            Insecure::Limits => Self::Limits,
        }
    }
}

/// The subcommands. `defer`: the flags of the one that was typed are built, not those of all.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(crate) enum Command {
    /// Fetch images, verify them and unpack them into the store
    Fetch(commands::fetch::FetchArgs),
    /// Run a pod of one or more images
    #[command(
        override_usage = "skua run [POD FLAGS] IMAGE [APP FLAGS] [-- ARG…] [--- IMAGE [APP FLAGS] [-- ARG…]]…"
    )]
    Run(commands::run::RunArgs),
    /// Make a pod that is ready to run, and print its UUID
    #[command(
        override_usage = "skua prepare [POD FLAGS] IMAGE [APP FLAGS] [-- ARG…] [--- IMAGE [APP FLAGS] [-- ARG…]]…"
    )]
    Prepare(commands::prepare::PrepareArgs),
    /// Run a prepared pod
    RunPrepared(commands::run_prepared::RunPreparedArgs),
    /// List pods
    List(commands::list::ListArgs),
    /// Show the state of a pod, and how its apps ended
    Status(commands::status::StatusArgs),
    /// Print the manifest of a pod
    CatManifest(commands::cat_manifest::CatManifestArgs),
    /// Print what 'run' would do with a command line, or what was decided for a pod, and who asked for it
    #[command(
        override_usage = "skua explain [POD FLAGS] IMAGE [APP FLAGS] [-- ARG…] [--- IMAGE …]…\n       skua explain POD"
    )]
    Explain(commands::explain::ExplainArgs),
    /// Run a program inside a running pod, confined as its app
    Enter(commands::enter::EnterArgs),
    /// Ask running pods to end; nothing is waited for: 'skua status --wait' does that
    Stop(commands::stop::StopArgs),
    /// Send a signal to running pods
    Kill(commands::kill::KillArgs),
    /// Remove pods that are not running
    Rm(commands::rm::RmArgs),
    /// Heal what crashes left and remove old pods
    Gc(commands::gc::GcArgs),
    /// Images in the store
    #[command(subcommand)]
    Image(commands::image::ImageCommand),
    /// Print which images some names stand for, for 'run --locked'
    Lock(commands::lock::LockArgs),
    /// Which images may run, and whose keys decide
    #[command(subcommand)]
    Trust(commands::trust::TrustCommand),
    /// Print the configuration in force, and where each value comes from
    Config(commands::config::ConfigArgs),
    /// Check what this host offers to pods
    Doctor(commands::doctor::DoctorArgs),
    /// Print the version
    Version(commands::version::VersionArgs),
    /// Print a completion script for a shell
    Completion(commands::completion::CompletionArgs),
    /// Write the manual pages into a directory
    #[command(hide = true)]
    Man(commands::man::ManArgs),
}

impl Command {
    /// Whether the directory of `--config-dir` need not be there yet.
    pub(crate) fn makes_config(&self) -> bool {
        matches!(self, Self::Trust(commands::trust::TrustCommand::Add(_)))
    }

    /// Whether it believes what is in the data directory.
    pub(crate) fn uses_data(&self) -> bool {
        !matches!(
            self,
            Self::Config(_)
                | Self::Doctor(_)
                | Self::Version(_)
                | Self::Completion(_)
                | Self::Man(_)
        )
    }

    /// Runs the subcommand.
    pub(crate) fn run(self, context: &Context) -> Result<ExitCode, Error> {
        match self {
            Self::Fetch(args) => commands::fetch::run(args, context),
            Self::Run(args) => commands::run::run(args, context),
            Self::Prepare(args) => commands::prepare::run(args, context),
            Self::RunPrepared(args) => commands::run_prepared::run(args, context),
            Self::List(args) => commands::list::run(args, context),
            Self::Status(args) => commands::status::run(args, context),
            Self::CatManifest(args) => commands::cat_manifest::run(args, context),
            Self::Explain(args) => commands::explain::run(args, context),
            Self::Enter(args) => commands::enter::run(args, context),
            Self::Stop(args) => commands::stop::run(args, context),
            Self::Kill(args) => commands::kill::run(args, context),
            Self::Rm(args) => commands::rm::run(args, context),
            Self::Gc(args) => commands::gc::run(args, context),
            Self::Image(command) => commands::image::run(command, context),
            Self::Lock(args) => commands::lock::run(args, context),
            Self::Trust(command) => commands::trust::run(command, context),
            Self::Config(args) => commands::config::run(args, context),
            Self::Doctor(args) => commands::doctor::run(args, context),
            Self::Version(args) => commands::version::run(args),
            Self::Completion(args) => commands::completion::run(args),
            Self::Man(args) => commands::man::run(args),
        }
    }
}

/// Prints help or a version, whole, and ends the process with 0; or gives the reason why that failed.
pub(crate) fn show(help: &clap::Error) -> Error {
    let text = help.render();
    let plain = || {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        set("NO_COLOR").is_some() || set("TERM").is_none_or(|term| term == "dumb")
    };
    let printed = match io::stdout().is_terminal() && !plain() {
        true => output::print(&text.ansi().to_string()),
        false => output::print(&text.to_string()),
    };
    match printed {
        Ok(()) => std::process::exit(0),
        Err(error) => error,
    }
}

/// Parses the process's arguments. Help and version are printed here and end the process with 0.
pub(crate) fn parse() -> Result<(Global, Command), Error> {
    match Cli::try_parse() {
        Ok(cli) => Ok((cli.global, cli.command)),
        Err(error) => Err(match error.kind() {
            ErrorKind::DisplayHelp => {
                match documented(None).try_get_matches_from(std::env::args_os()) {
                    Ok(_) => Error::from(error),
                    Err(with_app_flags) => show(&with_app_flags),
                }
            }
            ErrorKind::DisplayVersion => show(&error),
            _ => Error::from(error),
        }),
    }
}

/// The whole command line as it is documented, with the flags of an app below those of a pod, for a terminal of `width`
/// columns.
pub(crate) fn documented(width: Option<usize>) -> clap::Command {
    let app_flags = run_line::app_flags_help(width);
    let mut command = Cli::command();
    for name in TAKES_APPS {
        command = command.mut_subcommand(name, |c| c.after_help(app_flags.clone()));
    }
    command
}

/// The whole command line as it is parsed.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Shell completion needs every flag, those of an app too, where `run` itself does not parse them; and no command that is
/// nobody's to type.
pub(crate) fn completable() -> clap::Command {
    let mut whole = Cli::command();
    for name in TAKES_APPS {
        whole = whole.mut_subcommand(name, run_line::with_app_flags);
    }
    let shown = whole.get_subcommands().filter(|c| !c.is_hide_set());
    clap::Command::new("skua")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true)
        .args(whole.get_arguments())
        .subcommands(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns of the golden texts.
    const WIDTH: usize = 100;

    #[test]
    fn clap_accepts_the_definitions() {
        documented(None).debug_assert();
        completable().debug_assert();
    }

    /// `BLESS=1 cargo test` writes what is printed now.
    #[test]
    fn the_help_of_each_command_is_the_golden_one() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/help");
        let mut commands = vec![("skua".to_owned(), documented(Some(WIDTH)))];
        let mut texts = Vec::new();
        while let Some((name, mut command)) = commands.pop() {
            command = command.term_width(WIDTH).bin_name(name.replace('/', " "));
            texts.push((name.clone(), command.render_long_help().to_string()));
            let visible = command.get_subcommands().filter(|c| !c.is_hide_set());
            commands.extend(visible.map(|c| (format!("{name}/{}", c.get_name()), c.clone())));
        }
        for (name, text) in texts {
            let path = format!("{directory}/{}.txt", name.replace('/', "-"));
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(
                golden, text,
                "{path}; BLESS=1 cargo test -p stage0 writes it anew"
            );
        }
    }
}
