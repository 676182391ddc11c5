//! Images from a directory or an archive: the same verification, and a confined reader.

use std::fs;
use std::path::Path;
use std::process::Command;

use functional::{Built, Cosign, Env, Image, Key, Layer, Run, User};

const INSECURE: &str = "--insecure-options=image";

fn image(content: &str) -> Built {
    Image::new()
        .layer(Layer::new().file("f", 0o644, content))
        .build()
}

fn archive(env: &Env, layout: &Path) -> String {
    let file = env.scratch("image.tar");
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(&file).arg("-C").arg(layout).arg(".");
    Run::of(tar).success();
    env.give(&file);
    file.display().to_string()
}

#[test]
fn a_directory_and_an_archive_are_fetched_like_a_registry() {
    for user in User::all() {
        let env = Env::new(user);
        let layout = env.scratch("layout");
        let (one, two) = (image("one"), image("two"));
        one.write_layout(&layout, "1");
        two.write_layout(&layout, "2");
        env.give(&layout);
        let named = format!("oci:{}:2", layout.display());
        env.skua(&[INSECURE, "fetch", &named])
            .success()
            .says(&format!("{named}@{}", two.digest()));
        let archived = format!("oci-archive:{}:1", archive(&env, &layout));
        env.skua(&[INSECURE, "fetch", &archived])
            .success()
            .says(one.digest());
        env.skua(&[INSECURE, "fetch", &format!("oci:{}", layout.display())])
            .fails(&["several images"]);
        env.skua(&[INSECURE, "fetch", &format!("oci:{}:3", layout.display())])
            .fails(&["no such image", "'3'"]);
    }
}

#[test]
fn signatures_of_a_layout_and_detached_ones_count() {
    let env = Env::new(User::ordinary());
    let key = Key::new(1);
    let layout = env.scratch("layout");
    let (cosigned, plain) = (image("cosigned"), image("plain"));
    cosigned.write_layout(&layout, "cosigned");
    plain.write_layout(&layout, "plain");
    let identity = format!("oci:{}", layout.display());
    let signatures = Cosign::new().sign(&key, &identity, cosigned.digest());
    cosigned.write_layout_signatures(&layout, &signatures);
    env.give(&layout);
    env.trust(&identity, &key);
    env.skua(&["fetch", &format!("{identity}:cosigned")])
        .success();
    let name = format!("{identity}:plain");
    env.skua(&["fetch", &name]).fails(&["is not trusted"]);
    let wrong = env.write("wrong.sig", Key::new(2).sign(&plain.manifest.bytes));
    env.skua(&["fetch", "--signature", wrong.to_str().unwrap(), &name])
        .fails(&["is not trusted"]);
    let right = env.write("right.sig", key.sign(&plain.manifest.bytes));
    env.skua(&["fetch", "--signature", right.to_str().unwrap(), &name])
        .success();
    env.skua(&["fetch", &name]).success();
}

#[test]
fn a_layout_that_lies_is_refused_and_nothing_is_kept() {
    let env = Env::new(User::ordinary());
    let layout = env.scratch("layout");
    let built = image("one");
    built.write_layout(&layout, "1");
    let blob = |digest: &str| layout.join("blobs/sha256").join(&digest["sha256:".len()..]);
    let name = format!("oci:{}:1", layout.display());
    let layer = blob(&built.layers[0].digest);
    let good = fs::read(&layer).unwrap();
    let mut flipped = good.clone();
    flipped[20] ^= 1;
    fs::write(&layer, flipped).unwrap();
    env.give(&layout);
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["layer", "digest"]);
    fs::write(&layer, [good.as_slice(), b"more"].concat()).unwrap();
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["layer", "longer"]);
    fs::remove_file(&layer).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &layer).unwrap();
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["layer", "not a regular file"]);
    fs::remove_file(&layer).unwrap();
    nix::unistd::mkfifo(&layer, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    env.give(&layout);
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["layer", "not a regular file"]);
    fs::remove_file(&layer).unwrap();
    env.skua(&[INSECURE, "fetch", &name])
        .fails(&["layer", "no blob"]);
    let trees = env.data().join("store/trees/sha256");
    assert_eq!(fs::read_dir(trees).unwrap().count(), 0);
}

#[test]
fn what_is_no_layout_is_said() {
    let env = Env::new(User::ordinary());
    let empty = env.scratch("empty");
    fs::create_dir(&empty).unwrap();
    env.give(&empty);
    env.skua(&[INSECURE, "fetch", &format!("oci:{}", empty.display())])
        .fails(&["not an OCI image layout"]);
    env.skua(&[
        INSECURE,
        "fetch",
        &format!("oci:{}/missing", empty.display()),
    ])
    .fails(&["missing", "No such file"]);
    let text = env.write("text", "not a tar archive, but long enough ".repeat(100));
    env.skua(&[
        INSECURE,
        "fetch",
        &format!("oci-archive:{}", text.display()),
    ])
    .fails(&["archive"]);
}
