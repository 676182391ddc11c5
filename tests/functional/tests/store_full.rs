//! Stores on disks that are full, out of inodes, or read-only.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};

use functional::{
    Built, Env, Image, Layer, Registry, User, difference, mount_data, private_mounts,
    store_snapshot,
};
use nix::mount::{MsFlags, mount, umount};
use nix::sys::signal::Signal;

const INSECURE: &str = "--insecure-options=image";

/// Runs `test` in a thread whose mounts nobody else sees.
fn apart(name: &str, test: impl FnOnce(User) + Send) {
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            if let Some(root) = private_mounts(name) {
                test(root);
            }
        });
        if let Err(panic) = ended.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn image() -> Built {
    let mut many = Layer::new().directory("many");
    for at in 0..40 {
        many = many.file(&format!("many/{at}"), 0o644, vec![at as u8; 3000]);
    }
    Image::inspect()
        .layer(Layer::new().file("large", 0o644, vec![9; 1_500_000]))
        .layer(many)
        .build()
}

fn remount(env: &Env, options: &str) {
    let none = None::<&str>;
    mount(none, &env.data(), none, MsFlags::MS_REMOUNT, Some(options)).expect("remount");
}

fn fill(env: &Env) {
    let mut file = File::create(env.data().join("filler")).expect("a file");
    let chunk = vec![0; 65536];
    loop {
        match file.write(&chunk) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::StorageFull => return,
            Err(e) => panic!("fill the disk: {e}"),
        }
    }
}

/// Fetches with more and more of something, until it is enough: every failure is clean.
fn stepped(user: User, option: &str, steps: impl Iterator<Item = u64>) {
    let registry = Registry::start();
    let small = registry.push("small", "1", &Image::inspect().build());
    let name = registry.push("i", "1", &image());
    let env = Env::new(user);
    mount_data(&env, "size=64m,nr_inodes=10000");
    env.skua(&[INSECURE, "fetch", &small]).success();
    let before = store_snapshot(&env);
    let used = match option {
        "size" => nix::sys::statvfs::statvfs(&env.data())
            .map(|s| (s.blocks() - s.blocks_free()) * s.fragment_size() / 1024),
        _ => nix::sys::statvfs::statvfs(&env.data()).map(|s| s.files() - s.files_free()),
    };
    let used = used.expect("statvfs");
    for (failures, step) in steps.enumerate() {
        let unit = if option == "size" { "k" } else { "" };
        remount(&env, &format!("{option}={}{unit}", used + step));
        let run = env.skua(&[INSECURE, "fetch", &name]);
        if run.code() == Some(0) {
            assert!(failures > 3, "only {failures} failures\n{}", run.report());
            remount(&env, "size=64m,nr_inodes=10000");
            env.skua(&[INSECURE, "run", &name, "--", "exit", "7"])
                .exits(7);
            umount(&env.data()).expect("unmount");
            return;
        }
        run.fails(&["space"]);
        env.skua(&["image", "gc"]).success();
        let mut after = store_snapshot(&env);
        // What was downloaded is kept to continue with.
        after.retain(|path, _| !path.starts_with("inbox/"));
        let mut before = before.clone();
        before.retain(|path, _| !path.starts_with("inbox/"));
        let refs = |path: &str| path == "refs" || path.starts_with("refs/");
        after.retain(|path, what| !refs(path) || !what.starts_with("directory"));
        before.retain(|path, what| !refs(path) || !what.starts_with("directory"));
        assert!(
            after == before,
            "at {step}: {:#?}",
            difference(&before, &after)
        );
        let listed = env.skua(&["image", "list"]).success();
        assert!(!listed.stdout.contains("incomplete"), "{}", listed.report());
    }
    panic!("it never was enough");
}

#[test]
fn privileged_a_disk_that_is_full_at_any_moment_of_a_fetch_is_an_error_and_no_half_image() {
    for user in [User::Caller, User::Subordinate] {
        apart("a_disk_that_is_full", |_| {
            stepped(user, "size", (0..40).map(|at| at * at * 16));
        });
    }
}

#[test]
fn privileged_a_disk_without_inodes_at_any_moment_of_a_fetch_is_an_error_and_no_half_image() {
    for user in [User::Caller, User::Subordinate] {
        apart("a_disk_without_inodes", |_| {
            stepped(user, "nr_inodes", (0..40).map(|at| at * (at + 1) / 2));
        });
    }
}

#[test]
fn privileged_collections_work_with_no_byte_free() {
    for user in [User::Caller, User::Subordinate] {
        apart("with_no_byte_free", |_| {
            let registry = Registry::start();
            let kept = registry.push("kept", "1", &Image::inspect().build());
            let other = registry.push("i", "1", &image());
            let env = Env::new(user);
            mount_data(&env, "size=64m,nr_inodes=10000");
            for name in [&kept, &other] {
                env.skua(&[INSECURE, "fetch", name]).success();
            }
            env.skua(&[INSECURE, "run", &kept, "--", "exit", "7"])
                .exits(7);
            let mut pod = env.spawn(&[INSECURE, "run", &kept, "--", "sleep", "600"]);
            running(&env, &mut pod);
            fill(&env);
            // The keeper is killed, and nothing can be written about it.
            pod.signal(Signal::SIGKILL);
            drop(pod);
            env.skua(&["gc", "--grace-period=1h"]).success();
            env.skua(&["gc", "--grace-period=0"]).success();
            for state in ["run", "exited-garbage", "garbage"] {
                let left = fs::read_dir(env.data().join("pods").join(state)).unwrap();
                assert_eq!(left.count(), 0, "{state} as {user:?}");
            }
            fill(&env);
            env.skua(&["image", "rm", &other]).success();
            env.skua(&["image", "gc"]).success();
            env.skua(&[INSECURE, "run", &kept, "--", "exit", "7"])
                .exits(7);
            umount(&env.data()).expect("unmount");
        });
    }
}

fn running(env: &Env, pod: &mut functional::Background) {
    functional::eventually("the pod runs", || {
        assert!(pod.is_running(), "{}", pod.errors());
        let pods = fs::read_dir(env.data().join("pods/run"));
        pods.into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.path().join("pid").exists())
    });
}

#[test]
fn privileged_pods_run_from_a_store_on_a_read_only_mount() {
    for user in User::all() {
        apart("a_read_only_mount", |_| {
            let registry = Registry::start();
            let name = registry.push("i", "1", &image());
            let env = Env::new(user);
            env.skua(&[INSECURE, "fetch", &name]).success();
            let (store, none) = (env.data().join("store"), None::<&str>);
            mount(Some(&store), &store, none, MsFlags::MS_BIND, none).expect("bind");
            let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
            mount(none, &store, none, flags, none).expect("read-only");
            env.skua(&[INSECURE, "run", &name, "--", "exit", "7"])
                .exits(7);
            let listed = env.skua(&["image", "list"]).success();
            assert!(listed.stdout.contains(&name), "{}", listed.report());
            env.skua(&[INSECURE, "fetch", &registry.name("none:1")])
                .fails(&["none:1"]);
            let other = registry.push("other", "1", &Image::inspect().build());
            env.skua(&[INSECURE, "fetch", &other])
                .fails(&["Read-only file system"]);
            env.skua(&["gc", "--grace-period=0"]).success();
            umount(&store).expect("unmount");
        });
    }
}
