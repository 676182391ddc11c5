//! Where skua's other programs are.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// The directory of the stages.
#[derive(Clone, Debug)]
pub(crate) struct Libexec {
    /// `--libexec-dir`, absolute.
    typed: Option<PathBuf>,
}

impl Libexec {
    /// The one that was typed, else that of this installation or build.
    pub(crate) fn new(typed: Option<PathBuf>) -> Self {
        Self { typed }
    }

    /// Whether the command line names it.
    pub(crate) fn is_typed(&self) -> bool {
        self.typed.is_some()
    }

    /// Who named it.
    pub(crate) fn origin(&self) -> &'static Path {
        Path::new(match self.typed {
            Some(_) => "command line",
            None => "beside skua",
        })
    }

    /// The program `name` in it, which need not be there.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf, Error> {
        match &self.typed {
            Some(directory) => Ok(directory.join(name)),
            None => own(name),
        }
    }
}

/// The program `name` of this installation or build, which need not be there.
pub(crate) fn own(name: &str) -> Result<PathBuf, Error> {
    let skua = env::current_exe().map_err(Error::OwnProgram)?;
    let beside = skua.parent().unwrap_or(Path::new("/"));
    let installed = beside.join("../libexec/skua").join(name);
    Ok(if installed.exists() {
        installed
    } else {
        beside.join(name)
    })
}
