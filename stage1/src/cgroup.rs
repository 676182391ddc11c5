//! The pod's own cgroup of version 2, so that all of it can be limited, counted, found and killed at once.
//!
//! ```text
//! PARENT/                    what systemd has delegated, or our own cgroup; passes the needed controllers on
//!   skua-keeper/             the keepers of pods, where PARENT would otherwise have a process
//!   skua-<pod>/              the pod's limits; without limits of apps all of its processes
//!     init/                  stage2
//!     app-<app>/             the app's limits, its processes
//! ```
//!
//! **Runs as** the keeper. **Needs** a [`Placement`]. **Leaves** directories and the file `cgroup`. **Undone by**
//! [`remove`], here or in `gc`; `skua-keeper` goes when it is empty.

pub(crate) mod account;
pub(crate) mod facts;
pub(crate) mod place;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
pub(crate) mod weights;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use pod::{AppName, InsecureOption, PodDir, PodId, PodManifest};

use crate::error::Error;
use crate::plan;
use place::{Facts, Limited, Placement};
use settings::{Controller, Setting, Settings};

/// A cgroup of a pod.
#[derive(Debug)]
pub(crate) struct Cgroup {
    /// Its directory.
    path: PathBuf,
    /// The directory, for `CLONE_INTO_CGROUP`.
    pub(crate) directory: File,
    /// The cgroups of the apps, when they have some.
    by_app: Option<ByApp>,
}

/// Cgroups of apps, in manifest order.
#[derive(Debug)]
struct ByApp {
    settings: Settings,
    /// `cgroup.procs` of each: whoever writes to it is judged as the keeper, who opened it.
    procs: Vec<OwnedFd>,
}

/// Where stage2 is when the apps have cgroups of their own.
const INIT: &str = "init";
/// Where keepers move.
const KEEPERS: &str = "skua-keeper";

/// Where an app is when it has a cgroup of its own.
pub(crate) fn of_app(pod: &Path, app: &AppName) -> PathBuf {
    pod.join(format!("app-{app}"))
}

/// The cgroup into which a further program of an app is born: the app's own, if it has one.
pub(crate) fn open_of_app(pod: &Path, app: &AppName) -> io::Result<File> {
    match File::open(of_app(pod, app)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => File::open(pod),
        other => other,
    }
}

/// Looks at the host, and decides where the cgroup of the pod will be.
pub(crate) fn placement(settings: &Settings, manifest: &PodManifest) -> Result<Placement, Error> {
    let may_give_up = plan::insecure(manifest, InsecureOption::Limits);
    Placement::new(settings, &Facts::probe(settings, manifest)?, may_give_up)
}

/// Makes the pod's cgroup and sets its limits. `None`: it gets none.
pub(crate) fn make(
    pod: &PodDir,
    id: &PodId,
    placement: &Placement,
) -> Result<Option<Cgroup>, Error> {
    let parent = match placement {
        Placement::Limited(limited) => &limited.parent,
        Placement::Plain {
            parent: Some(parent),
            ..
        } => parent,
        Placement::Plain { parent: None, .. } => return Ok(None),
    };
    let path = parent.join(own_name(id));
    // Recorded first: whoever finds the pod after a crash finds the cgroup too, if it was made.
    record(pod, &path).map_err(|e| Error::PodFile(pod.cgroup(), e))?;
    let made = match placement {
        Placement::Limited(limited) => limited_group(limited, &path).map(Some),
        Placement::Plain { .. } => plain_group(&path),
    };
    if !matches!(made, Ok(Some(_))) {
        let _ = remove(&path);
        let _ = fs::remove_file(pod.cgroup());
    }
    made
}

fn plain_group(path: &Path) -> Result<Option<Cgroup>, Error> {
    let failed = |e| Error::MakeCgroup(path.to_owned(), e);
    match directory(path) {
        Ok(()) => {}
        Err(e) if is_absence(&e) => return Ok(None),
        Err(e) => return Err(failed(e)),
    }
    Ok(Some(Cgroup {
        directory: File::open(path).map_err(failed)?,
        path: path.to_owned(),
        by_app: None,
    }))
}

fn limited_group(limited: &Limited, path: &Path) -> Result<Cgroup, Error> {
    let (parent, settings) = (&limited.parent, &limited.settings);
    if limited.keeper_moves {
        move_keeper(&parent.join(KEEPERS))?;
    }
    pass_on(parent, settings.controllers())?;
    let make = |path: &Path| directory(path).map_err(|e| Error::MakeCgroup(path.to_owned(), e));
    make(path)?;
    set_all(path, &settings.pod)?;
    let by_app = if settings.by_app() {
        make(&path.join(INIT))?;
        let mut procs = Vec::new();
        for (app, _) in &settings.apps {
            let path = of_app(path, app);
            make(&path)?;
            let path = path.join("cgroup.procs");
            let opened = File::options().write(true).open(&path);
            procs.push(opened.map_err(|e| Error::MakeCgroup(path, e))?.into());
        }
        let settings = settings.clone();
        Some(ByApp { settings, procs })
    } else {
        None
    };
    Ok(Cgroup {
        directory: File::open(path).map_err(|e| Error::MakeCgroup(path.to_owned(), e))?,
        path: path.to_owned(),
        by_app,
    })
}

/// A leaf for the keeper, which it shares with keepers of the same unit.
fn move_keeper(leaf: &Path) -> Result<(), Error> {
    let failed = |e| Error::MoveKeeper(leaf.to_owned(), e);
    match directory(leaf) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(e)),
        _ => {}
    }
    fs::write(leaf.join("cgroup.procs"), "0").map_err(failed)
}

/// Lets the cgroups below `cgroup` have exactly these controllers too.
fn pass_on(cgroup: &Path, controllers: impl IntoIterator<Item = Controller>) -> Result<(), Error> {
    let words: Vec<_> = controllers
        .into_iter()
        .map(|controller| format!("+{}", controller.name()))
        .collect();
    if words.is_empty() {
        return Ok(());
    }
    let file = cgroup.join("cgroup.subtree_control");
    let words = words.join(" ");
    fs::write(&file, &words).map_err(|e| Error::SetLimit(file, words, e))
}

fn set_all(cgroup: &Path, settings: &[Setting]) -> Result<(), Error> {
    settings.iter().try_for_each(|one| {
        let file = cgroup.join(one.file);
        fs::write(&file, &one.value).map_err(|e| Error::SetLimit(file, one.value.clone(), e))
    })
}

fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)
}

/// The caller has no cgroup of its own to make one in.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    matches!(
        error.kind(),
        NotFound | PermissionDenied | ReadOnlyFilesystem
    )
}

fn record(pod: &PodDir, path: &Path) -> io::Result<()> {
    let mut line = path.as_os_str().as_encoded_bytes().to_vec();
    line.push(b'\n');
    fs::write(pod.cgroup(), line)
}

/// The recorded cgroup of a pod, if it has one. A line that a crash has torn may name the cgroup of others: it must end with
/// the pod's own name.
pub(crate) fn recorded(pod: &PodDir, id: &PodId) -> Result<Option<PathBuf>, Error> {
    let line = match fs::read_to_string(pod.cgroup()) {
        Ok(line) => line,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::FindCgroup(e)),
    };
    let path = PathBuf::from(line.trim_end_matches('\n'));
    match path.is_absolute() && path.file_name() == Some(own_name(id).as_ref()) {
        true => Ok(Some(path)),
        false => {
            let why = "the pod's file 'cgroup' does not name one of this pod";
            Err(Error::FindCgroup(io::Error::new(
                io::ErrorKind::InvalidData,
                why,
            )))
        }
    }
}

/// What a dead pod has left of cgroups: the recorded one. When it is not known where that was, each with the pod's name.
pub(crate) fn left(pod: &PodDir, id: &PodId) -> Result<Vec<PathBuf>, Error> {
    match recorded(pod, id) {
        Err(Error::FindCgroup(e)) if e.kind() == io::ErrorKind::InvalidData => {
            facts::named(&own_name(id)).map_err(Error::FindCgroup)
        }
        other => Ok(other?.into_iter().collect()),
    }
}

/// The name of a pod's cgroup.
fn own_name(id: &PodId) -> String {
    format!("skua-{id}")
}

impl Cgroup {
    /// Its directory's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The way into the cgroup of each app, in manifest order; empty when the apps have none.
    pub(crate) fn app_procs(&self) -> &[OwnedFd] {
        self.by_app.as_ref().map_or(&[], |by_app| &by_app.procs)
    }

    /// Moves the inside, which has made the cgroup the root of its namespace, to a leaf, and sets the limits of apps: that
    /// can be done only when no process is in the pod's cgroup itself.
    fn set_apps(&self, inside: u32) -> Result<(), Error> {
        let Some(by_app) = &self.by_app else {
            return Ok(());
        };
        let settings = &by_app.settings;
        let procs = self.path.join(INIT).join("cgroup.procs");
        fs::write(&procs, inside.to_string())
            .map_err(|e| Error::SetLimit(procs, inside.to_string(), e))?;
        pass_on(&self.path, settings.app_controllers())?;
        settings
            .apps
            .iter()
            .try_for_each(|(app, settings)| set_all(&of_app(&self.path, app), settings))
    }

    /// Kills what is left in it and removes it.
    pub(crate) fn remove(self) -> Result<(), Error> {
        remove(&self.path)
    }
}

/// Kills what is left in a pod's cgroup and removes it. One that is gone already is as good.
pub(crate) fn remove(path: &Path) -> Result<(), Error> {
    let failed = |e| Error::RemoveCgroup(path.to_owned(), e);
    for attempt in 0..REMOVE_TRIES {
        match remove_tree(path) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                kill(path)?;
                if attempt > 0 {
                    std::thread::sleep(PAUSE);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => break,
            other => {
                other.map_err(failed)?;
                break;
            }
        }
        if attempt + 1 == REMOVE_TRIES {
            return Err(failed(io::ErrorKind::ResourceBusy.into()));
        }
    }
    // The leaf of a keeper that was killed. One with a living keeper is busy.
    let keepers = path.parent().map(|parent| parent.join(KEEPERS));
    let _ = keepers.map(fs::remove_dir);
    Ok(())
}

/// Divides the cgroup of a pod among its apps, if it is to be. Not before the inside has made it the root of its namespace.
pub(crate) fn divide(cgroup: Option<&Cgroup>, inside: u32) -> Result<(), Error> {
    cgroup.map_or(Ok(()), |cgroup| cgroup.set_apps(inside))
}

/// A killed process needs a moment to be gone; 200 times 10 ms.
const REMOVE_TRIES: usize = 200;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

/// Removes a cgroup and those below it, which have no process.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        // A cgroup with others below it is busy as one with processes is.
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {}
        other => return other,
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

/// Kills every process in a cgroup and below it, also one that is being born (`cgroup.kill`).
pub(crate) fn kill(path: &Path) -> Result<(), Error> {
    match fs::write(path.join("cgroup.kill"), "1") {
        Err(e) if e.kind() == io::ErrorKind::NotFound && !path.exists() => Ok(()),
        other => other.map_err(|e| Error::RemoveCgroup(path.to_owned(), e)),
    }
}
