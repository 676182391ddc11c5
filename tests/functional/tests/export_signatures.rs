//! An image that leaves a store takes its signatures along, and is verified where it arrives.

use std::fs;
use std::path::{Path, PathBuf};

use functional::{
    Built, Cosign, DockerRegistry, Env, Image, Key, Layer, Registry, Run, User, missing_program,
    skip,
};

const SIGN: &str = "https://sigstore.dev/cosign/sign/v1";

fn image() -> Built {
    Image::inspect()
        .layer(Layer::new().file("one", 0o644, "1"))
        .build()
}

/// A registry that has the image, in an index, as team/app:1.
fn registry(image: &Built) -> (Registry, String) {
    let registry = Registry::start();
    registry.push("team/app", "amd64", image);
    let index = image.index();
    for reference in ["1", &index.digest] {
        registry.put_manifest("team/app", reference, &index.media_type, &index.bytes);
    }
    let name = registry.name("team/app:1");
    (registry, name)
}

/// Fetches the image with its blobs, and exports it into a file that another user gets.
fn exported(user: User, name: &str, keys: &[&Key], options: &[&str]) -> (Env, PathBuf, Run) {
    let env = Env::new(user);
    trust(&env, name, keys);
    env.skua(&["fetch", "--keep-blobs", name]).success();
    let file = env.scratch("app.tar");
    let export = [&["image", "export"], options, &[name, text(&file)]].concat();
    let run = env.skua(&export).success();
    let there = Env::new(user);
    let copy = there.write("app.tar", fs::read(&file).unwrap());
    (there, copy, run)
}

/// All of these keys must have signed.
fn trust(env: &Env, name: &str, keys: &[&Key]) {
    let (host, _) = name.split_once('/').unwrap();
    let threshold = keys.len().to_string();
    let files: Vec<PathBuf> = keys
        .iter()
        .map(|key| env.write(&format!("{}.pem", key.id()), key.public_pem()))
        .collect();
    let files: Vec<&str> = files.iter().map(|file| text(file)).collect();
    let add = ["trust", "add", "--prefix", host, "--threshold", &threshold];
    env.skua(&[&add[..], &files].concat()).success();
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The image arrives in a store that trusts `keys`, under the name it had.
fn arrives(there: &Env, file: &Path, name: &str, keys: &[&Key]) -> Run {
    trust(there, name, keys);
    let archive = format!("oci-archive:{}", file.display());
    there.skua(&["fetch", "--as", name, &archive])
}

#[test]
fn an_exported_image_is_trusted_where_it_arrives_and_by_nobody_else() {
    type Sign = fn(&Registry, &Built, &Key);
    let forms: [(&str, Sign); 4] = [
        ("cosign, the manifest", |registry, image, key| {
            let digest = image.digest();
            let signed = Cosign::new().sign(key, &registry.name("team/app"), digest);
            registry.push_signatures("team/app", digest, &signed);
        }),
        ("cosign, the index", |registry, image, key| {
            let digest = image.index().digest;
            let signed = Cosign::new().sign(key, &registry.name("team/app"), &digest);
            registry.push_signatures("team/app", &digest, &signed);
        }),
        ("a bundle, the manifest", |registry, image, key| {
            let bundle = key.bundle(image.digest(), SIGN);
            registry.attach("team/app", image.digest(), &bundle);
        }),
        ("a bundle, the index", |registry, image, key| {
            let digest = image.index().digest;
            registry.attach("team/app", &digest, &key.bundle(&digest, SIGN));
        }),
    ];
    let (image, key, other) = (image(), Key::new(1), Key::new(2));
    for user in User::all() {
        for (form, sign) in forms {
            eprintln!("{form}");
            let (registry, name) = registry(&image);
            sign(&registry, &image, &key);
            let (there, file, run) = exported(user, &name, &[&key], &[]);
            run.says(image.digest()).complains("has signatures");
            drop(registry);
            arrives(&there, &file, &name, &[&other]).fails(&[&name, "not the scope's"]);
            let there = Env::new(user);
            let file = there.write("app.tar", fs::read(&file).unwrap());
            arrives(&there, &file, &name, &[&key])
                .success()
                .says(image.digest());
            let run = ["run", "--pull=never", &name, "--", "exit", "7"];
            there.skua(&run).exits(7);
            // Under its own name, judged by where it comes from.
            let local = format!("oci-archive:{}", file.display());
            there
                .skua(&["run", &local, "--", "exit", "7"])
                .fails(&["not trusted"]);
            let pem = there.write("key.pem", key.public_pem());
            let origin = name.trim_end_matches(":1");
            let add = ["trust", "add", "--prefix", &local, "--signed-as", origin];
            there.skua(&[&add[..], &[text(&pem)]].concat()).success();
            there.skua(&["run", &local, "--", "exit", "7"]).exits(7);
        }
    }
}

#[test]
fn all_signatures_that_a_threshold_wants_are_in_the_archive() {
    let (image, keys) = (image(), [Key::new(1), Key::new(2), Key::new(3)]);
    let (registry, name) = registry(&image);
    // Two sign the very same bytes.
    let identity = registry.name("team/app");
    let signed = keys[..2].iter().fold(Cosign::new(), |signed, key| {
        signed.sign(key, &identity, image.digest())
    });
    registry.push_signatures("team/app", image.digest(), &signed);
    let bundle = keys[2].bundle(image.digest(), SIGN);
    registry.attach("team/app", image.digest(), &bundle);
    let keys: Vec<&Key> = keys.iter().collect();
    let (there, file, _) = exported(User::ordinary(), &name, &keys, &[]);
    drop(registry);
    arrives(&there, &file, &name, &keys).success();
}

#[test]
fn what_is_not_as_it_was_signed_has_no_signatures() {
    let (image, key) = (image(), Key::new(1));
    let registry = Registry::start();
    let name = registry.push_signed("team/app", "1", &image, &key);
    let env = Env::new(User::ordinary());
    trust(&env, &name, &[&key]);
    env.skua(&["fetch", &name]).success();
    let file = env.scratch("app.tar");
    let run = env.skua(&["image", "export", &name, text(&file)]).success();
    assert!(!run.stderr.contains("has signatures"), "{}", run.report());
    assert_eq!(entries(&env, &file).len(), 1);
    let archive = format!("oci-archive:{}", file.display());
    env.skua(&["fetch", "--as", &name, &archive])
        .fails(&["not trusted", "it has none"]);
}

#[test]
fn a_detached_signature_is_named_and_left_out() {
    let (image, key) = (image(), Key::new(1));
    let (_registry, name) = registry(&image);
    let env = Env::new(User::ordinary());
    let public = env.write("key.pub", key.minisign_public());
    let (host, _) = name.split_once('/').unwrap();
    env.skua(&["trust", "add", "--prefix", host, text(&public)])
        .success();
    let signature = key.minisign(&image.manifest.bytes, "by hand");
    let signature = env.write("app.minisig", signature);
    let option = format!("--signature={}", signature.display());
    env.skua(&["fetch", "--keep-blobs", &option, &name])
        .success();
    let file = env.scratch("app.tar");
    env.skua(&["image", "export", &name, text(&file)])
        .success()
        .complains("minisign signature")
        .complains("is not in the archive");
    assert_eq!(entries(&env, &file).len(), 1);
}

/// What the index of an archive lists.
fn entries(env: &Env, file: &Path) -> Vec<serde_json::Value> {
    let mut tar = env.program("tar");
    tar.arg("-xOf").arg(file).arg("index.json");
    let index = Run::of(tar).success().json();
    index["manifests"].as_array().unwrap().clone()
}

#[test]
fn podman_loads_an_archive_without_signatures() {
    let test = "podman_loads_an_archive_without_signatures";
    let Some(root) = User::root(test) else { return };
    if let Some(program) = missing_program(&["podman"]) {
        return skip(test, &format!("{program} is not installed"));
    }
    let (image, key) = (image(), Key::new(1));
    let registry = Registry::start();
    let name = registry.push_signed("team/app", "1", &image, &key);
    let podman = |there: &Env, words: &[&str]| {
        let mut podman = there.program("podman");
        podman.args(["--storage-driver=vfs", "--root"]);
        podman
            .arg(there.scratch("root"))
            .arg("--runroot")
            .arg(there.scratch("runroot"))
            .args(words);
        Run::of(podman).success()
    };
    let (there, file, _) = exported(root, &name, &[&key], &["--without-signatures"]);
    assert_eq!(entries(&there, &file).len(), 1);
    podman(&there, &["load", "-q", "-i", text(&file)]).says(&name);
    // With them, it wants the tag.
    let (there, file, _) = exported(root, &name, &[&key], &[]);
    assert_eq!(entries(&there, &file).len(), 2);
    let tagged = format!("oci-archive:{}:1", file.display());
    podman(&there, &["pull", "-q", &tagged]);
    podman(&there, &["rmi", "-a", "-f"]);
}

#[test]
fn skopeo_takes_image_and_signatures_to_another_registry() {
    let test = "skopeo_takes_image_and_signatures_to_another_registry";
    if let Some(program) = missing_program(&DockerRegistry::PROGRAMS) {
        return skip(test, &format!("{program} is not installed"));
    }
    let (image, key, docker) = (image(), Key::new(1), DockerRegistry::start());
    let (registry, name) = registry(&image);
    // For where it will be.
    let signed = Cosign::new().sign(&key, &docker.name("team/app"), image.digest());
    registry.push_signatures("team/app", image.digest(), &signed);
    let env = Env::new(User::Caller);
    let insecure = "--insecure-options=image";
    env.skua(&[insecure, "fetch", "--keep-blobs", &name])
        .success();
    let file = env.scratch("app.tar");
    env.skua(&["image", "export", &name, text(&file)]).success();
    for (tag, target) in [
        ("1", "1".to_owned()),
        (&Cosign::tag(image.digest()), Cosign::tag(image.digest())),
    ] {
        let mut skopeo = env.program("skopeo");
        skopeo
            .args(["--insecure-policy", "--tmpdir=/var/tmp", "copy"])
            .args(docker.skopeo_options())
            .args(["--preserve-digests", "--quiet"])
            .arg(format!("oci-archive:{}:{tag}", file.display()))
            .arg(format!(
                "docker://{}",
                docker.name(&format!("team/app:{target}"))
            ))
            .env("SSL_CERT_FILE", docker.authority());
        Run::of(skopeo).success();
    }
    let there = Env::new(User::ordinary());
    docker.log_in(&there);
    there.trust(&docker.host(), &key);
    let mut run = there.command(&["run", &docker.name("team/app:1"), "--", "exit", "7"]);
    run.env("SSL_CERT_FILE", docker.authority());
    Run::of(run).exits(7);
}
