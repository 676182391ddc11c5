//! Volumes of the pod and their places in the apps.

use std::path::{Component, Path};

use pod::{HostVolume, Mount, Volume, VolumeName, VolumeOwner, VolumeSource};

use super::Wanted;
use crate::error::Error;
use crate::run_line::AppFlags;
use crate::typed::{VolumeArg, VolumeKind};

/// Directories of an app that are the pod's own: nothing is mounted on or below them.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Permission bits of a volume that an image asks for: its user may be any.
const IMAGE_VOLUME_MODE: u32 = 0o1777;

/// The volumes of a pod while its apps are made.
pub(super) struct Volumes {
    volumes: Vec<Volume>,
    mounted: Vec<bool>,
}

impl Volumes {
    /// Those of the pod's flags.
    pub(super) fn declared(
        typed: &[VolumeArg],
        images: Vec<(pod::Image, Vec<pod::Layer>)>,
        directory: &Path,
    ) -> Result<Self, Error> {
        let mut images = images.into_iter();
        let mut volumes: Vec<Volume> = Vec::new();
        for VolumeArg { name, kind } in typed {
            if volumes.iter().any(|other| other.name == *name) {
                return Err(Error::usage(
                    format!("two volumes are named '{name}'"),
                    None,
                ));
            }
            let source = match kind {
                VolumeKind::Source(VolumeSource::Host(host)) => VolumeSource::Host(HostVolume {
                    path: host_path("--volume", &host.path, directory)?,
                    ..host.clone()
                }),
                VolumeKind::Source(source) => source.clone(),
                VolumeKind::Image(name) => match images.next() {
                    Some((image, layers)) => VolumeSource::Image { image, layers },
                    None => return Err(Error::NotInStore(name.clone())),
                },
            };
            volumes.push(Volume {
                name: name.clone(),
                source,
            });
        }
        let mounted = vec![false; volumes.len()];
        Ok(Self { volumes, mounted })
    }

    /// The mounts of one app, parents before children. Volumes that only it has are added to the pod's.
    pub(super) fn mounts_of(
        &mut self,
        wanted: &Wanted,
        directory: &Path,
    ) -> Result<Vec<Mount>, Error> {
        let flags = &wanted.line.flags;
        let mut mounts: Vec<Mount> = Vec::new();
        for typed in &flags.mount {
            let path = target(&typed.target)?;
            mounts.push(self.mount(&typed.volume, path, typed.read_only, typed.no_exec)?);
        }
        for typed in &flags.volume {
            let source = VolumeSource::Host(HostVolume {
                path: host_path("--volume", &typed.source, directory)?,
                read_only: typed.read_only,
                recursive: true,
            });
            let name = self.add("bind", source)?;
            let path = target(&typed.target)?;
            mounts.push(self.mount(&name, path, Some(typed.read_only), typed.no_exec)?);
        }
        if flags.readonly_rootfs {
            self.image_volumes(wanted, &mut mounts)?;
        }
        mounts.sort_by(|a, b| Path::new(&a.path).cmp(Path::new(&b.path)));
        match mounts.windows(2).find(|pair| pair[0].path == pair[1].path) {
            Some(pair) => Err(Error::usage(
                format!("two volumes are mounted on {}", pair[0].path),
                None,
            )),
            None => Ok(mounts),
        }
    }

    /// Every path that the image calls a volume stays writable below a read-only root. A writable root needs nothing:
    /// it is the pod's own, begins with the image's content and goes with the pod.
    fn image_volumes(&mut self, wanted: &Wanted, mounts: &mut Vec<Mount>) -> Result<(), Error> {
        let config = wanted.config.config().as_ref();
        let paths = config.and_then(|c| c.volumes().clone()).unwrap_or_default();
        for path in paths {
            let path = in_root(&path).map_err(|form| Error::ImageConfig {
                image: wanted.image.reference.clone(),
                field: "Volumes",
                value: path.clone(),
                form,
            })?;
            if mounts.iter().all(|mount| mount.path != path) {
                let name = self.add(
                    "image",
                    VolumeSource::Empty {
                        mode: IMAGE_VOLUME_MODE,
                        owner: VolumeOwner::default(),
                    },
                )?;
                mounts.push(self.mount(&name, path, None, false)?);
            }
        }
        Ok(())
    }

    /// All volumes; one that no app mounts was typed in error.
    pub(super) fn used(self) -> Result<Vec<Volume>, Error> {
        let unused = self.mounted.iter().position(|mounted| !mounted);
        match unused.and_then(|at| self.volumes.get(at)) {
            Some(volume) => {
                let name = &volume.name;
                let hint = format!("after an image, --mount volume={name},target=PATH");
                Err(Error::usage(
                    format!("no app mounts volume '{name}'"),
                    Some(&hint),
                ))
            }
            None => Ok(self.volumes),
        }
    }

    fn mount(
        &mut self,
        volume: &VolumeName,
        path: String,
        read_only: Option<bool>,
        no_exec: bool,
    ) -> Result<Mount, Error> {
        let Some(at) = self.volumes.iter().position(|other| other.name == *volume) else {
            let hint =
                format!("before the first image, --volume {volume},kind=host|empty|tmpfs|image,…");
            return Err(Error::usage(
                format!("the pod has no volume '{volume}'"),
                Some(&hint),
            ));
        };
        self.mounted[at] = true;
        let whole = match &self.volumes[at].source {
            VolumeSource::Host(host) => host.read_only,
            VolumeSource::Image { .. } => true,
            VolumeSource::Empty { .. } | VolumeSource::Tmpfs { .. } => false,
        };
        if whole && read_only == Some(false) {
            return Err(Error::usage(
                format!("{path} cannot be writable: volume '{volume}' is read-only"),
                Some("leave readonly=false out"),
            ));
        }
        Ok(Mount {
            volume: volume.clone(),
            path,
            read_only: whole || read_only == Some(true),
            no_exec,
        })
    }

    /// Adds a volume that the command line does not name.
    fn add(&mut self, kind: &str, source: VolumeSource) -> Result<VolumeName, Error> {
        let mut number = self.volumes.len() + 1;
        let name = loop {
            let name = VolumeName::parse(&format!("{kind}-{number}"))?;
            if self.volumes.iter().all(|other| other.name != name) {
                break name;
            }
            number += 1;
        };
        self.volumes.push(Volume {
            name: name.clone(),
            source,
        });
        self.mounted.push(false);
        Ok(name)
    }
}

/// Whether the command line asks for a mount on `path`.
pub(super) fn is_typed(flags: &AppFlags, path: &str) -> bool {
    let mounts = flags.mount.iter().map(|mount| &mount.target);
    let binds = flags.volume.iter().map(|bind| &bind.target);
    mounts
        .chain(binds)
        .any(|typed| in_root(typed).is_ok_and(|clean| clean == path))
}

/// A path of the host as typed, made absolute.
pub(super) fn host_path(flag: &str, typed: &str, directory: &Path) -> Result<String, Error> {
    let absolute = directory.join(typed);
    match absolute.to_str() {
        Some(path) if !typed.is_empty() && absolute.is_absolute() => Ok(path.to_owned()),
        Some(path) if !typed.is_empty() => Err(Error::usage(
            format!("{flag}: '{path}' is relative to a working directory that is gone"),
            None,
        )),
        Some(_) => Err(Error::usage(
            format!("{flag}: the path of the host is empty"),
            None,
        )),
        None => Err(Error::usage(
            format!("{flag}: '{}' is not UTF-8", absolute.display()),
            None,
        )),
    }
}

fn target(typed: &str) -> Result<String, Error> {
    in_root(typed)
        .map_err(|form| Error::usage(format!("mount target '{typed}' is not {form}"), None))
}

/// `path` inside an app's root without `.` and doubled slashes, or the form that it should have had.
fn in_root(path: &str) -> Result<String, &'static str> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err("an absolute path");
    }
    let mut clean = String::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => {
                clean.push('/');
                clean.push_str(name.to_str().unwrap_or_default());
            }
            Component::ParentDir => return Err("a path without '..'"),
            _ => {}
        }
    }
    let reserved = RESERVED
        .iter()
        .any(|root| Path::new(&clean).starts_with(root));
    match clean.as_str() {
        "" => Err("below the root"),
        _ if reserved => Err("outside /proc, /sys and /dev, which are the pod's own"),
        _ => Ok(clean),
    }
}
