//! Archives of `docker save` and the like, and archives from standard input.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use functional::{
    Blob, Built, Compression, Env, Image, Key, Layer, Run, User, missing_program, sha256, skip,
};
use serde_json::{Value, json};

const INSECURE: &str = "--insecure-options=image";

fn image() -> Built {
    Image::inspect()
        .layer(Layer::new().file("second", 0o644, "2"))
        .build()
}

fn tar_of(layer: &Blob) -> Vec<u8> {
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(layer.bytes.as_slice())
        .read_to_end(&mut tar)
        .unwrap();
    tar
}

fn hex(digest: &str) -> &str {
    &digest["sha256:".len()..]
}

fn list(config: &str, names: &[&str], layers: &[String]) -> Value {
    json!([{"Config": config, "RepoTags": names, "Layers": layers}])
}

/// As docker wrote it up to version 24: a directory for each layer, the second one a link.
fn old_style(image: &Built, names: &[&str]) -> Layer {
    let config = format!("{}.json", hex(&image.config.digest));
    let mut archive = Layer::new().file(&config, 0o644, image.config.bytes.clone());
    let mut layers = Vec::new();
    for (at, layer) in image.layers.iter().enumerate() {
        let (file, link) = (
            format!("{}.tar", hex(&layer.diff_id)),
            format!("{at}/layer.tar"),
        );
        archive = archive
            .file(&format!("{at}/VERSION"), 0o644, "1.0")
            .file(&file, 0o644, tar_of(layer))
            .symlink(&link, &format!("../{file}"));
        layers.push(link);
    }
    let list = list(&config, names, &layers).to_string();
    archive.file("manifest.json", 0o644, list)
}

/// As docker writes it since version 25: blobs as in an OCI layout.
fn new_style(image: &Built, names: &[&str]) -> Layer {
    let blob = |digest: &str| format!("blobs/sha256/{}", hex(digest));
    let config = blob(&image.config.digest);
    let mut archive = Layer::new().file(&config, 0o644, image.config.bytes.clone());
    let mut layers = Vec::new();
    for layer in &image.layers {
        archive = archive.file(&blob(&layer.diff_id), 0o644, tar_of(layer));
        layers.push(blob(&layer.diff_id));
    }
    let list = list(&config, names, &layers).to_string();
    archive.file("manifest.json", 0o644, list)
}

/// With one more file, or with one of that name in place of the archive's.
fn named(env: &Env, file: &str, archive: &Layer) -> String {
    let path = env.write(file, archive.build_tar());
    format!("docker-archive:{}", path.display())
}

fn fetched(run: Run) -> String {
    let run = run.success();
    let digest = run.stdout.trim().rsplit_once('@').expect("a digest").1;
    digest.to_owned()
}

fn piped(env: &Env, arguments: &[&str], input: &[u8]) -> Run {
    let mut command = env.command(arguments);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who has seen enough closes the pipe.
    let _ = stdin.write_all(input);
    drop(stdin);
    let started = std::time::Instant::now();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run {
        command: arguments.join(" "),
        status: output.status,
        stdout: text(output.stdout),
        stderr: text(output.stderr),
        elapsed: started.elapsed(),
    }
}

#[test]
fn an_image_has_one_digest_whoever_wrote_the_archive() {
    for user in User::all() {
        let (env, image) = (Env::new(user), image());
        let names = ["localhost/team/app:1", "localhost/team/app:one"];
        let old = named(&env, "old.tar", &old_style(&image, &names));
        let new = named(&env, "new.tar", &new_style(&image, &names));
        let digest = fetched(env.skua(&[INSECURE, "fetch", &old]));
        assert_eq!(fetched(env.skua(&[INSECURE, "fetch", &new])), digest);
        for name in ["1", "localhost/team/app:one"] {
            let name = format!("{new}:{name}");
            assert_eq!(fetched(env.skua(&[INSECURE, "fetch", &name])), digest);
            env.skua(&[INSECURE, "run", "--pull=never", &name, "--", "exit", "7"])
                .exits(7);
        }
        let manifest = env.skua(&["image", "cat-manifest", &old]).success().stdout;
        assert_eq!(sha256(manifest.as_bytes()), digest);
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        assert_eq!(manifest["config"]["digest"], image.config.digest);
        assert_eq!(manifest["layers"][1]["digest"], image.layers[1].diff_id);
    }
}

#[test]
fn what_skopeo_writes_is_fetched() {
    if let Some(program) = missing_program(&["skopeo"]) {
        return skip(
            "what_skopeo_writes_is_fetched",
            &format!("{program} is not installed"),
        );
    }
    let (env, image) = (Env::new(User::ordinary()), image());
    let layout = env.scratch("layout");
    image.write_layout(&layout, "1");
    env.give(&layout);
    let written = format!("docker-archive:{}", env.scratch("skopeo.tar").display());
    let mut skopeo = env.program("skopeo");
    skopeo
        .args(["--insecure-policy", "--tmpdir", "/var/tmp", "copy"])
        .arg(format!("oci:{}:1", layout.display()))
        .arg(format!("{written}:docker.io/library/app:1"));
    Run::of(skopeo).success();
    let own = named(&env, "own.tar", &old_style(&image, &["app:1"]));
    let digest = fetched(env.skua(&[INSECURE, "fetch", &own]));
    for name in ["", ":1", ":app:1", ":docker.io/library/app:1"] {
        let name = format!("{written}{name}");
        assert_eq!(
            fetched(env.skua(&[INSECURE, "fetch", &name])),
            digest,
            "{name}"
        );
    }
}

#[test]
fn a_compressed_archive_and_compressed_layers_are_read() {
    let (env, image) = (Env::new(User::ordinary()), image());
    let plain = named(&env, "plain.tar", &old_style(&image, &["app:1"]));
    let digest = fetched(env.skua(&[INSECURE, "fetch", &plain]));
    for (file, how) in [("a.tgz", Compression::Gzip), ("a.zst", Compression::Zstd)] {
        let blob = old_style(&image, &["app:1"]).compression(how).build();
        let path = env.write(file, blob.bytes);
        let name = format!("docker-archive:{}", path.display());
        assert_eq!(fetched(env.skua(&[INSECURE, "fetch", &name])), digest);
    }
    let xz = env.write("a.xz", [0xfd, b'7', b'z', b'X', b'Z', 0, 0, 0]);
    env.skua(&[
        INSECURE,
        "fetch",
        &format!("docker-archive:{}", xz.display()),
    ])
    .fails(&["compressed with xz", "decompress it first"]);
    let layers: Vec<String> = (0..2).map(|at| format!("{at}.tar.gz")).collect();
    let mut archive = Layer::new().file("c.json", 0o644, image.config.bytes.clone());
    for (file, layer) in layers.iter().zip(&image.layers) {
        archive = archive.file(file, 0o644, layer.bytes.clone());
    }
    let list = list("c.json", &["app:1"], &layers).to_string();
    let name = named(
        &env,
        "layers.tar",
        &archive.file("manifest.json", 0o644, list),
    );
    env.skua(&[INSECURE, "run", &name, "--", "exit", "7"])
        .exits(7);
}

#[test]
fn an_archive_that_lies_is_refused_and_nothing_is_kept() {
    let (env, image) = (Env::new(User::ordinary()), image());
    let config = format!("{}.json", hex(&image.config.digest));
    let with = |list: Value| {
        let archive = Layer::new()
            .file(&config, 0o644, image.config.bytes.clone())
            .file("0.tar", 0o644, tar_of(&image.layers[0]))
            .file("1.tar", 0o644, tar_of(&image.layers[1]))
            .symlink("out.tar", "/etc/passwd")
            .symlink("up.tar", "../../etc/passwd")
            .symlink("loop.tar", "loop.tar")
            .file("f".repeat(64).as_str(), 0o644, image.config.bytes.clone());
        archive.file("manifest.json", 0o644, list.to_string())
    };
    let two = |a: &str, b: &str| list(&config, &["app:1"], &[a.to_owned(), b.to_owned()]);
    let both = json!([two("0.tar", "1.tar")[0], list(&config, &["b:1"], &[])[0]]);
    let cases = [
        (with(two("0.tar", "out.tar")), "no file 'out.tar'"),
        (with(two("0.tar", "up.tar")), "no file 'up.tar'"),
        (with(two("0.tar", "loop.tar")), "no file 'loop.tar'"),
        (with(two("0.tar", "missing.tar")), "no file 'missing.tar'"),
        (with(two("0.tar", "../etc")), "no file '../etc'"),
        (with(two("1.tar", "0.tar")), "digest"),
        (
            with(list(&config, &["app:1"], &["0.tar".to_owned()])),
            "lists 1 layers, the config 2",
        ),
        (
            with(list("0.tar", &["app:1"], &[])),
            "cannot parse the config",
        ),
        (with(list(&"f".repeat(64), &["app:1"], &[])), "corrupt"),
        (
            with(both),
            "several images: add one of the tags 'app:1', 'b:1'",
        ),
        (with(json!([])), "lists no image"),
        (with(json!({"Config": 1})), "cannot parse manifest.json"),
        (
            with(two("0.tar", "1.tar")).file("0.tar", 0o644, "x"),
            "two files of one name",
        ),
        (
            Layer::new().file("x", 0o644, "x"),
            "it has no manifest.json",
        ),
    ];
    for (archive, why) in cases {
        let name = named(&env, "case.tar", &archive);
        env.skua(&[INSECURE, "fetch", &name]).fails(&[&name, why]);
    }
    nothing_is_kept(&env);
}

fn nothing_is_kept(env: &Env) {
    let trees = env.data().join("store/trees/sha256");
    assert_eq!(std::fs::read_dir(trees).unwrap().count(), 0);
}

#[test]
fn what_is_cut_off_or_of_another_kind_or_name_is_said() {
    let (env, image) = (Env::new(User::ordinary()), image());
    let whole = old_style(&image, &["app:1"]).build_tar();
    let cut = env.write("cut.tar", &whole[..whole.len() / 2]);
    env.skua(&[
        INSECURE,
        "fetch",
        &format!("docker-archive:{}", cut.display()),
    ])
    .fails(&["cut off"]);
    let good = named(&env, "good.tar", &old_style(&image, &["app:1"]));
    env.skua(&[INSECURE, "fetch", &format!("{good}:2")])
        .fails(&["no such image", "'2'", "'app:1'"]);
    let other = good.replace("docker-archive:", "oci-archive:");
    env.skua(&[INSECURE, "fetch", &other])
        .fails(&["write docker-archive: in place"]);
    nothing_is_kept(&env);
}

#[test]
fn a_detached_signature_is_over_the_manifest_that_is_made() {
    let (env, image, key) = (Env::new(User::ordinary()), image(), Key::new(1));
    let name = named(&env, "app.tar", &old_style(&image, &["app:1"]));
    env.trust(&name, &key);
    env.skua(&["run", &name]).fails(&["is not trusted"]);
    env.skua(&[INSECURE, "fetch", &name]).success();
    let manifest = env.skua(&["image", "cat-manifest", &name]).success().stdout;
    let good = env.write("good.sig", key.sign(manifest.as_bytes()));
    let good = ["--signature", good.to_str().unwrap()];
    env.skua(&[&["run"], &good[..], &[&name, "--", "exit", "7"]].concat())
        .exits(7);
    let other = Image::inspect().cmd(&["other"]).build();
    let other = named(&env, "app.tar", &old_style(&other, &["app:1"]));
    env.skua(&[&["run", "--pull=always"], &good[..], &[&other]].concat())
        .fails(&["is not trusted"]);
}

#[test]
fn an_archive_from_standard_input_gets_a_name_and_is_judged_by_it() {
    for user in User::all() {
        let (env, image, key) = (Env::new(user), image(), Key::new(1));
        let tar = old_style(&image, &["app:1"]).build_tar();
        piped(&env, &["fetch", "docker-archive:-"], &tar).fails(&["has no name of its own"]);
        let run = piped(&env, &["run", "docker-archive:-"], &tar);
        run.fails(&["has no name of its own"])
            .complains("skua fetch --as");
        let fetch = ["fetch", "--as", "localhost/app:1", "docker-archive:-"];
        piped(&env, &fetch, &tar).fails(&["localhost/app:1 is not trusted"]);
        piped(&env, &[&[INSECURE], &fetch[..]].concat(), &tar)
            .success()
            .says("localhost/app:1@sha256:");
        env.skua(&["run", "localhost/app:1"])
            .fails(&["is not trusted"]);
        env.trust("localhost/app", &key);
        let manifest = env.skua(&["image", "cat-manifest", "localhost/app:1"]);
        let manifest = manifest.success().stdout;
        let signature = env.write("sig", key.sign(manifest.as_bytes()));
        let signature = ["--signature", signature.to_str().unwrap()];
        let words = ["localhost/app:1", "--", "exit", "7"];
        env.skua(&[&["run", "--pull=never"], &signature[..], &words].concat())
            .exits(7);
        for (input, why) in [(&b""[..], "is empty"), (&tar[..700], "cut off")] {
            piped(&env, &fetch, input).fails(&["docker-archive:-", why]);
        }
        env.skua(&[&["run", "--pull=never"], &words[..]].concat())
            .exits(7);
    }
}

#[test]
fn an_oci_archive_is_piped_too_and_its_signatures_count_for_the_name_it_is_given() {
    let (env, image, key) = (Env::new(User::ordinary()), image(), Key::new(1));
    let layout = env.scratch("layout");
    image.write_layout(&layout, "1");
    let identity = "registry.example.org/team/app";
    let signatures = functional::Cosign::new().sign(&key, identity, image.digest());
    image.write_layout_signatures(&layout, &signatures);
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&layout).args(["-c", "."]);
    let tar = tar.output().unwrap().stdout;
    env.trust("registry.example.org/team", &key);
    let fetch = |name: &str| piped(&env, &["fetch", "--as", name, "oci-archive:-:1"], &tar);
    fetch("registry.example.org/team/other:1").fails(&["signed for repository"]);
    let name = format!("{identity}:1");
    fetch(&name).success().says(image.digest());
    env.skua(&["run", "--pull=never", &name, "--", "exit", "7"])
        .exits(7);
}

#[test]
fn a_name_that_is_none_cannot_be_given() {
    let env = Env::new(User::ordinary());
    let name = named(&env, "a.tar", &old_style(&image(), &["app:1"]));
    let pinned = format!("localhost/app@{}", sha256(b"x"));
    for (words, why) in [
        (&["--as", "app", &name][..], "has no registry"),
        (&["--as", "oci:/x", &name], "cannot be given"),
        (&["--as", &pinned, &name], "cannot be given"),
        (&["--as", "localhost/app:1", &name, &name], "one image"),
    ] {
        env.skua(&[&[INSECURE, "fetch"], words].concat())
            .fails(&[why]);
    }
}
