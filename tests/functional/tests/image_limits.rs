//! The limits of `[image-limits]` on what all layers of an image unpack to hold while they are unpacked side by side.

use std::fs;

use functional::registry::{Action, Fault};
use functional::{
    Built, Env, Image, Layer, Registry, User, eventually, mount_data, private_mounts,
};
use nix::sys::signal::Signal;

const INSECURE: &str = "--insecure-options=image";

fn settings(env: &Env, limits: &str) {
    let config = env.config().join("config.toml");
    fs::write(&config, format!("[image-limits]\n{limits}\n")).unwrap();
    env.give(&config);
}

/// Four layers, each of so many files of so many bytes, which compress to next to nothing.
fn of_bytes(files: usize, each: usize) -> Built {
    (0..4)
        .fold(Image::new(), |image, layer| {
            let zeros = (0..files).fold(Layer::new(), |zeros, at| {
                zeros.file(&format!("zeros{layer}-{at}"), 0o644, vec![0; each])
            });
            image.layer(zeros)
        })
        .build()
}

/// Four layers, each of so many links.
fn of_entries(each: usize) -> Built {
    (0..4)
        .fold(Image::new(), |image, layer| {
            let links = (0..each).fold(Layer::new(), |links, at| {
                links.symlink(&format!("l{layer}-{at}"), "x")
            });
            image.layer(links)
        })
        .build()
}

fn parts(env: &Env) -> Vec<String> {
    let inbox = fs::read_dir(env.data().join("store/inbox")).unwrap();
    let names = inbox.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.contains(".part") || name.contains(".etag"))
        .collect()
}

/// A layer that is kept while it comes, with its last entry in the last bytes.
fn large() -> Built {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(3 << 20);
    while bytes.len() < 3 << 20 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        bytes.extend(state.to_be_bytes());
    }
    let layer = Layer::new().file("big", 0o644, bytes);
    let layer = (0..20).fold(layer, |layer, at| layer.symlink(&format!("l{at}"), "x"));
    Image::new().layer(layer).build()
}

#[test]
fn what_came_of_a_refused_layer_does_not_stay() {
    let registry = Registry::start();
    let name = registry.push("i", "1", &large());
    let env = Env::new(User::ordinary());
    settings(&env, "entries = 10");
    env.skua(&[INSECURE, "fetch", &name]).fails(&["10 entries"]);
    assert_eq!(parts(&env), Vec::<String>::new());
}

#[test]
fn a_download_that_broke_off_goes_when_no_grace_is_asked_for() {
    let registry = Registry::start();
    let image = large();
    let name = registry.push("i", "1", &image);
    let stalled = Fault::always(&image.layers[0].digest, Action::Stall(2 << 20));
    registry.fault(stalled);
    let env = Env::new(User::ordinary());
    let fetch = env.spawn(&[INSECURE, "fetch", &name]);
    let hex = &image.layers[0].digest["sha256:".len()..];
    let part = env.data().join("store/inbox").join(format!("{hex}.part"));
    eventually("half of the layer is there", || {
        fs::metadata(&part).is_ok_and(|part| part.len() >= 2 << 20)
    });
    let none = ["image", "gc", "--grace-period=0s"];
    env.skua(&none).success();
    assert!(part.exists(), "a fetch is at it");
    fetch.signal(Signal::SIGKILL);
    drop(fetch);
    env.skua(&["image", "gc"]).success();
    assert!(part.exists(), "it could be continued");
    eventually("nobody is at it any more", || {
        env.skua(&none).success();
        parts(&env).is_empty()
    });
}

#[test]
fn privileged_layers_side_by_side_never_take_more_of_the_disk_than_their_limit() {
    let test = "privileged_layers_side_by_side_never_take_more_of_the_disk_than_their_limit";
    let judge = |root: User| {
        for (image, limits, disk, said) in [
            (
                of_bytes(1, 30 << 20),
                "unpacked = '32MiB'",
                // The limit, a hundredth of it for each layer, and a little for the rest of the store.
                "size=36m",
                "have more than 33554432 bytes",
            ),
            (
                of_entries(800),
                "entries = 1000",
                "nr_inodes=1100",
                "have more than 1000 entries",
            ),
        ] {
            let registry = Registry::start();
            let name = registry.push("i", "1", &image);
            let env = Env::new(root);
            mount_data(&env, disk);
            settings(&env, limits);
            for _ in 0..5 {
                // Not the disk says it, but the limit.
                let fetch = ["--quiet", INSECURE, "fetch", &name];
                env.skua(&fetch).fails(&["the layers of", &name, said]);
                let left = env.data().join("store/inbox");
                let left = fs::read_dir(left).unwrap().flatten();
                let trees = left.filter(|e| e.file_name().to_string_lossy().starts_with("tree-"));
                assert_eq!(trees.count(), 0);
            }
            nix::mount::umount(&env.data()).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| {
            if let Some(root) = private_mounts(test) {
                judge(root);
            }
        });
        if let Err(panic) = ended.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn an_image_that_fits_exactly_is_fetched_and_one_byte_or_entry_more_is_not() {
    for (image, limit, fits, what) in [
        (of_bytes(200, 15_001), "unpacked", 12_000_800, "bytes"),
        (of_entries(301), "entries", 1204, "entries"),
    ] {
        let registry = Registry::start();
        let name = registry.push("i", "1", &image);
        let env = Env::new(User::ordinary());
        for _ in 0..4 {
            settings(&env, &format!("{limit} = {fits}"));
            env.skua(&[INSECURE, "fetch", &name]).success();
            env.skua(&["image", "rm", &name]).success();
            settings(&env, &format!("{limit} = {}", fits - 1));
            let said = format!("have more than {} {what}", fits - 1);
            env.skua(&["--quiet", INSECURE, "fetch", &name]).fails(&[
                "the layers of",
                &name,
                &said,
            ]);
        }
    }
}
