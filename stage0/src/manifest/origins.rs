//! Who asked for what: recorded beside the values, for `skua explain`.

use pod::{App, InsecureOption, Origin, Origins};

use super::app::Said;
use super::mounts;
use crate::run_line::{AppFlags, PodFlags};

/// The mask of an app for which none was asked.
const DEFAULT_UMASK: u32 = 0o022;

/// Of the fields of a pod. `looked_up` has those that may come from the host's configuration.
pub(super) fn of_pod(flags: &PodFlags, apps: &[App], looked_up: Origins) -> Origins {
    let mut origins = looked_up;
    if flags.hostname.is_some() || flags.name.is_some() {
        origins.set("hostname", Origin::CommandLine);
    }
    if flags.shm_size.is_some() {
        origins.set("shm_size", Origin::CommandLine);
    }
    for app in apps {
        for mount in &app.mounts {
            let origin = app.origins.of_element("mounts", &mount.path);
            origins.set_element("volumes", mount.volume.as_str(), origin);
        }
    }
    origins
}

/// Of the fields of an app.
pub(super) fn of_app(
    flags: &AppFlags,
    said: &Said,
    arguments: bool,
    app: &App,
    insecure: &[InsecureOption],
) -> Origins {
    let mut origins = Origins::default();
    let mut set = |field: &str, typed: bool, by_image: bool| {
        if typed || by_image {
            let origin = match typed {
                true => Origin::CommandLine,
                false => Origin::Image,
            };
            origins.set(field, origin);
        }
    };
    let changed = [&flags.cap_retain, &flags.cap_remove, &flags.cap_add];
    let capabilities = changed.iter().any(|list| !list.is_empty())
        || insecure.contains(&InsecureOption::Capabilities);
    set("argv", flags.exec.is_some() || arguments, true);
    set("user", flags.user.is_some(), !said.user.is_empty());
    let image_group = flags.user.is_none() && app.group.is_some();
    let typed_group = flags.group.is_some() || app.group.is_some() && !image_group;
    set("group", typed_group, image_group);
    let directory = !said.working_directory.is_empty();
    set("working_directory", flags.working_dir.is_some(), directory);
    let signal = said.stop_signal.is_some();
    set("stop_signal", flags.stop_signal.is_some(), signal);
    let groups = !flags.supplementary_groups.is_empty();
    set("supplementary_groups", groups, false);
    set("readonly_rootfs", flags.readonly_rootfs, false);
    set("capabilities", capabilities, false);
    set("ambient", flags.ambient, false);
    set("no_new_privileges", !flags.no_new_privileges, false);
    set("seccomp", app.seccomp != pod::SeccompChoice::Default, false);
    set("rlimits", !flags.rlimit.is_empty(), false);
    set("sockets", !flags.socket.is_empty(), false);
    set("credentials", !flags.credential.is_empty(), false);
    set("umask", app.process.umask != DEFAULT_UMASK, false);
    set("nice", flags.nice.is_some(), false);
    set("oom_score_adj", flags.oom_score_adj.is_some(), false);
    set("apparmor", flags.apparmor.is_some(), false);
    set("selinux", flags.selinux_label.is_some(), false);
    set("notify", flags.notify, false);
    elements(&mut origins, flags, said, app);
    origins
}

fn elements(origins: &mut Origins, flags: &AppFlags, said: &Said, app: &App) {
    for (name, _) in &said.environment {
        origins.set_element("environment", name, Origin::Image);
    }
    if !flags.credential.is_empty() {
        let name = pod::CREDENTIALS_DIRECTORY;
        origins.set_element("environment", name, Origin::CommandLine);
    }
    for typed in &flags.environment {
        origins.set_element("environment", &typed.name, Origin::CommandLine);
    }
    for mount in &app.mounts {
        let origin = match mounts::is_typed(flags, &mount.path) {
            true => Origin::CommandLine,
            false => Origin::Image,
        };
        origins.set_element("mounts", &mount.path, origin);
    }
}
