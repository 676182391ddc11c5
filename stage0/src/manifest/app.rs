//! One app of the manifest: the image's configuration, and what the command line says instead.

use std::ffi::OsString;

use pod::{
    App, AppName, Capability, EnvironmentVariable, InsecureOption, Mount, Origin, Origins,
    SeccompChoice,
};

use super::{Caller, StandardInput, Wanted, given, origins, sandbox};
use crate::error::Error;
use crate::run_line::AppFlags;
use crate::typed::{EnvironmentArg, SeccompArg, StopSignal};

/// Where programs are searched when the image does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The number of `SIGTERM`.
const SIGTERM: i32 = 15;

/// The app `name`.
pub(super) fn new(
    wanted: Wanted,
    name: AppName,
    mounts: Vec<Mount>,
    stdin: StandardInput,
    insecure: &[InsecureOption],
    caller: &Caller<'_>,
) -> Result<App, Error> {
    let said = Said::of(&wanted)?;
    let Wanted {
        line,
        image,
        layers,
        ..
    } = wanted;
    let (flags, arguments) = (line.flags, !line.args.is_empty());
    let (user, group) = user(&flags, &said)?;
    given::variables(&flags)?;
    let mut app = App {
        argv: argv(flags.exec.as_deref(), line.args, &said)?,
        environment: environment(&flags.environment, &said, stdin.terminal, caller)?,
        user,
        group,
        supplementary_groups: flags.supplementary_groups.clone(),
        working_directory: working_directory(flags.working_dir.as_deref(), &said)?,
        stop_signal: flags
            .stop_signal
            .or(said.stop_signal)
            .map_or(SIGTERM, |signal| signal.0),
        readonly_rootfs: flags.readonly_rootfs,
        terminal: stdin.terminal,
        streams_later: stdin.later,
        stdin: stdin.kept,
        mounts,
        capabilities: capabilities(&flags, insecure)?,
        ambient: flags.ambient,
        no_new_privileges: flags.no_new_privileges,
        seccomp: seccomp(&flags.seccomp, insecure, caller)?,
        rlimits: rlimits(&flags)?,
        process: sandbox::process(&flags),
        labels: sandbox::labels(&flags),
        devices: sandbox::devices(&flags.device, caller)?,
        unmasked: sandbox::unmasked(&flags.unmask)?,
        limits: super::limits(&flags.limits)?,
        sockets: flags.socket.clone(),
        credentials: given::credentials(&flags)?,
        notify: flags.notify,
        name,
        image,
        layers,
        origins: Origins::default(),
    };
    app.origins = origins::of_app(&flags, &said, arguments, &app, insecure);
    if stdin.typed {
        app.origins.set("stdin", Origin::CommandLine);
    }
    Ok(app)
}

/// What an image's configuration says about its process, checked: it is foreign text.
pub(super) struct Said {
    image: String,
    entrypoint: Vec<String>,
    cmd: Vec<String>,
    /// Names and values.
    pub(super) environment: Vec<(String, String)>,
    /// `USER[:GROUP]`, empty when it does not say.
    pub(super) user: String,
    /// Empty when it does not say.
    pub(super) working_directory: String,
    /// What asks the app to end.
    pub(super) stop_signal: Option<StopSignal>,
}

impl Said {
    fn of(wanted: &Wanted) -> Result<Self, Error> {
        let image = &wanted.image.reference;
        let refuse = |field, value: &str, form| Error::ImageConfig {
            image: image.clone(),
            field,
            value: value.to_owned(),
            form,
        };
        let config = wanted.config.config().as_ref();
        let list = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
        let said = Self {
            image: image.clone(),
            entrypoint: list(config.and_then(|c| c.entrypoint().as_ref())),
            cmd: list(config.and_then(|c| c.cmd().as_ref())),
            environment: list(config.and_then(|c| c.env().as_ref()))
                .into_iter()
                .map(|entry| match entry.split_once('=') {
                    Some((name, value)) if !name.is_empty() => {
                        Ok((name.to_owned(), value.to_owned()))
                    }
                    _ => Err(refuse("Env", &entry, "NAME=VALUE")),
                })
                .collect::<Result<_, _>>()?,
            user: config.and_then(|c| c.user().clone()).unwrap_or_default(),
            working_directory: config
                .and_then(|c| c.working_dir().clone())
                .unwrap_or_default(),
            stop_signal: match config.and_then(|c| c.stop_signal().as_deref()) {
                None | Some("") => None,
                Some(signal) => Some(
                    signal
                        .parse()
                        .map_err(|_| refuse("StopSignal", signal, "a signal"))?,
                ),
            },
        };
        match said.texts().find(|text| text.contains('\0')) {
            Some(text) => Err(refuse("config", text, "text without NUL")),
            None => Ok(()),
        }?;
        Ok(said)
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let words = self.entrypoint.iter().chain(&self.cmd);
        let values = self
            .environment
            .iter()
            .flat_map(|(name, value)| [name, value]);
        words
            .chain(values)
            .chain([&self.user, &self.working_directory])
    }
}

/// `--exec` stands for the entrypoint and drops the image's arguments; arguments stand for the image's.
fn argv(exec: Option<&str>, args: Vec<String>, said: &Said) -> Result<Vec<String>, Error> {
    let mut argv = match exec {
        Some(program) => vec![program.to_owned()],
        None => said.entrypoint.clone(),
    };
    if !args.is_empty() {
        argv.extend(args);
    } else if exec.is_none() {
        argv.extend(said.cmd.iter().cloned());
    }
    match argv.first() {
        None => Err(Error::NoProgram(said.image.clone())),
        Some(program) if program.is_empty() => Err(Error::usage(
            format!("the program of {} is an empty string", said.image),
            None,
        )),
        Some(_) => Ok(argv),
    }
}

fn environment(
    typed: &[EnvironmentArg],
    said: &Said,
    terminal: bool,
    caller: &Caller<'_>,
) -> Result<Vec<EnvironmentVariable>, Error> {
    let mut variables: Vec<EnvironmentVariable> = Vec::new();
    let mut set = |name: &str, value: String| match variables.iter_mut().find(|v| v.name == name) {
        Some(known) => known.value = value,
        None => variables.push(EnvironmentVariable {
            name: name.to_owned(),
            value,
        }),
    };
    set("PATH", DEFAULT_PATH.to_owned());
    if terminal {
        let ours = (caller.variable)("TERM").and_then(|term| term.into_string().ok());
        set("TERM", ours.unwrap_or_else(|| "linux".to_owned()));
    }
    for (name, value) in &said.environment {
        set(name, value.clone());
    }
    for EnvironmentArg { name, value } in typed {
        if value.is_none() && name == pod::NOTIFY_VARIABLE {
            return Err(Error::usage(
                format!("--environment {name}: the service manager hears the keeper, and no app"),
                Some(
                    "with --notify after its image, an app has a socket of its own, and the pod is ready when it is",
                ),
            ));
        }
        match value {
            Some(value) => set(name, value.clone()),
            None => set(name, inherited(name, caller)?),
        }
    }
    Ok(variables)
}

/// The value of `--environment NAME`: ours.
fn inherited(name: &str, caller: &Caller<'_>) -> Result<String, Error> {
    let refused = |why| {
        let hint = "give it a value with NAME=VALUE";
        Error::usage(format!("--environment {name}: {why}"), Some(hint))
    };
    match (caller.variable)(name).map(OsString::into_string) {
        Some(Ok(value)) => Ok(value),
        Some(Err(_)) => Err(refused("its value in our environment is not UTF-8")),
        None => Err(refused("the variable is not in our environment")),
    }
}

/// User and group. A user from the command line comes without the group of the image's user.
fn user(flags: &AppFlags, said: &Said) -> Result<(String, Option<String>), Error> {
    let both = flags.user.as_deref().unwrap_or(&said.user);
    let (user, group) = match both.split_once(':') {
        None => (both, None),
        Some((user, group)) => (user, Some(group)),
    };
    if let (Some(typed), Some(_), Some(_)) = (&flags.user, group, &flags.group) {
        return Err(Error::usage(
            format!("--user={typed} names a group, and so does --group"),
            None,
        ));
    }
    if group.is_some_and(|group| group.is_empty() || group.contains(':')) {
        return Err(Error::usage(format!("'{both}' is not USER[:GROUP]"), None));
    }
    let group = flags.group.as_deref().or(group).map(str::to_owned);
    Ok((user.to_owned(), group))
}

fn working_directory(typed: Option<&str>, said: &Said) -> Result<String, Error> {
    let directory = typed.unwrap_or(&said.working_directory);
    match directory {
        "" => Ok("/".to_owned()),
        absolute if absolute.starts_with('/') => Ok(absolute.to_owned()),
        relative if typed.is_some() => Err(Error::usage(
            format!("--working-dir={relative} is not an absolute path"),
            None,
        )),
        relative => Err(Error::ImageConfig {
            image: said.image.clone(),
            field: "WorkingDir",
            value: relative.to_owned(),
            form: "an absolute path",
        }),
    }
}

fn capabilities(flags: &AppFlags, insecure: &[InsecureOption]) -> Result<Vec<Capability>, Error> {
    for (flag, list) in [
        ("--cap-retain", &flags.cap_retain),
        ("--cap-remove", &flags.cap_remove),
        ("--cap-add", &flags.cap_add),
    ] {
        if list.len() > 1 && list.contains(&None) {
            let message = format!("{flag}: 'none' cannot be combined with capabilities");
            return Err(Error::usage(message, None));
        }
    }
    let mut held: Vec<Capability> = if !flags.cap_retain.is_empty() {
        flags.cap_retain.iter().copied().flatten().collect()
    } else if insecure.contains(&InsecureOption::Capabilities) {
        Capability::ALL.to_vec()
    } else {
        Capability::DEFAULT.to_vec()
    };
    held.extend(flags.cap_add.iter().flatten());
    held.retain(|capability| !flags.cap_remove.contains(&Some(*capability)));
    held.sort_unstable();
    held.dedup();
    Ok(held)
}

fn seccomp(
    typed: &SeccompArg,
    insecure: &[InsecureOption],
    caller: &Caller<'_>,
) -> Result<SeccompChoice, Error> {
    match typed {
        SeccompArg::Default => Ok(SeccompChoice::Default),
        SeccompArg::Unconfined if insecure.contains(&InsecureOption::Seccomp) => {
            Ok(SeccompChoice::Unconfined)
        }
        SeccompArg::Unconfined => Err(Error::usage(
            "--seccomp=unconfined takes the system call filter away",
            Some("say so with --insecure-options=seccomp, before the command"),
        )),
        SeccompArg::Profile(path) => Ok(SeccompChoice::Profile {
            path: super::mounts::host_path("--seccomp", path, &caller.directory)?,
        }),
    }
}

fn rlimits(flags: &AppFlags) -> Result<Vec<pod::Rlimit>, Error> {
    let mut limits: Vec<pod::Rlimit> = Vec::new();
    for typed in &flags.rlimit {
        if limits
            .iter()
            .any(|other| other.resource == typed.0.resource)
        {
            return Err(Error::usage(
                format!("{} is limited twice", typed.0.resource),
                None,
            ));
        }
        limits.push(typed.0.clone());
    }
    Ok(limits)
}
