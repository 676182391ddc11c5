//! Documents that lie, and limits that an administrator sets: refused with a sentence that names the document and the image,
//! and the store is as before.

use functional::{
    Blob, Built, Env, Image, Layer, Registry, User, difference, sha256, store_snapshot,
};
use serde_json::{Value, json};

const INSECURE: &str = "--insecure-options=image";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn image() -> Built {
    Image::inspect().build()
}

/// A registry, and an environment whose store has one good image.
struct Lab {
    registry: Registry,
    env: Env,
    before: std::collections::BTreeMap<String, String>,
}

impl Lab {
    fn new() -> Self {
        let registry = Registry::start();
        let good = registry.push("good", "1", &image());
        let env = Env::new(User::ordinary());
        env.skua(&[INSECURE, "fetch", &good]).success();
        let before = store_snapshot(&env);
        Self {
            registry,
            env,
            before,
        }
    }

    /// The image is refused with all of `parts`, and nothing is left of it.
    fn refuses(&self, what: &str, name: &str, parts: &[&str]) {
        eprintln!("{what}");
        let by_name = parts
            .iter()
            .find(|part| !part.is_empty() && name.contains(**part));
        assert_eq!(by_name, None, "an error that names the image says it too");
        let run = self.env.skua(&[INSECURE, "fetch", name]).fails(parts);
        assert!(!run.stderr.contains('\u{1b}'), "{}", run.report());
        let after = store_snapshot(&self.env);
        assert!(
            after == self.before,
            "{what}: {:#?}\n{}",
            difference(&self.before, &after),
            run.report()
        );
    }

    fn put(&self, tag: &str, media_type: &str, document: &str) -> String {
        let blob = Blob::new(document.as_bytes().to_vec(), media_type);
        for reference in [tag, &blob.digest] {
            self.registry
                .put_manifest("bad", reference, media_type, &blob.bytes);
        }
        self.registry.name(&format!("bad:{tag}"))
    }

    fn settings(&self, text: &str) {
        let path = self.env.config().join("config.toml");
        std::fs::write(&path, text).unwrap();
        self.env.give(&path);
    }
}

fn index_of(descriptors: &[Value]) -> String {
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}).to_string()
}

fn descriptor(media_type: &str, digest: &str, size: usize) -> Value {
    json!({
        "mediaType": media_type, "digest": digest, "size": size,
        "platform": {"os": "linux", "architecture": "amd64"},
    })
}

#[test]
fn indexes_that_lead_nowhere_are_refused() {
    let lab = Lab::new();
    let image = image();
    lab.registry.push("bad", "image", &image);
    let manifest = &image.manifest;
    let mut inner = index_of(&[descriptor(MANIFEST, &manifest.digest, manifest.bytes.len())]);
    for level in 1..=5 {
        let name = lab.put(&format!("nested-{level}"), INDEX, &inner);
        match level {
            5 => lab.refuses(
                "five indexes",
                &name,
                &["index", "more than 4 indexes inside"],
            ),
            _ => drop(lab.env.skua(&["image", "list"]).success()),
        }
        let blob = Blob::new(inner.into_bytes(), INDEX);
        inner = index_of(&[descriptor(INDEX, &blob.digest, blob.bytes.len())]);
    }
    // No document has its own digest, but a registry may answer with the same one for ever.
    let claimed = sha256(b"itself");
    let itself = index_of(&[descriptor(INDEX, &claimed, 0)]);
    let itself = itself.replace("\"size\":0", &format!("\"size\":{}", itself.len() + 2));
    let name = lab.put("itself", INDEX, &itself);
    lab.registry
        .put_manifest("bad", &claimed, INDEX, itself.as_bytes());
    lab.refuses("an index that lists itself", &name, &["digest", &claimed]);
    let as_manifest = index_of(&[descriptor(MANIFEST, &sha256(inner.as_bytes()), inner.len())]);
    lab.put("inner", INDEX, &inner);
    let name = lab.put("as-manifest", INDEX, &as_manifest);
    lab.refuses("an index called a manifest", &name, &["something else"]);
    let name = lab.put("empty", INDEX, &index_of(&[]));
    lab.refuses(
        "an empty index",
        &name,
        &["no image for linux/amd64", "none"],
    );
    for size in [manifest.bytes.len() - 1, manifest.bytes.len() + 1] {
        let lying = index_of(&[descriptor(MANIFEST, &manifest.digest, size)]);
        let name = lab.put("size", INDEX, &lying);
        lab.refuses("a wrong size", &name, &["manifest"]);
    }
    let traversal = index_of(&[descriptor(MANIFEST, "sha256:../../../../etc/passwd", 3)]);
    let name = lab.put("traversal", INDEX, &traversal);
    lab.refuses("a digest that is a path", &name, &["cannot parse manifest"]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn documents_that_readers_disagree_about_are_refused() {
    let lab = Lab::new();
    let image = image();
    lab.registry.push("bad", "image", &image);
    let good = String::from_utf8(image.manifest.bytes.clone()).unwrap();
    let values = format!("[{}1]", "1,".repeat(300_000));
    for (what, document, part) in [
        (
            "byte-order-mark",
            format!("\u{feff}{good}"),
            "byte order mark",
        ),
        (
            "escaped-key",
            good.replacen('{', r#"{"\u006cayers":[],"#, 1),
            "twice",
        ),
        ("case", good.replacen('{', r#"{"Layers":[],"#, 1), "twice"),
        (
            "kelvin",
            good.replacen('{', r#"{"k":1,"\u212a":1,"#, 1),
            "twice",
        ),
        ("nul", format!("{good}\0"), "trailing"),
        (
            "number",
            good.replacen("\"schemaVersion\":2", "\"schemaVersion\":2e999", 1),
            "range",
        ),
        (
            "float",
            good.replacen("\"schemaVersion\":2", "\"schemaVersion\":2.5", 1),
            "manifest",
        ),
        (
            "negative",
            good.replacen("\"size\":", "\"size\":-", 1),
            "manifest",
        ),
        (
            "huge-size",
            good.replacen("\"size\":", "\"size\":99999999999999999999", 1),
            "manifest",
        ),
        (
            "values",
            good.replacen('{', &format!("{{\"x\":{values},"), 1),
            "250000 values",
        ),
        (
            "schema",
            good.replacen("\"schemaVersion\":2", "\"schemaVersion\":1", 1),
            "version 1",
        ),
        ("cut", good[..good.len() - 3].to_owned(), "EOF"),
        ("not-utf-8", good.replacen("oci", "\u{fffd}", 1), "manifest"),
        (
            "escape",
            good.replacen("config.v1+json", "x\\u001b[2J", 1),
            "no image",
        ),
        ("sha512", good.replacen("sha256:", "sha512:", 1), "digest"),
        (
            "upper",
            good.replace(&image.config.digest, &image.config.digest.to_uppercase()),
            "",
        ),
    ] {
        let name = lab.put(what, MANIFEST, &document);
        lab.refuses(what, &name, &["manifest", part]);
    }
}

#[test]
fn configs_that_lie_are_refused() {
    let lab = Lab::new();
    let with = |key: &str, value: Value| image_with(&[(key, value)]);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    let few = json!({"type": "layers", "diff_ids": []});
    let path = json!({"type": "layers", "diff_ids": ["sha256:../../x"]});
    for (what, image, part) in [
        ("deep", with("x", deep), "nested more than 64"),
        ("case", with("RootFS", json!({})), "twice"),
        (
            "no-diff-ids",
            with("rootfs", few),
            "0 diff ids for the 1 layers",
        ),
        ("path", with("rootfs", path), "digest"),
        ("no-rootfs", with("rootfs", json!(null)), "config"),
        (
            "machine",
            with("architecture", json!("\u{1b}[2J")),
            "linux/",
        ),
        ("system", with("os", json!("windows")), "windows"),
    ] {
        let name = lab.registry.push("bad", what, &image);
        lab.refuses(what, &name, &[part]);
    }
    let labels = image_with(&[("config", json!({"Labels": {"A": "1", "a": "2"}}))]);
    let name = lab.registry.push("fine", "1", &labels);
    lab.env.skua(&[INSECURE, "fetch", &name]).success();
}

fn image_with(edits: &[(&str, Value)]) -> Built {
    let mut image = Image::inspect();
    for (key, value) in edits {
        image = image.edit_config(key, value.clone());
    }
    image.build()
}

#[test]
fn limits_of_images_are_the_administrators_and_are_shown() {
    let lab = Lab::new();
    let several = Image::inspect()
        .layer(Layer::new().file("a/b/c/d/e", 0o644, vec![1; 3000]))
        .layer(Layer::new().file("f", 0o644, vec![2; 3000]))
        .build();
    let name = lab.registry.push("several", "1", &several);
    for (limit, part) in [
        ("manifest = 300", "more than the 300 bytes"),
        ("config = '0KiB'\n", "image-limits.config is 0"),
        ("config = 100", "config"),
        ("json-depth = 2", "nested more than 2"),
        ("layers = 2", "it has 3 layers, more than the 2 allowed"),
        ("entries = 1", "entries"),
        ("unpacked = '4KiB'", "more than 4096"),
        ("path = 8", "'a/b/c/d/e' of the layer: its path is too long"),
        (
            "depth = 4",
            "'a/b/c/d/e' of the layer: its path has too many components",
        ),
    ] {
        lab.settings(&format!("[image-limits]\n{limit}\n"));
        let good = &several.layers[1].digest;
        lab.refuses(
            limit,
            &name,
            &[if part.starts_with('\'') { good } else { "" }, part],
        );
    }
    lab.settings("[image-limits]\nunpacked = '1GiB'\n");
    let config = lab.env.skua(&["config", "--format=json"]).success().json();
    let entries = config["entries"].as_array().unwrap();
    let shown = |key: &str| {
        let entry = entries.iter().find(|entry| entry["key"] == key).unwrap();
        (entry["value"].clone(), entry["origin"].clone())
    };
    let path = lab.env.config().join("config.toml").display().to_string();
    assert_eq!(
        shown("image-limits.unpacked"),
        (json!(1_073_741_824), json!(path))
    );
    assert_eq!(
        shown("image-limits.manifest"),
        (json!(4_194_304), json!("built in"))
    );
    lab.env.skua(&[INSECURE, "fetch", &name]).success();
}

#[test]
fn a_config_that_makes_a_record_too_long_to_read_makes_no_pod() {
    // In the record each of them takes six bytes.
    let value = "\u{1}".repeat(90_000);
    let variables: Vec<_> = (0..8).map(|at| format!("V{at}={value}")).collect();
    let image = Image::inspect().set("Env", json!(variables)).build();
    let registry = Registry::start();
    let name = registry.push("i", "1", &image);
    for user in User::all() {
        let env = Env::new(user);
        for command in ["prepare", "run"] {
            env.skua(&[INSECURE, command, &name]).fails(&[
                "cannot write",
                "pod.json",
                "at most 4194304",
            ]);
        }
        let pods = std::process::Command::new("find")
            .arg(env.data().join("pods"))
            .args(["-mindepth", "2"])
            .output()
            .unwrap();
        let left = String::from_utf8(pods.stdout).unwrap();
        assert_eq!(left.lines().next(), None, "{left}");
        env.skua(&["list"]).success();
    }
}
