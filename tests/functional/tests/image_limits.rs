//! The limits of `[image-limits]` on what all layers of an image unpack to hold while they are unpacked side by side.

use std::fs;

use functional::{Built, Env, Image, Layer, Registry, User, mount_data, private_mounts};

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
