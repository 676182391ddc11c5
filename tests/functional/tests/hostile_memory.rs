//! How much memory hostile images cost: the largest of all processes of a fetch, as the kernel counts it when it ends.

use functional::{
    Built, Compression, Env, Image, Layer, Registry, Run, User, missing_program, skip,
};
use serde_json::json;

/// No process of any fetch has more than this: 128 MiB are the window that a zstd frame may ask for.
const MOST_KIB: u64 = 160 * 1024;
/// And without such a frame, no more than this.
const USUAL_KIB: u64 = 64 * 1024;

/// Fetches, and adds to `largest` how much the largest process had, in KiB. This process is large itself, and so are those that
/// it forks, until they execute something; those that `time` forks are not.
fn measured(env: &Env, registry: &Registry, largest: &mut u64, what: &str, image: &Built) -> Run {
    let name = registry.push("hostile", what, image);
    let report = env.scratch("kib");
    let mut command = env.program("/usr/bin/time");
    command
        .args(["--quiet", "--format=%M", "--output"])
        .arg(&report)
        .arg(functional::binaries().join("skua"))
        .arg("--data-dir")
        .arg(env.data())
        .arg("--config-dir")
        .arg(env.config())
        .args(["--insecure-options=image", "fetch", &name]);
    let run = Run::of(command);
    let text = std::fs::read_to_string(report).unwrap();
    let kib: u64 = text.trim().parse().unwrap();
    eprintln!("{what}: {kib} KiB");
    *largest = kib.max(*largest);
    run
}

fn of(layer: Layer) -> Built {
    Image::new().layer(layer).build()
}

#[test]
fn memory_does_not_grow_with_what_an_image_claims_or_unpacks_to() {
    if let Some(program) = missing_program(&["time"]) {
        return skip(
            "memory_does_not_grow",
            &format!("{program} is not installed"),
        );
    }
    let (registry, env) = (Registry::start(), Env::new(User::ordinary()));
    let mut usual = 0;
    let mut fetch = |what: &str, image: &Built| measured(&env, &registry, &mut usual, what, image);
    // 96 MiB out of 100 KiB.
    let zeros = Layer::new().file("zeros", 0o644, vec![0; 96 << 20]);
    for compression in [Compression::Gzip, Compression::Zstd] {
        let what = format!("zeros-{compression:?}").to_lowercase();
        fetch(&what, &of(zeros.clone().compression(compression))).success();
    }
    let mut many = Layer::new();
    for at in 0..30_000 {
        many = many.hardlink(&format!("d{}/l{at}", at % 100), "target");
    }
    let many = Layer::new().file("target", 0o644, "").append(&many);
    fetch("links", &of(many)).success();
    let long = Layer::new().entry(
        functional::Entry::new("f", functional::Kind::File(Vec::new()))
            .pax("comment", &vec![b'c'; 2 << 20]),
    );
    fetch("extension", &of(long)).fails(&["extension headers"]);
    let labels: serde_json::Map<_, _> = (0..120_000)
        .map(|at| (format!("label-{at}"), json!("x")))
        .collect();
    let labels = Image::inspect().set("Labels", labels.into()).build();
    fetch("labels", &labels).success();
    let huge = Image::inspect()
        .set("Labels", json!({"x": "x".repeat(9 << 20)}))
        .build();
    fetch("config", &huge).fails(&["more than the 8388608 bytes"]);
    assert!(usual < USUAL_KIB, "{usual} KiB");
    let mut most = 0;
    let mut fetch = |what: &str, image: &Built| measured(&env, &registry, &mut most, what, image);

    let window = Layer::new().file("zeros", 0o644, vec![7; 140 << 20]);
    fetch("window", &of(window.with_zstd_window(27))).success();
    let window = Layer::new().file("zeros", 0o644, vec![7; 1 << 20]);
    fetch("too-much", &of(window.with_zstd_window(30))).fails(&["decompress"]);
    assert!(most < MOST_KIB, "{most} KiB");
}
