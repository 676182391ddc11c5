//! `config.toml` of each configuration directory: defaults for flags, and where CNI plugins are. Later directories win
//! key by key.
//!
//! ```toml
//! net = "default"                  # --net
//! stop-timeout = "30s"             # --stop-timeout
//! grace-period = "1h"              # gc --grace-period
//! expire-prepared = "1d"           # gc --expire-prepared
//! keep-blobs = true                # fetch --keep-blobs
//! cni-path = ["/opt/cni/bin"]      # unless CNI_PATH is set
//!
//! [image-limits]                   # a larger image is not fetched
//! manifest = "4MiB"                # bytes of a manifest or index
//! config = "8MiB"
//! json-depth = 64                  # objects and arrays inside each other
//! layers = 128
//! entries = 1000000                # files, directories and links of all layers
//! unpacked = "64GiB"               # bytes of all layers
//! path = 4096                      # bytes of a path in a layer
//! depth = 256                      # components of a path in a layer
//! ```

mod limits;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use images::small_file::{self, By};
use images::trust::TomlError;
use pod::Origins;
use serde::Deserialize;

use crate::error::Error;
use crate::run_line::PodFlags;
use crate::typed::{NetworkArg, Seconds};
pub(crate) use limits::ImageLimits;

/// The most bytes that a `config.toml` may have.
const MAX_SETTINGS: usize = 1 << 20;
/// Where plugins are when nobody says.
const CNI_PATH: [&str; 2] = ["/opt/cni/bin", "/usr/lib/cni"];

/// A value and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Origin<T> {
    /// The value in force.
    pub(crate) value: T,
    /// The file or variable that says so; absent: built in.
    pub(crate) from: Option<PathBuf>,
}

impl<T> Origin<T> {
    fn built_in(value: T) -> Self {
        Self { value, from: None }
    }

    /// Takes what the file at `path` says, if it says something.
    fn replace(&mut self, written: Option<T>, path: &Path) {
        if let Some(value) = written {
            *self = Self {
                value,
                from: Some(path.to_owned()),
            };
        }
    }
}

/// The settings in force.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `--net`.
    pub(crate) net: Origin<NetworkArg>,
    /// `--stop-timeout`.
    pub(crate) stop_timeout: Origin<Seconds>,
    /// `gc --grace-period`.
    pub(crate) grace_period: Origin<Seconds>,
    /// `gc --expire-prepared`.
    pub(crate) expire_prepared: Origin<Seconds>,
    /// `fetch --keep-blobs`.
    pub(crate) keep_blobs: Origin<bool>,
    /// Directories of CNI plugins.
    pub(crate) cni_path: Origin<Vec<PathBuf>>,
    /// What an image may be.
    pub(crate) image_limits: ImageLimits,
}

/// One file, as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    net: Option<Parsed<NetworkArg>>,
    stop_timeout: Option<Parsed<Seconds>>,
    grace_period: Option<Parsed<Seconds>>,
    expire_prepared: Option<Parsed<Seconds>>,
    keep_blobs: Option<bool>,
    cni_path: Option<Vec<PathBuf>>,
    #[serde(default)]
    image_limits: limits::Written,
}

/// A value with the syntax that it has on the command line.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String", bound = "T: FromStr, T::Err: fmt::Display")]
struct Parsed<T>(T);

impl<T: FromStr> TryFrom<String> for Parsed<T> {
    type Error = T::Err;
    fn try_from(text: String) -> Result<Self, T::Err> {
        text.parse().map(Self)
    }
}

impl Settings {
    /// Reads `config.toml` of every directory, lowest precedence first; missing ones do not count.
    pub(crate) fn load(directories: &[PathBuf]) -> Result<Self, Error> {
        let mut settings = Self {
            net: Origin::built_in(NetworkArg::None),
            stop_timeout: Origin::built_in(Seconds(10)),
            grace_period: Origin::built_in(Seconds(30 * 60)),
            expire_prepared: Origin::built_in(Seconds(7 * 24 * 3600)),
            keep_blobs: Origin::built_in(false),
            cni_path: Origin::built_in(CNI_PATH.map(PathBuf::from).to_vec()),
            image_limits: ImageLimits::default(),
        };
        for directory in directories {
            let path = directory.join("config.toml");
            if let Some(text) = read(&path)? {
                let written = toml::from_str(&text)
                    .map_err(|e| Error::Settings(path.clone(), TomlError::new(&e, &text).into()))?;
                settings.apply(written, &path)?;
            }
        }
        if let Some(path) = std::env::var_os("CNI_PATH").filter(|path| !path.is_empty()) {
            let (value, from) = (
                std::env::split_paths(&path).collect::<Vec<_>>(),
                PathBuf::from("$CNI_PATH"),
            );
            if value.iter().any(|directory| !directory.is_absolute()) {
                return Err(Error::Settings(from, "it has a relative path".into()));
            }
            settings.cni_path = Origin {
                value,
                from: Some(from),
            };
        }
        Ok(settings)
    }

    /// Who decides on what a command line may leave to the configuration.
    pub(crate) fn origins(&self, flags: &PodFlags) -> Origins {
        let mut origins = Origins::default();
        let fields = [
            ("network", flags.net.is_some(), self.net.from.is_some()),
            (
                "stop_timeout",
                flags.stop_timeout.is_some(),
                self.stop_timeout.from.is_some(),
            ),
        ];
        for (field, typed, configured) in fields {
            match (typed, configured) {
                (true, _) => origins.set(field, pod::Origin::CommandLine),
                (false, true) => origins.set(field, pod::Origin::HostPolicy),
                (false, false) => {}
            }
        }
        origins
    }

    fn apply(&mut self, written: Written, path: &Path) -> Result<(), Error> {
        self.image_limits
            .apply(&written.image_limits, path)
            .map_err(|e| Error::Settings(path.to_owned(), e.into()))?;
        let relative = |directories: &Vec<PathBuf>| directories.iter().any(|d| !d.is_absolute());
        if written.cni_path.as_ref().is_some_and(relative) {
            return Err(Error::Settings(
                path.to_owned(),
                "cni-path has a relative path".into(),
            ));
        }
        self.net.replace(written.net.map(|it| it.0), path);
        let spans = [
            (&mut self.stop_timeout, written.stop_timeout),
            (&mut self.grace_period, written.grace_period),
            (&mut self.expire_prepared, written.expire_prepared),
        ];
        for (setting, written) in spans {
            setting.replace(written.map(|it| it.0), path);
        }
        self.keep_blobs.replace(written.keep_blobs, path);
        self.cni_path.replace(written.cni_path, path);
        Ok(())
    }
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    let refuse = |e: io::Error| Error::Settings(path.to_owned(), e.into());
    let bytes = small_file::read(path, MAX_SETTINGS, By::Trusted).map_err(refuse)?;
    let text = bytes.map(String::from_utf8).transpose();
    text.map_err(|e| Error::Settings(path.to_owned(), e.into()))
}
