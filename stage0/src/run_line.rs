//! The command line of a pod, as typed: pod flags, then images with their flags, separated by `---`.
//!
//! `skua run [POD FLAGS] IMAGE [APP FLAGS] [-- ARG…] [--- IMAGE [APP FLAGS] [-- ARG…]]…`
//!
//! Everything after `--` up to the next `---` is for the app. An argument that is `---` itself is written `\---`, and
//! one that is `\---` is written `\\---`.

use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, ValueEnum};
use pod::{AppName, Capability, PodName, SocketName};

use crate::error::Error;
use crate::typed::{
    BindArg, CredentialArg, DeviceArg, EnvironmentArg, HostName, LimitArg, LimitFlags, MountArg,
    NetworkArg, PublishArg, SeccompArg, Seconds, SizeArg, StopSignal, SysctlArg, UmaskArg,
    VolumeArg,
};

/// What separates two apps.
const SEPARATOR: &str = "---";

// The flags of a pod: they stand before the first image.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pod flags")]
pub(crate) struct PodFlags {
    /// Name of the pod, unique among the living
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<PodName>,
    /// Host name inside the pod [default: its name, else skua- and the beginning of its UUID]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<HostName>,
    /// none, host, pasta (ordinary users), or as root networks of net.d: NAME[:K=V;…][,NAME…] [default: none]
    #[arg(long, value_name = "NETWORK")]
    pub(crate) net: Option<NetworkArg>,
    /// Reach a port of the pod through the host: [IP:]HOST:POD[/tcp|udp]
    #[arg(long, short, value_name = "PORT")]
    pub(crate) publish: Vec<PublishArg>,
    /// A volume: NAME,kind=host,source=PATH[,readonly=BOOL][,recursive=BOOL]; new, NAME,kind=empty or
    /// NAME,kind=tmpfs[,size=BYTES], each with [,mode=OCTAL][,uid=ID][,gid=ID]; or the files of an image:
    /// NAME,kind=image,source=IMAGE
    #[arg(long, value_name = "VOLUME")]
    pub(crate) volume: Vec<VolumeArg>,
    /// Size of /dev/shm, which the apps share, in bytes or with K, M, G [default: 64M]
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<SizeArg>,
    /// Kernel parameter of the pod's namespaces: NAME=VALUE; net.*, kernel.sem, kernel.shm*, kernel.msg*, fs.mqueue.*
    #[arg(long, value_name = "PARAMETER")]
    pub(crate) sysctl: Vec<SysctlArg>,
    /// Write the pod's UUID to FILE, a pipe or a device too, before it starts
    #[arg(long, value_name = "FILE")]
    pub(crate) uuid_file_save: Option<PathBuf>,
    /// Remove the pod when it has ended
    #[arg(long)]
    pub(crate) rm: bool,
    /// Give the only app our standard input, and a terminal of its own if that and our standard output are terminals.
    /// Without this flag the only app has our standard input unless it is a terminal; apps of a larger pod never have it
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// From the stop signal to SIGKILL, in seconds or with a unit [default: 10s]
    #[arg(long, value_name = "TIME")]
    pub(crate) stop_timeout: Option<Seconds>,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    #[command(flatten)]
    pub(crate) fetch: FetchFlags,
    /// Run exactly the images that 'skua lock' wrote into this file
    #[arg(long, value_name = "FILE")]
    pub(crate) locked: Option<PathBuf>,
    /// Use this stage1 instead of skua's own
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) stage1: Option<PathBuf>,
}

impl PodFlags {
    /// Whether no flag was given but `--stage1`. Compared as printed, so that a flag that is added later counts too.
    pub(crate) fn are_default(&self) -> bool {
        let command = Self::augment_args(clap::Command::new("none"));
        let none = command.try_get_matches_from(["none"]);
        let none = none.and_then(|matches| Self::from_arg_matches(&matches));
        none.is_ok_and(|none| {
            let stage1 = self.stage1.clone();
            format!("{:?}", Self { stage1, ..none }) == format!("{self:?}")
        })
    }
}

// Whether a pod outlives who started it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pod flags")]
pub(crate) struct ParentFlags {
    /// Stop the pod when the process that started it ends [default: if standard input is a terminal]
    #[arg(long, overrides_with = "no_die_with_parent")]
    pub(crate) die_with_parent: bool,
    /// Let the pod outlive the process that started it
    #[arg(long)]
    pub(crate) no_die_with_parent: bool,
}

// How images that are missing come into the store.
#[derive(Debug, Args)]
pub(crate) struct FetchFlags {
    /// Whether to fetch the images
    #[arg(long, value_name = "WHEN", value_enum, default_value = "missing")]
    pub(crate) pull: Pull,
    /// A detached signature of the image's manifest (minisign, OpenSSH, Sigstore bundle, or bare)
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Vec<PathBuf>,
    /// Accept an image that is older than the one that its tag stood for before
    #[arg(long)]
    pub(crate) allow_downgrade: bool,
}

/// A value of `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    /// Those that are not in the store
    Missing,
    /// None: what is not in the store is an error
    Never,
    /// All: what a tag means is asked again
    Always,
}

/// An image, its flags, and the arguments of its app.
#[derive(Debug, Parser)]
#[command(
    name = "skua run [POD FLAGS] IMAGE",
    no_binary_name = true,
    disable_version_flag = true
)]
#[command(override_usage = "skua run [POD FLAGS] IMAGE [APP FLAGS] [-- ARG…] [--- IMAGE …]")]
#[command(next_help_heading = "App flags, after each image")]
pub(crate) struct AppLine {
    /// Reference of the image
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) flags: AppFlags,
    /// Arguments of the app, in place of the image's
    #[arg(last = true, value_name = "ARG")]
    pub(crate) args: Vec<String>,
}

// The flags of an app: they stand after its image.
#[derive(Debug, Args)]
pub(crate) struct AppFlags {
    /// Name of the app [default: the last part of the image's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<AppName>,
    /// Program to run instead of the image's entrypoint; the image's arguments are dropped with it
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) exec: Option<String>,
    /// Set a variable: NAME=VALUE, or NAME to take it from our environment
    #[arg(long, short, value_name = "VARIABLE")]
    pub(crate) environment: Vec<EnvironmentArg>,
    /// User, a name or a number of the image
    #[arg(long, short, value_name = "USER", value_parser = crate::typed::user)]
    pub(crate) user: Option<String>,
    /// Group, a name or a number of the image
    #[arg(long, value_name = "GROUP", value_parser = crate::typed::group)]
    pub(crate) group: Option<String>,
    /// Further groups, names or numbers of the image
    #[arg(
        long,
        alias = "supplementary-group",
        value_name = "GROUP",
        value_delimiter = ',',
        value_parser = crate::typed::group
    )]
    pub(crate) supplementary_groups: Vec<String>,
    /// Working directory
    #[arg(long, short, value_name = "PATH", value_parser = crate::typed::directory)]
    pub(crate) working_dir: Option<String>,
    /// Mount a volume of the pod: volume=NAME,target=PATH[,readonly=BOOL][,noexec=BOOL]
    #[arg(long, value_name = "MOUNT")]
    pub(crate) mount: Vec<MountArg>,
    /// Mount a file or directory of the host: SOURCE:TARGET[:ro,noexec]
    #[arg(long, short, value_name = "BIND")]
    pub(crate) volume: Vec<BindArg>,
    /// Give a device of the host: PATH[:PATH IN THE APP][:r|w|rw]
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Vec<DeviceArg>,
    /// Leave a path of /proc or /sys as it is that is masked or read-only by default
    #[arg(long, value_name = "PATH")]
    pub(crate) unmask: Vec<String>,
    /// Give sockets of the unit that runs the pod, by their name there, as descriptors from 3 on (sd_listen_fds(3))
    #[arg(long, value_name = "NAME")]
    pub(crate) socket: Vec<SocketName>,
    /// Give a credential of the unit, a file of our $CREDENTIALS_DIRECTORY, as a file in that of the app: NAME[:NAME THERE]
    #[arg(long, value_name = "NAME")]
    pub(crate) credential: Vec<CredentialArg>,
    /// Mount the app's root read-only
    #[arg(long)]
    pub(crate) readonly_rootfs: bool,
    /// Keep only these capabilities (`none`: none)
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = crate::typed::capability)]
    #[arg(conflicts_with_all = ["cap_remove", "cap_add"])]
    pub(crate) cap_retain: Vec<Option<Capability>>,
    /// Take these capabilities away
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = crate::typed::capability)]
    pub(crate) cap_remove: Vec<Option<Capability>>,
    /// Give these capabilities, inside the pod's user namespace
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = crate::typed::capability)]
    pub(crate) cap_add: Vec<Option<Capability>>,
    /// Let an app that is not user 0 use its capabilities
    #[arg(long)]
    pub(crate) ambient: bool,
    /// default, unconfined (only with --insecure-options=seccomp), or a profile in the containers' JSON format
    #[arg(long, value_name = "PROFILE", default_value = "default")]
    pub(crate) seccomp: SeccompArg,
    /// Signal that asks the app to end, by name or number [default: the image's, else SIGTERM]
    #[arg(long, value_name = "SIGNAL")]
    pub(crate) stop_signal: Option<StopSignal>,
    /// Resource limit: NAME=SOFT[:HARD], such as nofile=1024:4096
    #[arg(long, alias = "ulimit", value_name = "LIMIT")]
    pub(crate) rlimit: Vec<LimitArg>,
    /// File mode mask, octal
    #[arg(long, value_name = "OCTAL", default_value = "0022")]
    pub(crate) umask: UmaskArg,
    /// Nice value, -20 to 19 [default: ours]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub(crate) nice: Option<i32>,
    /// How willingly the kernel kills the app when memory runs out, -1000 to 1000 [default: as ours]
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    #[arg(value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub(crate) oom_score_adj: Option<i32>,
    /// AppArmor profile under which the app's program is executed; an error where AppArmor is not in force
    #[arg(long, value_name = "PROFILE", value_parser = crate::typed::label)]
    pub(crate) apparmor: Option<String>,
    /// SELinux context under which the app's program is executed; an error where SELinux is not in force
    #[arg(long, value_name = "CONTEXT", value_parser = crate::typed::label)]
    pub(crate) selinux_label: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitFlags,
    /// The app says at NOTIFY_SOCKET when it is ready and how it goes (sd_notify(3)): the pod is not ready before. A unit
    /// with WatchdogSec= needs such an app
    #[arg(long)]
    pub(crate) notify: bool,
    /// Whether the app and its children can never gain privileges by exec
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) no_new_privileges: bool,
}

// Images with their flags, each group after the first begun by `---`.
#[derive(Debug, Args)]
pub(crate) struct AppWords {
    /// An image with its flags and arguments. An argument `---` of an app itself is written `\---`, in a shell
    /// with quotes
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE")]
    words: Vec<String>,
}

impl AppWords {
    /// The words after the flags of a pod.
    pub(crate) fn new(words: Vec<String>) -> Self {
        Self { words }
    }

    /// One [`AppLine`] for each app.
    pub(crate) fn parse(&self) -> Result<Vec<AppLine>, Error> {
        self.words
            .split(|word| word == SEPARATOR)
            .map(parse_app)
            .collect()
    }
}

fn parse_app(words: &[String]) -> Result<AppLine, Error> {
    if words.is_empty() {
        return Err(Error::usage(
            "there is no image before or after '---'",
            None,
        ));
    }
    let words = words.iter().map(|word| unescaped(word));
    match AppLine::try_parse_from(words) {
        Ok(line) => Ok(line),
        Err(error) if error.kind() == clap::error::ErrorKind::DisplayHelp => {
            Err(crate::cli::show(&error))
        }
        Err(error) => Err(Error::from(error)),
    }
}

/// `\---` stands for `---`, `\\---` for `\---`, and so on; every other word for itself.
fn unescaped(word: &str) -> &str {
    match word.strip_prefix('\\') {
        Some(rest) if rest.trim_start_matches('\\') == SEPARATOR => rest,
        _ => word,
    }
}

/// A command that has the flags of an app and nothing else to show.
pub(crate) fn app_flags() -> clap::Command {
    AppLine::command()
        .disable_help_flag(true)
        .mut_arg("image", |arg| arg.hide(true))
        .mut_arg("args", |arg| arg.hide(true))
}

/// The flags of an app as text for the help of `run`, for a terminal of `width` columns.
pub(crate) fn app_flags_help(width: Option<usize>) -> String {
    let mut command = app_flags().help_template("{all-args}");
    if let Some(width) = width {
        command = command.term_width(width);
    }
    command.render_help().to_string()
}

/// `command` with the flags of an app among its own, for completion scripts.
pub(crate) fn with_app_flags(mut command: clap::Command) -> clap::Command {
    // The command's own flags are not built yet.
    let own: Vec<String> = PodFlags::augment_args(clap::Command::new("pod"))
        .get_arguments()
        .map(|arg| arg.get_id().to_string())
        .collect();
    for arg in AppLine::command().get_arguments() {
        let named = arg.get_long().is_some() && !own.contains(&arg.get_id().to_string());
        if named {
            command = command.arg(arg.clone());
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser)]
    #[command(name = "run")]
    struct Line {
        #[command(flatten)]
        pod: PodFlags,
        #[command(flatten)]
        apps: AppWords,
    }

    fn parse(line: &[&str]) -> Result<(PodFlags, Vec<AppLine>), Error> {
        let line = Line::try_parse_from(std::iter::once(&"run").chain(line))?;
        Ok((line.pod, line.apps.parse()?))
    }

    #[test]
    fn flags_belong_to_the_pod_before_the_image_and_to_the_app_after_it() {
        let line = [
            "--name=p",
            "example.org/a",
            "--name=one",
            "--",
            "-x",
            "--name=z",
            "---",
            "example.org/b",
            "--",
        ];
        let (pod, apps) = parse(&line).unwrap();
        assert_eq!(pod.name.unwrap().as_str(), "p");
        assert_eq!(apps.len(), 2);
        assert_eq!(apps[0].flags.name.as_ref().unwrap().as_str(), "one");
        assert_eq!(apps[0].args, ["-x", "--name=z"]);
        assert_eq!(
            (apps[1].image.as_str(), apps[1].args.len()),
            ("example.org/b", 0)
        );
    }

    #[test]
    fn the_separator_can_be_passed_to_an_app() {
        let (_, apps) = parse(&["i", "--", "\\---", "\\\\---", "\\x", "----"]).unwrap();
        assert_eq!(apps[0].args, ["---", "\\---", "\\x", "----"]);
    }

    #[test]
    fn wrong_lines_are_refused() {
        let cases: &[&[&str]] = &[
            &[],
            &["---", "i"],
            &["i", "---"],
            &["i", "---", "---", "j"],
            &["--hostname=h", "--unknown", "i"],
            &["i", "--hostname=h"],
            &["i", "arg-without-dashes"],
            &["i", "--cap-retain=kill", "--cap-add=chown"],
            &["i", "--no-new-privileges=perhaps"],
            &["--name=UPPER", "i"],
            &["--rm=1", "i"],
        ];
        for case in cases {
            assert!(parse(case).is_err(), "{case:?}");
        }
    }
}
