//! The fixtures are right: other people's tools read what they make.

use std::process::Command;

use functional::{Compression, Image, Layer, Registry, Run, missing_program, skip};

fn three_layers() -> Image {
    let long = "d/".repeat(60) + "file";
    Image::new()
        .layer(Layer::new().directory("d").file("d/f", 0o640, "one"))
        .layer(
            Layer::new()
                .compression(Compression::None)
                .hardlink("d/g", "d/f")
                .symlink("d/s", "f"),
        )
        .layer(
            Layer::new()
                .compression(Compression::Zstd)
                .file(&long, 0o600, vec![b'x'; 1000]),
        )
}

#[test]
fn skopeo_copies_an_image_from_the_registry_and_tar_reads_its_layers() {
    if let Some(program) = missing_program(&["skopeo", "tar", "zstd"]) {
        return skip(
            "skopeo_copies_an_image",
            &format!("{program} is not installed"),
        );
    }
    let registry = Registry::start();
    let image = three_layers().build();
    let name = registry.push("some/image", "1", &image);
    let directory = tempfile::tempdir().expect("a directory");
    let layout = format!("dir:{}", directory.path().join("copy").display());
    let mut copy = Command::new("skopeo");
    copy.args([
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{name}"),
    ])
    .arg(layout);
    Run::of(copy).success();
    let mut seen = String::new();
    for layer in &image.layers {
        let hex = &layer.digest["sha256:".len()..];
        let mut list = Command::new("tar");
        list.arg("-tvf")
            .arg(directory.path().join("copy").join(hex));
        seen.push_str(&Run::of(list).success().stdout);
    }
    for expected in ["-rw-r-----", "link to d/f", "d/s -> f", "d/d/d/d/file"] {
        assert!(seen.contains(expected), "expected {expected:?} in\n{seen}");
    }
}

#[test]
fn skopeo_reads_the_layout_directory() {
    if let Some(program) = missing_program(&["skopeo"]) {
        return skip(
            "skopeo_reads_the_layout",
            &format!("{program} is not installed"),
        );
    }
    let directory = tempfile::tempdir().expect("a directory");
    let image = three_layers().build();
    image.write_layout(directory.path(), "tag");
    let mut inspect = Command::new("skopeo");
    inspect.args([
        "inspect",
        &format!("oci:{}:tag", directory.path().display()),
    ]);
    let run = Run::of(inspect).success();
    assert_eq!(run.json()["Digest"], image.digest());
}
