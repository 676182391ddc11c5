//! What clap says about a wrong command line, in our form: one line, and a hint that says where a word belongs.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command};

use super::Error;
use crate::cli::Global;
use crate::commands::explain::ExplainArgs;
use crate::commands::run::RunArgs;
use crate::run_line::AppFlags;

/// What the usage of the commands that take images with flags of their own has.
const TAKES_APPS: &str = "[APP FLAGS]";

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
    let here = match command.as_str() {
        "attach" => "a pod runs in the foreground, with the standard streams of who runs it",
        "build" | "commit" | "push" => "skua makes no images; buildah, umoci and skopeo do",
        "cp" => {
            "a volume shares files with a pod; 'skua image extract IMAGE' writes those of an image"
        }
        "create" => "'skua prepare IMAGE' makes a pod, 'skua run-prepared POD' runs it",
        "exec" | "shell" => "'skua enter POD -- PROGRAM' runs a program in a pod",
        "help" => "skua --help lists the commands, skua COMMAND --help explains one",
        "images" => "'skua image list' lists images",
        "info" => "'skua config' prints the configuration, 'skua doctor' looks at the host",
        "inspect" => "'skua status POD' and 'skua cat-manifest POD' show a pod",
        "load" | "import" => "'skua fetch' takes oci-archive:FILE and docker-archive:FILE",
        "login" | "logout" => {
            "skua reads the auth.json of 'podman login' and 'skopeo login', and Docker's config.json"
        }
        "logs" => {
            "what apps print goes to where 'skua run' prints; of a unit, 'journalctl -u UNIT' shows it"
        }
        "ls" | "ps" => "'skua list' lists pods",
        "network" => {
            "a network is a file of net.d: 'skua config' lists them, and 'skua run --net' names one"
        }
        "pause" | "unpause" => {
            "a pod cannot be paused; of a unit, 'systemctl freeze UNIT' and 'systemctl thaw UNIT' do that"
        }
        "prune" | "system" => "'skua gc' removes old pods, 'skua image gc' what no image uses",
        "pull" => "'skua fetch IMAGE' fetches an image",
        "restart" => {
            "a pod runs once: 'skua stop POD', then 'skua run IMAGE'; of a unit, 'systemctl restart UNIT'"
        }
        "rmi" => "'skua image rm IMAGE' removes an image",
        "save" => "'skua image export IMAGE' writes an archive",
        "start" => "'skua run-prepared POD' runs a prepared pod, 'skua run IMAGE' a new one",
        "stats" | "top" => {
            "'skua status POD' shows a pod; systemd-cgtop and ps of the host show its processes"
        }
        "volume" => "a volume is a flag of the pod that has it: --volume of 'skua run'",
        "wait" => "'skua status --wait POD' waits for the end of a pod",
        _ => return None,
    };
    Some(here.to_owned())
}

/// What does here what a flag of other launchers does there.
fn foreign_flag(argument: &str) -> Option<&'static str> {
    Some(match argument {
        "-d" | "--detach" => {
            "a pod runs in the foreground: a unit, or 'systemd-run skua run …', puts it into the background"
        }
        "-t" | "--tty" => "-i before the image gives the app a terminal, when it is typed at one",
        "--cap-drop" => "--cap-remove, after the image, takes capabilities away",
        "--entrypoint" => "--exec PROGRAM, after the image, takes the place of its entrypoint",
        "--env" => "-e NAME=VALUE or --environment NAME=VALUE, after the image, sets a variable",
        "--env-file" => {
            "EnvironmentFile= of a unit, and --environment NAME after the image for each that the app gets"
        }
        "--group-add" => "--supplementary-groups, after the image, gives further groups",
        "--privileged" => {
            "no pod has all rights: --cap-add, --device and --volume, after the image, give single ones"
        }
        "--read-only" => "--readonly-rootfs, after the image, makes its root read-only",
        "--restart" => "Restart= of a systemd unit starts a pod again",
        "--security-opt" => {
            "--seccomp, --apparmor, --selinux-label and --no-new-privileges, after the image, are these options"
        }
        "--tmpfs" => {
            "--volume NAME,kind=tmpfs before the image, and --mount volume=NAME,target=PATH after it"
        }
        _ => return None,
    })
}

/// What we know better than clap does.
fn ours(error: &clap::Error, usage: Option<&str>) -> Option<String> {
    let takes_apps = usage.is_some_and(|usage| usage.contains(TAKES_APPS));
    match error.kind() {
        ErrorKind::UnknownArgument if unknown(error) == Some("---") => usage.map(str::to_owned),
        ErrorKind::UnknownArgument => belongs(unknown(error)?, takes_apps),
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

/// Where an argument that stands in the wrong place belongs.
fn belongs(argument: &str, takes_apps: bool) -> Option<String> {
    if has(Global::augment_args, argument) {
        return Some(format!(
            "{argument} is a flag of skua itself: it stands before the command"
        ));
    }
    if !takes_apps {
        return None;
    }
    if let Some(here) = foreign_flag(argument) {
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
