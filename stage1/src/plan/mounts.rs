//! Volumes: what is staged once for the pod, and what each app mounts of it.

use pod::{
    AppFile, IdMap, IdMapChoice, PodManifest, Volume, VolumeCheck, VolumeOwner, VolumeSource,
};

use super::app::target;
use super::{Plan, Role, tmpfs};
use crate::error::Error;
use crate::op::{App, Find, Op, Origin, Source};

/// An empty staging directory: overlayfs wants two layers where nothing can be written.
const EMPTY: &str = "empty";

/// Adds the volumes that are mounts of their own, shared by apps.
pub(super) fn stage(plan: &mut Plan, manifest: &PodManifest) {
    for volume in &manifest.volumes {
        let at = staged(volume.name.as_str());
        match &volume.source {
            VolumeSource::Host(_) => {}
            VolumeSource::Empty { owner, .. } => {
                let origin = manifest.origins.of_element("volumes", volume.name.as_str());
                let path = format!("volumes/{}", volume.name);
                let tree = plan.tree_of(origin, path, Role::Own, false);
                plan.stage_tree(origin, tree, at.clone());
                if let Some(VolumeOwner { uid, gid }) = given(manifest, *owner) {
                    plan.add(origin, Op::SetOwner { at, uid, gid });
                }
            }
            VolumeSource::Tmpfs { mode, size, owner } => {
                let mut mount = tmpfs(&format!("{mode:o}"), *size);
                if let Some(VolumeOwner { uid, gid }) = given(manifest, *owner) {
                    let ids = [("uid", uid.to_string()), ("gid", gid.to_string())];
                    mount.options.extend(ids);
                }
                plan.stage_mount(Origin::CommandLine, at, mount);
            }
            VolumeSource::Image { layers, .. } => {
                let mut lower = Vec::new();
                for layer in layers {
                    let at = format!("l{}", plan.trees.len());
                    let origin = Origin::CommandLine;
                    let tree = plan.tree_of(origin, &layer.path, Role::Layer, true);
                    plan.stage_tree(Origin::CommandLine, tree, at.clone());
                    lower.insert(0, at);
                }
                lower.push(EMPTY.to_owned());
                plan.add(Origin::CommandLine, Op::StageDirectory(at.clone()));
                plan.add(Origin::CommandLine, Op::StageImage { lower, at });
            }
        }
    }
}

/// To whom a volume is given. In a pod of one id everything belongs to whoever looks.
fn given(manifest: &PodManifest, owner: VolumeOwner) -> Option<VolumeOwner> {
    let one_id = matches!(manifest.id_map, IdMapChoice::Single { .. });
    (!one_id && !owner.is_root()).then_some(owner)
}

/// Whoever a volume is given to must be in the id map.
pub(super) fn check_owners(manifest: &PodManifest, id_map: &IdMap) -> Result<(), Error> {
    for Volume { name, source } in &manifest.volumes {
        let (VolumeSource::Empty { owner, .. } | VolumeSource::Tmpfs { owner, .. }) = source else {
            continue;
        };
        let Some(VolumeOwner { uid, gid }) = given(manifest, *owner) else {
            continue;
        };
        for (what, id, extents) in [("user", uid, &id_map.uids), ("group", gid, &id_map.gids)] {
            if extents.iter().all(|extent| extent.host_of(id).is_none()) {
                return Err(Error::VolumeOwner(name.clone(), what, id));
            }
        }
    }
    Ok(())
}

fn staged(name: &str) -> String {
    format!("v-{name}")
}

/// Adds the volumes of one app, and what stage2 must find of them.
pub(super) fn add(
    plan: &mut Plan,
    manifest: &PodManifest,
    app: &pod::App,
    place: &App,
    file: &mut AppFile,
) -> Result<(), Error> {
    for mount in &app.mounts {
        let volume = manifest
            .volumes
            .iter()
            .find(|volume| volume.name == mount.volume);
        let volume =
            volume.ok_or_else(|| Error::NoVolume(app.name.clone(), mount.volume.clone()))?;
        let origin = app.origins.of_element("mounts", &mount.path);
        let tree = |plan: &mut Plan, path: &str, role, read_only, recursive| {
            let tree = plan.tree_of(origin, path, role, read_only);
            plan.trees[tree].recursive = recursive;
            plan.trees[tree].no_exec = mount.no_exec;
            Source::Tree(tree)
        };
        let staged = |read_only| Source::Staged {
            path: staged(volume.name.as_str()),
            read_only,
            no_exec: mount.no_exec,
        };
        let (source, read_only) = match &volume.source {
            VolumeSource::Host(host) => {
                let read_only = host.read_only || mount.read_only;
                let role = Role::HostVolume;
                let source = tree(plan, &host.path, role, read_only, host.recursive);
                (source, read_only)
            }
            VolumeSource::Empty { .. } | VolumeSource::Tmpfs { .. } => {
                (staged(mount.read_only), mount.read_only)
            }
            VolumeSource::Image { .. } => (staged(true), true),
        };
        let target = target(place, &mount.path, Find::Resolved);
        plan.add(origin, Op::Mount { source, target });
        file.volumes.push(VolumeCheck {
            path: mount.path.clone(),
            read_only,
            no_exec: mount.no_exec,
            of_host: matches!(volume.source, VolumeSource::Host(_)),
        });
    }
    Ok(())
}
