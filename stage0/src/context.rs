//! What the global flags and the environment resolve to: directories, libexec, exceptions.

use std::cell::OnceCell;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use images::registries::Layers;
use images::small_file;
use images::store::Store;
use pod::policy::{self, Policy};
use pod::{DataDir, InsecureOption};

use crate::cli::Global;
use crate::error::{Error, ErrorFormat};
use crate::libexec::Libexec;

/// The vendor's configuration.
const VENDOR: &str = "/usr/lib/skua";
/// The administrator's configuration.
const ADMIN: &str = "/etc/skua";
/// The administrator's configuration of registries, for all tools that know it.
const CONTAINERS: &str = "/etc/containers";
/// The administrator's certificates for registries, as Docker has them.
const DOCKER_CERTIFICATES: &str = "/etc/docker/certs.d";
/// The data directory of root.
const SYSTEM_DATA: &str = "/var/lib/skua";

/// What every subcommand is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where images and pods are.
    pub(crate) data: DataDir,
    /// Who said so.
    pub(crate) data_origin: &'static Path,
    /// Directories of configuration, lowest precedence first; each may be missing.
    pub(crate) config_directories: Vec<PathBuf>,
    /// `--config-dir` was given.
    config_typed: bool,
    /// Directories of configuration that is shared with other tools, lowest precedence first; each may be missing.
    containers: Vec<PathBuf>,
    /// Where the stages are.
    pub(crate) libexec: Libexec,
    /// `--insecure-options`, sorted, without repetition.
    pub(crate) insecure: Vec<InsecureOption>,
    /// Log what is done.
    pub(crate) debug: bool,
    /// No progress, no notes.
    pub(crate) quiet: bool,
    /// How errors are printed, here and by the stages that follow.
    pub(crate) error_format: ErrorFormat,
    /// Read once, when first asked for.
    policy: OnceCell<Policy>,
}

impl Context {
    /// Resolves what was typed. Nothing is read from disk.
    pub(crate) fn new(global: Global) -> Result<Self, Error> {
        let root = nix::unistd::geteuid().is_root();
        let data = match &global.data_dir {
            Some(typed) => absolute(typed)?,
            None if root => PathBuf::from(SYSTEM_DATA),
            None => home("XDG_DATA_HOME", ".local/share")
                .ok_or(Error::Home)?
                .join("skua"),
        };
        let data_origin = match &global.data_dir {
            Some(_) => "command line",
            None if root => "built in",
            None => "environment",
        };
        let mut config_directories = vec![PathBuf::from(VENDOR)];
        let mut containers = Vec::new();
        match &global.config_dir {
            Some(typed) => {
                let typed = absolute(typed)?;
                containers.push(typed.join("containers"));
                config_directories.push(typed);
            }
            None => {
                config_directories.push(PathBuf::from(ADMIN));
                containers.push(PathBuf::from(CONTAINERS));
                if let Some(home) = home("XDG_CONFIG_HOME", ".config").filter(|_| !root) {
                    config_directories.push(home.join("skua"));
                    containers.push(home.join("containers"));
                }
            }
        }
        let mut insecure: Vec<InsecureOption> = global
            .insecure_options
            .into_iter()
            .map(Into::into)
            .collect();
        insecure.sort_unstable();
        insecure.dedup();
        Ok(Self {
            data: DataDir(data),
            data_origin: Path::new(data_origin),
            config_directories,
            config_typed: global.config_dir.is_some(),
            containers,
            libexec: Libexec::new(global.libexec_dir.as_deref().map(absolute).transpose()?),
            insecure,
            debug: global.debug,
            quiet: global.quiet,
            error_format: global.error_format,
            policy: OnceCell::new(),
        })
    }

    /// Whether `--insecure-options` names `option`.
    pub(crate) fn allows(&self, option: InsecureOption) -> bool {
        self.insecure.contains(&option)
    }

    /// The host's bounds, and the further ones of a user or of `--config-dir`.
    pub(crate) fn policy(&self) -> Result<&Policy, Error> {
        match self.policy.get() {
            Some(policy) => Ok(policy),
            None => {
                let policy = self.load_policy()?;
                Ok(self.policy.get_or_init(|| policy))
            }
        }
    }

    fn load_policy(&self) -> Result<Policy, Error> {
        let mut further = self.config_directories.clone();
        further.retain(|directory| {
            !policy::SYSTEM
                .iter()
                .any(|system| directory == Path::new(system))
        });
        let user = nix::unistd::geteuid().as_raw();
        Ok(Policy::of_host()?.tightened(&further, user)?)
    }

    /// The directory of `--config-dir` is there. With a slip of the pen no bound in it would count, no grace period, no trust.
    pub(crate) fn check_config(&self) -> Result<(), Error> {
        let Some(directory) = self.missing_config() else {
            return Ok(());
        };
        let found = fs::read_dir(directory).map(drop);
        found.map_err(|e| Error::ConfigDirectory(directory.to_owned(), e))
    }

    /// The data directory is ours: whoever else could write it would say what pods are, and what is in images that were verified.
    pub(crate) fn check_data(&self) -> Result<(), Error> {
        match small_file::check_directory(&self.data.0) {
            Err(e)
                if !matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Err(Error::DataDirectory(self.data.0.clone(), e))
            }
            _ => Ok(()),
        }
    }

    /// The directory of `--config-dir`, if there is none.
    pub(crate) fn missing_config(&self) -> Option<&Path> {
        let typed = self.config_directories.last().filter(|_| self.config_typed);
        typed.map(PathBuf::as_path).filter(|path| !path.is_dir())
    }

    /// No command makes an exception that the host's bounds do not allow.
    pub(crate) fn check_exceptions(&self) -> Result<(), Error> {
        match self.insecure.is_empty() {
            true => Ok(()),
            false => Ok(self.policy()?.check_insecure(&self.insecure)?),
        }
    }

    /// The image store. Trees of subordinate ids are removed from within the user namespace that has them.
    pub(crate) fn store(&self) -> Result<Store, Error> {
        let debug = self.debug;
        let remove = move |path: &Path| crate::worker::remove(path, debug);
        Ok(Store::with_remover(&self.data.store(), Box::new(remove))?)
    }

    /// The directories of a kind of configuration (`trust.d`, `net.d`), lowest precedence first.
    pub(crate) fn config(&self, kind: &str) -> Vec<PathBuf> {
        self.config_directories
            .iter()
            .map(|directory| directory.join(kind))
            .collect()
    }

    /// Where it is said where registries really are. `--config-dir` stands for the administrator's and the user's files here
    /// too.
    pub(crate) fn registries(&self) -> Layers {
        Layers {
            directories: self.containers.clone(),
            only: env::var_os("CONTAINERS_REGISTRIES_CONF")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        }
    }

    /// The directories with certificates for registries, most important first.
    pub(crate) fn certificates(&self) -> Vec<PathBuf> {
        let of_containers = self.containers.iter().rev();
        let mut directories: Vec<_> = of_containers.map(|path| path.join("certs.d")).collect();
        if !self.config_typed {
            directories.push(PathBuf::from(DOCKER_CERTIFICATES));
        }
        directories
    }

    /// Who named a directory of configuration.
    pub(crate) fn config_origin(&self, directory: &Path) -> &'static Path {
        Path::new(match directory {
            built_in if [VENDOR, ADMIN].iter().any(|at| built_in == Path::new(at)) => "built in",
            shared
                if shared.starts_with(CONTAINERS) || shared == Path::new(DOCKER_CERTIFICATES) =>
            {
                "built in"
            }
            _ if self.config_typed => "command line",
            _ => "environment",
        })
    }
}

/// `path` made absolute without looking at the disk.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|e| Error::Absolute(path.to_owned(), e))
}

/// The XDG directory `variable`, else `fallback` below `HOME`; values that are not absolute do not count.
fn home(variable: &str, fallback: &str) -> Option<PathBuf> {
    let directory = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    directory(variable).or_else(|| Some(directory("HOME")?.join(fallback)))
}
