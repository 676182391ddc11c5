//! Volumes that are the files of an image: read-only, kept for the pods that use them, and judged like any image.

use std::fs;

use functional::{Env, Image, Key, Layer, Registry, User};

#[test]
fn the_files_of_an_image_are_a_volume_that_cannot_be_written() {
    for user in User::all() {
        let env = Env::new(user);
        let app = env.layout(&Image::inspect().build());
        let data = Image::new()
            .layer(
                Layer::new()
                    .file("set/one", 0o644, "lower")
                    .file("set/two", 0o644, "lower"),
            )
            .layer(
                Layer::new()
                    .file("set/.wh.two", 0o644, "")
                    .file("set/three", 0o644, "upper"),
            );
        let one = Image::new().layer(Layer::new().file("set/one", 0o644, "lower"));
        for (tag, image, expected) in [
            ("two", data, vec!["one", "three"]),
            ("one", one, vec!["one"]),
        ] {
            let layout = env.scratch(&format!("data-{tag}"));
            image.build().write_layout(&layout, "1");
            env.give(&layout);
            let volume = format!("--volume=d,kind=image,source=oci:{}:1", layout.display());
            let ask = |words: &[&str]| {
                let mount = "--mount=volume=d,target=/data";
                let start = [
                    "--insecure-options=image",
                    "run",
                    &volume,
                    &app,
                    mount,
                    "--",
                ];
                env.skua(&[&start[..], words].concat()).success().json()
            };
            assert_eq!(ask(&["list", "/data/set"]), serde_json::json!(expected));
            assert_eq!(ask(&["read", "/data/set/one"])["text"], "lower");
            assert_eq!(ask(&["stat", "/data/set/one"])["uid"], 0);
            assert_eq!(ask(&["write", "/data/set/one", "x"])["errno"], "EROFS");
            // Not only because nothing is there to take what is written: the mount is read-only.
            let mounts = ask(&["mounts"]);
            let mounts = mounts.as_array().expect("mounts");
            let data = mounts.iter().find(|mount| mount["target"] == "/data");
            assert_eq!(data.expect("the volume")["options"][0], "ro");
        }
    }
}

#[test]
fn the_files_of_an_image_cannot_be_asked_for_to_be_written() {
    let env = Env::new(User::ordinary());
    let app = env.layout(&Image::inspect().build());
    let volume = format!("--volume=d,kind=image,source={app}");
    let mount = "--mount=volume=d,target=/data,readonly=false";
    let start = ["--insecure-options=image", "run", &volume, &app];
    env.skua(&[&start[..], &[mount, "--", "id"]].concat())
        .fails(&["/data cannot be writable", "volume 'd' is read-only"]);
}

#[test]
fn a_prepared_pod_keeps_its_image_volume_and_is_judged_by_it_again() {
    let (env, registry, key) = (Env::new(User::ordinary()), Registry::start(), Key::new(1));
    let app = registry.push_signed("app/inspect", "1", &Image::inspect().build(), &key);
    let data = Image::new().layer(Layer::new().file("x", 0o644, "of the image"));
    let data = registry.push_signed("data/set", "1", &data.build(), &key);
    for prefix in ["app", "data"] {
        env.trust(&registry.name(prefix), &key);
    }
    let volume = format!("--volume=d,kind=image,source={data}");
    let mount = "--mount=volume=d,target=/d";
    let words = ["prepare", &volume, &app, mount, "--", "read", "/d/x"];
    let prepare = || env.skua(&words).success().stdout.trim().to_owned();
    let (first, second) = (prepare(), prepare());
    env.skua(&["image", "rm", &data]).success();
    env.skua(&["image", "gc"]).success();
    let read = env.skua(&["run-prepared", &first]).success().json();
    assert_eq!(read["text"], "of the image", "{read}");
    let policies = env.config().join("trust.d");
    for entry in fs::read_dir(&policies).unwrap() {
        let path = entry.unwrap().path();
        if fs::read_to_string(&path).is_ok_and(|text| text.contains(&registry.name("data"))) {
            fs::remove_file(path).unwrap();
        }
    }
    env.skua(&["run-prepared", &second])
        .fails(&[&registry.name("data")]);
}

#[test]
fn an_image_that_no_policy_accepts_is_no_volume_either() {
    let env = Env::new(User::ordinary());
    let app = env.layout(&Image::inspect().build());
    let layout = env.scratch("data");
    Image::new()
        .layer(Layer::new().file("x", 0o644, "x"))
        .build()
        .write_layout(&layout, "1");
    env.give(&layout);
    let name = format!("oci:{}:1", layout.display());
    let volume = format!("--volume=d,kind=image,source={name}");
    let words = ["run", &volume, &app, "--mount=volume=d,target=/d"];
    env.skua(&words).fails(&[&name]);
}
