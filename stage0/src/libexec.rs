//! Where skua's other programs are.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Where the programs of an installation or build are.
pub(crate) const BESIDE: &str = "beside skua";

/// Who says where a program is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Named {
    /// `--stage1`.
    Stage1,
    /// `--libexec-dir`.
    Libexec,
    /// Nobody: it is where this installation or build has it.
    Installation,
}

impl Named {
    /// What to do about a program that cannot be executed.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Stage1 => "--stage1 names it: without that flag, skua's own is executed",
            Self::Libexec => {
                "--libexec-dir names the directory: without that flag, the stages of this installation are executed"
            }
            Self::Installation => "name the directory of the stages with --libexec-dir",
        }
    }
}

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

    /// Who says where it is.
    pub(crate) fn named(&self) -> Named {
        match self.typed {
            Some(_) => Named::Libexec,
            None => Named::Installation,
        }
    }

    /// Who named it.
    pub(crate) fn origin(&self) -> &'static Path {
        Path::new(match self.typed {
            Some(_) => "command line",
            None => BESIDE,
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
