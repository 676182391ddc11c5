//! What stage1 typed: see crate `pod`, "How stage2 is called".

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

use pod::{AppName, SocketName};

use crate::error::Error;
use crate::sockets::Socket;
use crate::sys;
use crate::user::Ids;

/// One of the two ways to be called.
pub(crate) enum Arguments {
    /// As pid 1 of a pod.
    Run(Run),
    /// As one further program of a pod.
    Enter(Enter),
}

/// `run`.
pub(crate) struct Run {
    /// `apps/`.
    pub(crate) apps: OwnedFd,
    /// `status/`.
    pub(crate) status: OwnedFd,
    /// Readable or hung up when the keeper is gone.
    pub(crate) keeper: OwnedFd,
    /// Seconds from the stop signal to SIGKILL.
    pub(crate) stop_timeout: u32,
    /// A child, the only one, still builds the root of the pod.
    pub(crate) builder: bool,
    /// Where to say that every app has been executed; absent: nobody wants to know.
    pub(crate) started: Option<OwnedFd>,
    /// Where each app joins its cgroup, in the same order; none when they have no cgroups of their own.
    pub(crate) cgroups: Vec<OwnedFd>,
    /// Sockets of the unit that apps claim.
    pub(crate) sockets: Vec<Socket>,
    /// The apps, in order; at least one.
    pub(crate) names: Vec<AppName>,
}

/// `enter`.
pub(crate) struct Enter {
    /// `apps/`.
    pub(crate) apps: OwnedFd,
    /// The app whose confinement the program gets.
    pub(crate) name: AppName,
    /// Who that app was when it was started.
    pub(crate) ids: Ids,
    /// A terminal is on the standard streams.
    pub(crate) terminal: bool,
    /// The program and its arguments; not empty.
    pub(crate) argv: Vec<String>,
}

/// What has been seen so far, for either of the two.
#[derive(Default)]
struct Seen {
    apps: Option<OwnedFd>,
    status: Option<OwnedFd>,
    keeper: Option<OwnedFd>,
    stop_timeout: Option<u32>,
    builder: bool,
    started: Option<OwnedFd>,
    cgroups: Vec<OwnedFd>,
    sockets: Vec<Socket>,
    app: Option<AppName>,
    ids: Option<Ids>,
    terminal: bool,
    rest: Vec<String>,
}

/// Parses the arguments after the program's name.
pub(crate) fn parse(given: impl Iterator<Item = OsString>) -> Result<Arguments, Error> {
    let mut given = given.map(text);
    let entrypoint = given.next().transpose()?.unwrap_or_default();
    let seen = read(given)?;
    match entrypoint.as_str() {
        "run" => run(seen),
        "enter" => enter(seen),
        _ => Err(Error::Arguments(
            "the first argument is not 'run' or 'enter'",
        )),
    }
}

fn read(mut given: impl Iterator<Item = Result<String, Error>>) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    while let Some(word) = given.next().transpose()? {
        let mut value = || {
            given
                .next()
                .transpose()?
                .ok_or(Error::Arguments("an option lacks its value"))
        };
        match word.as_str() {
            "--apps-fd" => seen.apps = Some(descriptor(&value()?)?),
            "--status-fd" => seen.status = Some(descriptor(&value()?)?),
            "--keeper-fd" => seen.keeper = Some(descriptor(&value()?)?),
            "--started-fd" => seen.started = Some(descriptor(&value()?)?),
            "--stop-timeout" => seen.stop_timeout = Some(number(&value()?)?),
            "--builder" => seen.builder = true,
            "--cgroup-fd" => seen.cgroups.push(descriptor(&value()?)?),
            "--socket" => seen.sockets.push(socket(&value()?)?),
            "--app" => seen.app = Some(AppName::parse(&value()?).map_err(Error::Contract)?),
            "--ids" => seen.ids = Some(ids(&value()?)?),
            "--terminal" => seen.terminal = true,
            "--" => {
                seen.rest = given.collect::<Result<_, _>>()?;
                break;
            }
            option if option.starts_with('-') => {
                return Err(Error::Arguments("unknown option"));
            }
            _ => seen.rest.push(word),
        }
    }
    Ok(seen)
}

fn run(seen: Seen) -> Result<Arguments, Error> {
    let names = seen
        .rest
        .iter()
        .map(|name| AppName::parse(name).map_err(Error::Contract))
        .collect::<Result<Vec<_>, _>>()?;
    match seen {
        Seen {
            apps: Some(apps),
            status: Some(status),
            keeper: Some(keeper),
            stop_timeout: Some(stop_timeout),
            builder,
            started,
            cgroups,
            sockets,
            app: None,
            ids: None,
            terminal: false,
            ..
        } if !names.is_empty() && [0, names.len()].contains(&cgroups.len()) => {
            Ok(Arguments::Run(Run {
                apps,
                status,
                keeper,
                stop_timeout,
                builder,
                started,
                cgroups,
                sockets,
                names,
            }))
        }
        _ => Err(Error::Arguments(
            "'run' needs --apps-fd, --status-fd, --keeper-fd, --stop-timeout, the names of apps, and --cgroup-fd for all or none",
        )),
    }
}

fn enter(seen: Seen) -> Result<Arguments, Error> {
    match seen {
        Seen {
            apps: Some(apps),
            app: Some(name),
            ids: Some(ids),
            status: None,
            keeper: None,
            stop_timeout: None,
            builder: false,
            started: None,
            cgroups: _,
            sockets: _,
            terminal,
            rest: argv,
        } if !argv.is_empty() => Ok(Arguments::Enter(Enter {
            apps,
            name,
            ids,
            terminal,
            argv,
        })),
        _ => Err(Error::Arguments(
            "'enter' needs --apps-fd, --app, --ids and, after --, a program",
        )),
    }
}

fn text(word: OsString) -> Result<String, Error> {
    String::from_utf8(word.into_vec()).map_err(|_| Error::Arguments("an argument is not UTF-8"))
}

fn number(word: &str) -> Result<u32, Error> {
    word.parse()
        .map_err(|_| Error::Arguments("a number was expected"))
}

/// User, group and groups, with commas.
fn ids(word: &str) -> Result<Ids, Error> {
    let numbers = word.split(',').map(number).collect::<Result<Vec<_>, _>>()?;
    Ids::new(&numbers).ok_or(Error::Arguments(
        "--ids needs a user, a group and no more groups than an app may have",
    ))
}

/// An app, a descriptor and a name, with colons.
fn socket(word: &str) -> Result<Socket, Error> {
    let mut parts = word.splitn(3, ':');
    let (Some(app), Some(number), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::Arguments("--socket needs APP:NUMBER:NAME"));
    };
    let number = self::number(number)?;
    Ok(Socket {
        app: AppName::parse(app).map_err(Error::Contract)?,
        name: SocketName::parse(name).map_err(Error::Contract)?,
        descriptor: sys::taken(number).map_err(|e| Error::Descriptor(number, e))?,
    })
}

/// Takes over an inherited descriptor, once.
fn descriptor(word: &str) -> Result<OwnedFd, Error> {
    let number = number(word)?;
    sys::inherited(number).map_err(|e| Error::Descriptor(number, e))
}
