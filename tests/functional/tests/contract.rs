//! The files between the stages are what `pod/README.md` and `pod/examples/` say.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use pod::{AppFile, AppIds, AppStatus, PodManifest, PodResult, Running, load};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../pod/examples")
        .join(name)
}

/// The example loads, is written again as it stands, and is refused with an unknown field, without one of its fields,
/// with a field twice, and with a newer version.
fn check<T: DeserializeOwned + Serialize + Debug>(name: &str) {
    let path = example(name);
    let text = fs::read_to_string(&path).expect("an example");
    let loaded: T = load(&path).unwrap_or_else(|e| panic!("{name}: {e:?}"));
    let again = serde_json::to_string_pretty(&loaded).expect("JSON") + "\n";
    assert_eq!(again, text, "{name} is not as it would be written");

    let document: Value = serde_json::from_str(&text).expect("JSON");
    let mut wrong = vec![
        (
            "a field twice",
            text.replacen('{', "{\n  \"version\": 1,", 1),
        ),
        ("two documents", format!("{text}{{}}")),
    ];
    let mut unknown = document.clone();
    unknown["surprise"] = Value::Null;
    wrong.push(("an unknown field", unknown.to_string()));
    for version in [2, 4_000_000_000_u32] {
        let mut newer = document.clone();
        newer["version"] = version.into();
        wrong.push(("a newer version", newer.to_string()));
    }
    let mut shorter = document;
    let fields = shorter.as_object_mut().expect("an object");
    fields.remove("version");
    wrong.push(("no version", shorter.to_string()));

    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(name);
    for (what, content) in wrong {
        fs::write(&file, content).expect("write");
        let result = load::<T>(&file);
        assert!(
            result.is_err(),
            "{name} with {what} was accepted: {result:?}"
        );
    }
}

#[test]
fn pod_json_is_strict() {
    check::<PodManifest>("pod.json");
}

#[test]
fn app_json_is_strict() {
    check::<AppFile>("app.json");
}

#[test]
fn pid_is_strict() {
    check::<Running>("pid.json");
}

#[test]
fn ids_json_is_strict() {
    check::<AppIds>("ids.json");
}

#[test]
fn status_json_is_strict() {
    check::<AppStatus>("status.json");
}

#[test]
fn result_json_is_strict() {
    check::<PodResult>("result.json");
}

#[test]
fn the_readme_shows_every_example_as_it_is() {
    let readme = example("../README.md");
    let readme = fs::read_to_string(readme).expect("pod/README.md");
    for entry in fs::read_dir(example("")).expect("pod/examples") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("an example");
        let name = path.file_name().expect("a name").to_string_lossy();
        assert!(
            readme.contains(&format!("```json\n{text}```")),
            "pod/README.md does not show examples/{name} as it is"
        );
    }
}
