//! Images leave the store: as an archive that skopeo and podman read, and as files.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use functional::{
    Built, Entry, Env, Image, Kind, Layer, Registry, Run, User, missing_program, sha256, skip,
};

const INSECURE: &str = "--insecure-options=image";

/// Two layers with all that layers can have; the upper one hides some of the lower one.
fn rich() -> Built {
    let file = |content: &str| Kind::File(content.into());
    let long = format!("long/{}", "n".repeat(150));
    let lower = Layer::new()
        .entry(Entry::new("etc", Kind::Directory).mode(0o750).owner(3, 4))
        .entry(
            Entry::new("etc/config", file("lower"))
                .mode(0o640)
                .owner(1000, 1001),
        )
        .entry(Entry::new("etc/gone", file("gone")))
        .entry(Entry::new("bin", Kind::Directory))
        .entry(Entry::new("bin/su", file("su")).mode(0o4755))
        .entry(Entry::new("bin/same", Kind::HardLink("bin/su".to_owned())))
        .entry(Entry::new("sbin", Kind::Symlink("bin".to_owned())))
        .entry(Entry::new("out", Kind::Symlink("../../../etc".to_owned())))
        .entry(Entry::new("fifo", Kind::Fifo).mode(0o622))
        .entry(
            Entry::new("null", Kind::CharacterDevice(1, 3))
                .mode(0o666)
                .owner(0, 5),
        )
        .entry(Entry::new("hidden-device", Kind::CharacterDevice(1, 5)))
        .entry(Entry::new("attributes", file("x")).xattr("user.colour", b"gr\0n\n"))
        .entry(Entry::new("fraction", file("x")).pax("mtime", b"1704067200.123456789"))
        .entry(Entry::new("long", Kind::Directory))
        .entry(Entry::new(long, file("long")))
        .entry(Entry::new(b"latin-\xe9".to_vec(), file("not UTF-8")))
        .entry(
            Entry::new("closed", Kind::Directory)
                .mode(0o700)
                .owner(7, 8),
        )
        .entry(
            Entry::new("closed/file", file("closed"))
                .mode(0o600)
                .owner(7, 8),
        )
        .entry(Entry::new("opaque", Kind::Directory))
        .entry(Entry::new("opaque/lower", file("lower")))
        .entry(Entry::new("replaced", Kind::Directory))
        .entry(Entry::new("replaced/lower", file("lower")));
    let upper = Layer::new()
        .entry(Entry::new("etc/.wh.gone", file("")))
        .entry(
            Entry::new("etc/config", file("upper"))
                .mode(0o600)
                .owner(5, 6),
        )
        .entry(Entry::new(".wh.hidden-device", file("")))
        .entry(Entry::new("opaque", Kind::Directory))
        .entry(Entry::new("opaque/.wh..wh..opq", file("")))
        .entry(Entry::new("opaque/upper", file("upper")))
        .entry(Entry::new("replaced", file("now a file")));
    Image::inspect().layer(lower).layer(upper).build()
}

/// Output of any length and content.
fn bytes_of(env: &Env, arguments: &[&str]) -> Vec<u8> {
    let mut command = env.command(arguments);
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    output.stdout
}

fn fetched(env: &Env, image: &Built) -> (Registry, String) {
    let registry = Registry::start();
    let name = registry.push("team/app", "1", image);
    env.skua(&[INSECURE, "fetch", &name]).success();
    (registry, name)
}

fn digest_of(run: Run) -> String {
    let run = run.success();
    run.stdout
        .trim()
        .rsplit_once('@')
        .expect("a digest")
        .1
        .to_owned()
}

#[test]
fn an_image_comes_back_from_an_archive_as_it_was() {
    if let Some(program) = missing_program(&["skopeo"]) {
        return skip(
            "an_image_comes_back",
            &format!("{program} is not installed"),
        );
    }
    for user in User::all() {
        let (env, image) = (Env::new(user), rich());
        let (_registry, name) = fetched(&env, &image);
        let before = bytes_of(&env, &["image", "extract", &name, "-"]);
        let file = env.scratch("app.tar").display().to_string();
        let run = env.skua(&["image", "export", &name, &file]).success();
        let exported = run.stdout.trim().to_owned();
        run.complains("layers")
            .complains(image.digest())
            .complains("--keep-blobs");
        let mut skopeo = env.program("skopeo");
        let layout = format!("oci:{}:1", env.scratch("layout").display());
        skopeo
            .args(["--insecure-policy", "--tmpdir", "/var/tmp", "copy"])
            .args([&format!("oci-archive:{file}"), &layout]);
        Run::of(skopeo).success();
        let other = Env::new(user);
        fs::copy(&file, other.scratch("app.tar")).unwrap();
        other.give(&other.scratch("app.tar"));
        let archive = format!("oci-archive:{}:1", other.scratch("app.tar").display());
        assert_eq!(
            digest_of(other.skua(&[INSECURE, "fetch", &archive])),
            exported
        );
        env.skua(&[INSECURE, "fetch", &layout]).success();
        for (env, name) in [(&other, &archive), (&env, &layout)] {
            let after = bytes_of(env, &["image", "extract", name, "-"]);
            assert!(after == before, "the files differ for {user:?}");
            env.skua(&[INSECURE, "run", "--pull=never", name, "--", "exit", "7"])
                .exits(7);
        }
        // The same again, byte for byte, and through a pipe.
        let again = bytes_of(&env, &["--quiet", "image", "export", &name, "-"]);
        assert!(again == fs::read(&file).unwrap(), "two archives differ");
    }
}

#[test]
fn what_was_kept_is_exported_with_its_own_digests() {
    let (env, image) = (Env::new(User::ordinary()), rich());
    let registry = Registry::start();
    let name = registry.push("team/app", "1", &image);
    let keep = [INSECURE, "fetch", "--keep-blobs", &name];
    env.skua(&[INSECURE, "fetch", &name]).success();
    // Unpacked already: only the blobs are asked for.
    env.skua(&keep).success();
    registry.forget_requests();
    env.skua(&keep).success();
    let asked = registry.requests();
    assert!(
        !asked.iter().any(|request| request.path.contains("/blobs/")),
        "{asked:?}"
    );
    let archive = bytes_of(&env, &["--quiet", "image", "export", &name, "-"]);
    let path = env.write("app.tar", &archive);
    let archive = format!("oci-archive:{}", path.display());
    let other = Env::new(User::ordinary());
    fs::copy(&path, other.scratch("app.tar")).unwrap();
    other.give(&other.scratch("app.tar"));
    let copied = archive.replace(
        &path.display().to_string(),
        other.scratch("app.tar").to_str().unwrap(),
    );
    assert_eq!(
        digest_of(other.skua(&[INSECURE, "fetch", &copied])),
        image.digest()
    );
    let blob = |digest: &str| {
        env.data()
            .join("store/oci/blobs/sha256")
            .join(&digest["sha256:".len()..])
    };
    for layer in &image.layers {
        assert_eq!(
            sha256(&fs::read(blob(&layer.digest)).unwrap()),
            layer.digest
        );
    }
    env.skua(&["image", "gc"]).success();
    assert!(
        blob(&image.layers[0].digest).exists(),
        "a kept layer stays with its image"
    );
    // One that was damaged is noticed, and nothing is left.
    fs::write(blob(&image.layers[0].digest), "damaged").unwrap();
    let out = env.scratch("damaged.tar").display().to_string();
    env.skua(&["image", "export", &name, &out])
        .fails(&["cannot export image", "not what its digest says"]);
    assert!(!Path::new(&out).exists());
    env.skua(&["image", "rm", &name]).success();
    assert!(!blob(&image.layers[1].digest).exists());
}

#[test]
fn a_setting_keeps_the_blobs_of_every_fetch() {
    let (env, image) = (Env::new(User::ordinary()), rich());
    let registry = Registry::start();
    let name = registry.push("team/app", "1", &image);
    let config = env.config().join("config.toml");
    fs::write(&config, "keep-blobs = true\n").unwrap();
    env.give(&config);
    env.skua(&[INSECURE, "run", &name, "--", "exit", "7"])
        .exits(7);
    let file = env.scratch("app.tar").display().to_string();
    env.skua(&["image", "export", &name, &file])
        .success()
        .says(image.digest());
}

#[test]
fn podman_loads_what_was_exported() {
    let test = "podman_loads_what_was_exported";
    let Some(user) = User::root(test) else { return };
    if let Some(program) = missing_program(&["podman"]) {
        return skip(test, &format!("{program} is not installed"));
    }
    let (env, image) = (Env::new(user), rich());
    let (registry, name) = fetched(&env, &image);
    let file = env.scratch("app.tar").display().to_string();
    env.skua(&["image", "export", &name, &file]).success();
    let podman = |words: &[&str]| {
        let mut podman = env.program("podman");
        podman.args(["--storage-driver=vfs", "--root"]);
        podman
            .arg(env.scratch("root"))
            .arg("--runroot")
            .arg(env.scratch("runroot"));
        Run::of({
            podman.args(words);
            podman
        })
        .success()
    };
    podman(&["load", "-q", "-i", &file]).says(&registry.name("team/app:1"));
    let saved = env.scratch("podman.tar").display().to_string();
    podman(&["save", "-q", "--format=docker-archive", "-o", &saved, &name]);
    let saved = format!("docker-archive:{saved}");
    env.skua(&[INSECURE, "run", &saved, "--", "exit", "7"])
        .exits(7);
    podman(&["rmi", "-a", "-f"]);
}

#[test]
fn an_export_leaves_nothing_but_the_whole() {
    let (env, image) = (Env::new(User::ordinary()), rich());
    let (_registry, name) = fetched(&env, &image);
    let taken = env.write("taken", "precious").display().to_string();
    env.skua(&["image", "export", &name, &taken])
        .fails(&["cannot write", &taken, "exists"]);
    assert_eq!(fs::read_to_string(&taken).unwrap(), "precious");
    env.skua(&["image", "export", &name, "/proc/app.tar"])
        .fails(&["cannot write /proc/app.tar"]);
    let absent = env.scratch("absent.tar").display().to_string();
    env.skua(&["image", "export", "localhost/app:9", &absent])
        .fails(&["localhost/app:9", "not in the store"]);
    assert!(!Path::new(&absent).exists());
    for words in [
        ["image", "export", &name, "-"],
        ["image", "extract", &name, "-"],
    ] {
        let mut command = env.command(&words);
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(254), "{said}");
        assert!(said.contains("No space left"), "{said}");
    }
}

#[test]
fn an_ordinary_user_extracts_files_that_are_the_users() {
    for user in User::all().into_iter().filter(|user| user.ids().0 != 0) {
        let (env, image) = (Env::new(user), rich());
        let (_registry, name) = fetched(&env, &image);
        let out = env.scratch("out");
        let run = env.skua(&["image", "extract", &name, out.to_str().unwrap()]);
        run.success().complains("1 device nodes were left out");
        let at = |path: &str| fs::symlink_metadata(out.join(path)).unwrap();
        assert_eq!(
            fs::metadata(&out).unwrap().permissions().mode() & 0o777,
            0o700
        );
        for path in ["etc/config", "closed/file", "bin/su"] {
            assert_eq!((at(path).uid(), at(path).gid()), user.ids(), "{path}");
        }
        assert_eq!(fs::read_to_string(out.join("etc/config")).unwrap(), "upper");
        assert_eq!(
            fs::read_to_string(out.join("replaced")).unwrap(),
            "now a file"
        );
        assert_eq!(
            at("bin/su").mode() & 0o7777,
            0o755,
            "not with the user's rights"
        );
        assert_eq!(at("bin/su").ino(), at("bin/same").ino());
        assert_eq!(
            fs::read_link(out.join("out")).unwrap(),
            Path::new("../../../etc")
        );
        for path in ["etc/gone", "opaque/lower", "null", "hidden-device"] {
            assert!(fs::symlink_metadata(out.join(path)).is_err(), "{path}");
        }
        assert!(out.join("opaque/upper").exists());
    }
}

#[test]
fn privileged_root_extracts_files_of_their_owners_for_nobody_else() {
    let test = "privileged_root_extracts_files_of_their_owners_for_nobody_else";
    let Some(user) = User::root(test) else { return };
    let (env, image) = (Env::new(user), rich());
    let (_registry, name) = fetched(&env, &image);
    let out = env.scratch("out");
    env.skua(&["image", "extract", &name, out.to_str().unwrap()])
        .success();
    let at = |path: &str| fs::symlink_metadata(out.join(path)).unwrap();
    assert_eq!(
        fs::metadata(&out).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!((at("etc/config").uid(), at("etc/config").gid()), (5, 6));
    assert_eq!(
        (at("closed").uid(), at("closed").mode() & 0o777),
        (7, 0o700)
    );
    assert_eq!(at("bin/su").mode() & 0o7777, 0o4755);
    assert_eq!(at("fraction").mtime_nsec(), 123_456_789);
}

#[test]
fn one_file_or_directory_is_extracted_and_links_stay_inside_the_image() {
    let (env, image) = (Env::new(User::ordinary()), rich());
    let (_registry, name) = fetched(&env, &image);
    let extract = |path: &str, into: &str| {
        let into = env.scratch(into);
        env.skua(&["image", "extract", &name, path, into.to_str().unwrap()])
    };
    extract("/etc", "a").success();
    assert_eq!(
        fs::read_to_string(env.scratch("a/config")).unwrap(),
        "upper"
    );
    extract("sbin/same", "b").success();
    assert_eq!(fs::read_to_string(env.scratch("b/same")).unwrap(), "su");
    // Up from the root is the root: this is the image's own /etc.
    extract("out/config", "c").success();
    assert_eq!(
        fs::read_to_string(env.scratch("c/config")).unwrap(),
        "upper"
    );
    for (path, into) in [("etc/gone", "d"), ("missing", "d"), ("etc/config/x", "d")] {
        extract(path, into).fails(&["cannot extract image", "has no", path]);
        assert!(!env.scratch(into).exists(), "{path}");
    }
    extract("/etc", "a").fails(&["cannot extract into", "not empty"]);
    let file = env.write("file", "x").display().to_string();
    env.skua(&["image", "extract", &name, &file])
        .fails(&["cannot extract into", &file]);
}

#[test]
fn a_tar_archive_on_standard_output_has_what_an_app_sees() {
    for user in User::all() {
        let (env, image) = (Env::new(user), rich());
        let (_registry, name) = fetched(&env, &image);
        let archive = env.write("app.tar", bytes_of(&env, &["image", "extract", &name, "-"]));
        let mut tar = env.program("tar");
        tar.arg("--numeric-owner").arg("-tvf").arg(&archive);
        let list = Run::of(tar).success();
        list.says("closed/file")
            .says("crw-rw-rw-")
            .says("hrwsr-xr-x");
        let list = env
            .program("tar")
            .arg("-tf")
            .arg(&archive)
            .output()
            .unwrap()
            .stdout;
        let list = String::from_utf8_lossy(&list);
        for hidden in [
            "etc/gone",
            "opaque/lower",
            "replaced/lower",
            ".wh.",
            "hidden-device",
        ] {
            assert!(!list.contains(hidden), "{hidden}");
        }
    }
}
