//! `--volume` of a pod, `--mount` and `--volume` of an app.

use std::str::FromStr;

use pod::{HostVolume, VolumeName, VolumeOwner, VolumeSource};

use super::{Refused, bytes};

/// `--volume` of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VolumeArg {
    /// Its name.
    pub(crate) name: VolumeName,
    /// What it is.
    pub(crate) kind: VolumeKind,
}

/// What a volume is, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VolumeKind {
    /// What needs nothing to be looked up; the path of a host volume is as typed.
    Source(VolumeSource),
    /// The image of this name.
    Image(String),
}

impl FromStr for VolumeArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        if text.starts_with(['/', '.']) {
            return Err(
                "NAME,kind=… is a volume of the pod; SOURCE:TARGET, for one app, stands after its image"
                    .to_owned(),
            );
        }
        let (name, rest) = text.split_once(',').unwrap_or((text, ""));
        let name = VolumeName::parse(name).map_err(|e| e.to_string())?;
        let mut keys = Keys::parse(rest)?;
        let kind = keys
            .take("kind")
            .ok_or("kind=host, kind=empty, kind=tmpfs or kind=image is missing")?;
        keys.private()?;
        let source = match kind.as_str() {
            "image" => {
                let image = keys.take("source").ok_or("source=IMAGE is missing")?;
                if !keys.flag("readonly", true)? {
                    return Err("the files of an image cannot be written".to_owned());
                }
                keys.end(&kind)?;
                let kind = VolumeKind::Image(image);
                return Ok(Self { name, kind });
            }
            "host" => VolumeSource::Host(HostVolume {
                path: keys.take("source").ok_or("source=PATH is missing")?,
                read_only: keys.flag("readonly", false)?,
                recursive: keys.flag("recursive", true)?,
            }),
            "empty" => VolumeSource::Empty {
                mode: keys.mode()?,
                owner: keys.owner()?,
            },
            "tmpfs" => VolumeSource::Tmpfs {
                mode: keys.mode()?,
                owner: keys.owner()?,
                size: keys.take("size").map(|size| bytes(&size)).transpose()?,
            },
            other => return Err(format!("kind '{other}' is not host, empty, tmpfs or image")),
        };
        keys.end(&kind)?;
        let kind = VolumeKind::Source(source);
        Ok(Self { name, kind })
    }
}

/// `--mount` of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountArg {
    /// Which volume.
    pub(crate) volume: VolumeName,
    /// Where, as typed.
    pub(crate) target: String,
    /// Whether it is read-only for this app, if that was typed.
    pub(crate) read_only: Option<bool>,
    /// Nothing in it can be executed by this app.
    pub(crate) no_exec: bool,
}

impl FromStr for MountArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut keys = Keys::parse(text)?;
        let volume = keys.take("volume").ok_or(
            "volume=NAME is missing; a file or directory of the host is mounted with --volume SOURCE:TARGET",
        )?;
        let mount = Self {
            volume: VolumeName::parse(&volume).map_err(|e| e.to_string())?,
            target: keys.take("target").ok_or("target=PATH is missing")?,
            read_only: keys.typed("readonly")?,
            no_exec: keys.flag("noexec", false)?,
        };
        keys.private()?;
        keys.end("mount")?;
        Ok(mount)
    }
}

/// `--volume` of an app: a volume of the host that only this app mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindArg {
    /// Path on the host, as typed.
    pub(crate) source: String,
    /// Where, as typed.
    pub(crate) target: String,
    /// Read-only.
    pub(crate) read_only: bool,
    /// Nothing in it can be executed.
    pub(crate) no_exec: bool,
}

impl FromStr for BindArg {
    type Err = Refused;
    fn from_str(text: &str) -> Result<Self, Refused> {
        if text.contains(",kind=") {
            return Err(
                "a volume of the pod stands before the first image, and --mount volume=NAME,target=PATH after each that has it"
                    .to_owned(),
            );
        }
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, options) = match parts.as_slice() {
            [source, target] => (source, target, ""),
            [source, target, options] => (source, target, *options),
            _ => return Err("the form is SOURCE:TARGET[:ro,noexec]".to_owned()),
        };
        let (mut read_only, mut no_exec) = (None, false);
        for option in options.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" | "rw" if read_only.is_some_and(|ro| ro != (option == "ro")) => {
                    return Err("it cannot be both ro and rw".to_owned());
                }
                "ro" | "rw" => read_only = Some(option == "ro"),
                "noexec" => no_exec = true,
                // As it is anyway, however else it is written elsewhere.
                "nosuid" | "nodev" | "private" | "rprivate" => {}
                other => private(other)?,
            }
        }
        if !source.starts_with(['/', '.']) {
            return Err(format!(
                "'{source}' does not begin with '/' or '.'; a volume of the pod is mounted with --mount volume=NAME,target=PATH"
            ));
        }
        Ok(Self {
            source: (*source).to_owned(),
            target: (*target).to_owned(),
            read_only: read_only.unwrap_or(false),
            no_exec,
        })
    }
}

/// `KEY=VALUE,KEY=VALUE`; a key alone is `KEY=true`. Values have no commas.
struct Keys(Vec<(String, String)>);

impl Keys {
    fn parse(text: &str) -> Result<Self, Refused> {
        let mut keys: Vec<(String, String)> = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            if keys.iter().any(|(other, _)| other == key) {
                return Err(format!("'{key}' is given twice"));
            }
            keys.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self(keys))
    }

    fn take(&mut self, key: &str) -> Option<String> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.swap_remove(at).1)
    }

    fn flag(&mut self, key: &str, default: bool) -> Result<bool, Refused> {
        Ok(self.typed(key)?.unwrap_or(default))
    }

    fn typed(&mut self, key: &str) -> Result<Option<bool>, Refused> {
        match self.take(key).as_deref() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(format!("{key}='{other}' is neither true nor false")),
        }
    }

    /// `propagation=`, of which there is one.
    fn private(&mut self) -> Result<(), Refused> {
        match self.take("propagation").as_deref() {
            None | Some("private" | "rprivate") => Ok(()),
            Some(other) => private(other),
        }
    }

    fn mode(&mut self) -> Result<u32, Refused> {
        let Some(text) = self.take("mode") else {
            return Ok(0o755);
        };
        let octal = !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if octal && mode <= 0o1777 => Ok(mode),
            _ => Err(format!("mode='{text}' is not an octal number up to 1777")),
        }
    }

    fn owner(&mut self) -> Result<VolumeOwner, Refused> {
        let (uid, gid) = (self.id("uid")?, self.id("gid")?);
        Ok(VolumeOwner { uid, gid })
    }

    fn id(&mut self, key: &str) -> Result<u32, Refused> {
        let Some(text) = self.take(key) else {
            return Ok(0);
        };
        let decimal = text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u32>() {
            Ok(id) if decimal && id < 1 << 31 => Ok(id),
            _ => Err(format!(
                "{key}='{text}' is not an id, a number below 2147483648"
            )),
        }
    }

    fn end(self, of: &str) -> Result<(), Refused> {
        match self.0.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("'{key}' is not a key of {of}")),
        }
    }
}

/// An option of a mount that is none of ours.
fn private(option: &str) -> Result<(), Refused> {
    Err(match option {
        "shared" | "rshared" => {
            "nothing in a pod is ever mounted outside of it: 'shared' cannot be given".to_owned()
        }
        "slave" | "rslave" => {
            "a mount that appeared later would not be read-only, nosuid and nodev as the volume is: 'slave' cannot be given"
                .to_owned()
        }
        "z" | "Z" | "U" => {
            format!("skua changes neither labels nor owners of files of the host: '{option}' cannot be given")
        }
        other => format!("'{other}' is not ro, rw or noexec"),
    })
}
