//! Collections, alone and against fetches and launches.

use std::convert::Infallible;
use std::time::Instant;

use super::*;
use crate::reference::ImageName;
use crate::store::Begin;
use crate::store::testing::{in_a_minute, meta, name, put_image, record, store, write_tree};

fn nothing() -> Result<InUse, Infallible> {
    Ok(InUse::default())
}

#[track_caller]
fn assert_same(one: &Removed, other: &Removed) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

/// What a command that ends would leave: an image with its name, its layers and no lease.
fn image(root: &Path, name: &ImageName, layers: &[Digest]) -> Digest {
    let store = Store::open(root).unwrap();
    for layer in layers {
        if !store.has_tree(layer) {
            write_tree(&store, *layer);
        }
    }
    let manifest = put_image(&store, layers);
    store.set_ref(name, &record(name, manifest, None)).unwrap();
    manifest
}

#[test]
fn what_no_name_and_no_pod_needs_goes_and_the_rest_stays() {
    let (_directory, store) = store();
    let [a, b, shared, of_a_pod] = [b"a", b"b", b"s", b"p"].map(|byte| Digest::of(byte));
    let (first, second) = (name("a.b/first:1"), name("a.b/second:1"));
    let manifest = image(store.root(), &first, &[a, shared, of_a_pod]);
    image(store.root(), &second, &[b, shared]);
    fs::create_dir_all(store.evidence_dir(&manifest)).unwrap();
    let pods = || {
        Ok::<_, Infallible>(InUse {
            trees: HashSet::from([of_a_pod]),
            ..InUse::default()
        })
    };
    assert_same(
        &collect(&store, pods, &now(), Mode::Remove).unwrap(),
        &Removed::default(),
    );

    store.remove_ref(&first).unwrap();
    let would = collect(&store, pods, &now(), Mode::DryRun).unwrap();
    assert_eq!(
        (would.blobs.len(), would.trees.as_slice()),
        (2, [a].as_slice())
    );
    assert!(store.has_tree(&a));
    let done = collect(&store, pods, &now(), Mode::Remove).unwrap();
    assert_same(&done, &would);
    assert!(!store.has_tree(&a) && store.has_tree(&of_a_pod) && store.has_tree(&shared));
    assert!(!store.evidence_dir(&manifest).exists());
    let removed = collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert_eq!(removed.trees, [of_a_pod]);
    assert!(store.image(&second).unwrap().is_some());
}

#[test]
fn the_manifest_of_a_pod_stays_with_its_signatures() {
    let (_directory, store) = store();
    let first = name("a.b/first:1");
    let manifest = image(store.root(), &first, &[Digest::of(b"a")]);
    fs::create_dir_all(store.evidence_dir(&manifest)).unwrap();
    store.remove_ref(&first).unwrap();
    let pods = || {
        Ok::<_, Infallible>(InUse {
            manifests: HashSet::from([manifest]),
            ..InUse::default()
        })
    };
    assert_same(
        &collect(&store, pods, &now(), Mode::Remove).unwrap(),
        &Removed::default(),
    );
    assert!(store.evidence_dir(&manifest).exists());
    assert!(store.read_blob(&manifest, 4096).is_ok());
}

#[test]
fn pods_that_cannot_be_read_keep_everything() {
    let (_directory, store) = store();
    let first = name("a.b/first:1");
    image(store.root(), &first, &[Digest::of(b"a")]);
    store.remove_ref(&first).unwrap();
    let unreadable = || Err::<InUse, _>(io::Error::other("pod"));
    let error = collect(&store, unreadable, &now(), Mode::Remove).unwrap_err();
    assert!(matches!(error, GcError::Pods(_)));
    assert!(store.has_tree(&Digest::of(b"a")));
}

#[test]
fn an_image_that_a_launch_has_read_stays_until_the_launch_is_done() {
    let (_directory, store) = store();
    let first = name("a.b/first:1");
    let layer = Digest::of(b"a");
    image(store.root(), &first, &[layer]);
    let launch = Store::open(store.root()).unwrap();
    let found = launch.image(&first).unwrap().unwrap();
    store.remove_ref(&first).unwrap();
    let removed = collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert_eq!(
        (removed.trees.len(), removed.blobs.len(), removed.busy),
        (0, 0, 1)
    );
    assert!(found.layers[0].path.exists());
    drop(launch);
    let removed = collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert_eq!(
        (removed.trees.len(), removed.blobs.len(), removed.busy),
        (1, 2, 0)
    );
}

#[test]
fn what_a_fetch_has_made_stays_before_it_has_a_name() {
    let (_directory, store) = store();
    let fetch = Store::open(store.root()).unwrap();
    let (made, found) = (Digest::of(b"made"), Digest::of(b"found"));
    image(store.root(), &name("a.b/first:1"), &[found]);
    store.remove_ref(&name("a.b/first:1")).unwrap();
    write_tree(&fetch, made);
    assert!(matches!(
        fetch.begin_tree(&found, in_a_minute(), &|| ()).unwrap(),
        Begin::Exists
    ));
    let manifest = put_image(&fetch, &[made, found]);
    collect(&store, nothing, &now(), Mode::Remove).unwrap();
    let second = name("a.b/second:1");
    fetch
        .set_ref(&second, &record(&second, manifest, None))
        .unwrap();
    drop(fetch);
    collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert!(store.image(&second).unwrap().is_some());
}

#[test]
fn a_damaged_image_is_named_and_can_be_removed() {
    let (_directory, store) = store();
    let first = name("a.b/first:1");
    let manifest = image(store.root(), &first, &[]);
    fs::write(store.blob_path(&manifest), "{}").unwrap();
    let error = collect(&store, nothing, &now(), Mode::Remove)
        .unwrap_err()
        .to_string();
    assert!(error.contains("a.b/first:1"), "{error}");
    store.remove_ref(&first).unwrap();
    assert_eq!(
        collect(&store, nothing, &now(), Mode::Remove)
            .unwrap()
            .blobs
            .len(),
        2
    );
}

#[test]
fn leftovers_of_crashes_go_and_fresh_downloads_stay() {
    let (_directory, store) = store();
    let inbox = store.inbox();
    fs::create_dir_all(inbox.join("tree-x/fs/etc")).unwrap();
    fs::create_dir_all(inbox.join("gone-1-x/fs")).unwrap();
    fs::write(inbox.join("new-1-1"), "x").unwrap();
    let [fresh, orphan] = [b"fresh", b"gone!"].map(|bytes| Digest::of(bytes).hex());
    fs::write(inbox.join(format!("{fresh}.part")), "x").unwrap();
    fs::write(inbox.join(format!("{fresh}.etag")), "x").unwrap();
    fs::write(inbox.join(format!("{orphan}.etag")), "x").unwrap();
    let busy = match store
        .begin_tree(&Digest::of(b"busy"), in_a_minute(), &|| ())
        .unwrap()
    {
        Begin::Write(writer) => writer,
        Begin::Exists | Begin::Late => panic!("nobody made it"),
    };
    let removed = collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert_eq!(removed.leftovers.len(), 4);
    assert!(inbox.join(format!("{fresh}.part")).exists());
    assert!(inbox.join(format!("{fresh}.etag")).exists());
    busy.commit(&meta(Digest::of(b"busy"))).unwrap();
}

#[test]
fn a_download_grows_old_by_the_clock_of_the_boot_and_by_no_other() {
    let (_directory, store) = store();
    let part = store
        .inbox()
        .join(format!("{}.part", Digest::of(b"a").hex()));
    fs::write(&part, "x").unwrap();
    let file = File::options().write(true).open(&part).unwrap();
    let left = || {
        collect(&store, nothing, &now(), Mode::Remove)
            .unwrap()
            .leftovers
    };
    // Whether the wall clock says 1970 or 2106.
    for seconds in [0, 4_294_967_296] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        file.set_modified(time).unwrap();
        assert!(left().is_empty(), "{seconds}");
    }
    let seen = age::path(&part);
    let note = |text: &str| fs::write(&seen, text).unwrap();
    let of = |boot: &str, age: u64, length: u64| {
        serde_json::json!({"boot_id": boot, "since_boot": 0, "age": age, "length": length})
            .to_string()
    };
    let week = 7 * 24 * 3600;
    for young in [of("another", week + 1, 2), "{".to_owned()] {
        note(&young);
        assert!(left().is_empty(), "{young}");
    }
    note(&of("another", week + 1, 1));
    assert_eq!(
        collect(&store, nothing, &now(), Mode::DryRun)
            .unwrap()
            .leftovers
            .len(),
        1
    );
    assert_eq!(left(), [part]);
    assert_eq!(fs::read_dir(store.inbox()).unwrap().count(), 0);
}

#[test]
fn a_download_that_is_unpacked_goes_at_once() {
    let (_directory, store) = store();
    let layer = Digest::of(b"a");
    image(store.root(), &name("a.b/first:1"), &[layer]);
    let part = store.inbox().join(format!("{}.part", layer.hex()));
    for extension in ["part", "etag"] {
        fs::write(part.with_extension(extension), "x").unwrap();
    }
    let busy = File::open(&part).unwrap();
    busy.lock().unwrap();
    collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert!(part.exists() && part.with_extension("etag").exists());
    drop(busy);
    collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert_eq!(fs::read_dir(store.inbox()).unwrap().count(), 0);
}

#[test]
fn damaged_objects_that_nothing_needs_are_removed() {
    let (_directory, store) = store();
    let [empty, file, link] = [b"e", b"f", b"l"].map(|byte| Digest::of(byte));
    fs::create_dir_all(store.trees().join(empty.hex()).join("fs/etc")).unwrap();
    fs::write(store.trees().join(file.hex()), "").unwrap();
    fs::create_dir(store.blob_path(&file)).unwrap();
    std::os::unix::fs::symlink("/nonexistent", store.blob_path(&link)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        store.blob_path(&empty),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let removed = collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert_eq!((removed.trees.len(), removed.blobs.len()), (2, 3));
    for directory in [store.trees(), store.blobs(), store.inbox()] {
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0);
    }
}

#[test]
fn fetches_launches_removals_and_collections_at_once_lose_nothing() {
    let (_directory, store) = store();
    let layers = [b"1", b"2", b"3"].map(|byte| Digest::of(byte));
    let names = [name("a.b/x:1"), name("a.b/y:1")];
    let until = Instant::now() + std::time::Duration::from_millis(1500);
    let root = store.root();
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (names, layers) = (&names, &layers);
            scope.spawn(move || {
                while Instant::now() < until {
                    let store = Store::open(root).unwrap();
                    for layer in &layers[..2 + at % 2] {
                        if let Begin::Write(writer) =
                            store.begin_tree(layer, in_a_minute(), &|| ()).unwrap()
                        {
                            writer.commit(&meta(*layer)).unwrap();
                        }
                    }
                    let manifest = put_image(&store, &layers[..2 + at % 2]);
                    let name = &names[at % 2];
                    store.set_ref(name, &record(name, manifest, None)).unwrap();
                    // What was fetched can be launched at once, whoever removes names meanwhile.
                    for layer in &layers[..2 + at % 2] {
                        assert!(store.has_tree(layer), "a tree vanished under a fetch");
                    }
                }
            });
        }
        for name in &names {
            scope.spawn(move || {
                while Instant::now() < until {
                    let launch = Store::open(root).unwrap();
                    if let Some(image) = launch.image(name).unwrap() {
                        std::thread::yield_now();
                        for layer in &image.layers {
                            assert!(layer.path.exists(), "a tree vanished under a launch");
                        }
                    }
                }
            });
        }
        for name in &names {
            scope.spawn(move || {
                while Instant::now() < until {
                    let store = Store::open(root).unwrap();
                    store.remove_ref(name).unwrap();
                    collect(&store, nothing, &now(), Mode::Remove).unwrap();
                }
            });
        }
    });
    collect(&store, nothing, &now(), Mode::Remove).unwrap();
    assert_eq!(fs::read_dir(store.inbox()).unwrap().count(), 0);
}

/// Nothing has to wait.
fn now() -> Grace {
    grace(0, "boot", 100)
}

fn grace(seconds: u64, boot_id: &str, since_boot: u64) -> Grace {
    Grace {
        seconds,
        boot_id: boot_id.to_owned(),
        since_boot,
        downloads: Downloads::Young,
    }
}

#[test]
fn what_became_unneeded_a_short_time_ago_stays_however_the_clock_jumps() {
    let (_directory, store) = store();
    let (layer, first) = (Digest::of(b"a"), name("a.b/first:1"));
    image(store.root(), &first, &[layer]);
    let after = |grace: &Grace| {
        let dry = collect(&store, nothing, grace, Mode::DryRun).unwrap();
        let removed = collect(&store, nothing, grace, Mode::Remove).unwrap();
        assert_eq!(dry.trees, removed.trees);
        (removed.trees.len(), removed.waiting)
    };
    assert_eq!(after(&grace(60, "boot", 500)), (0, 0), "it has a name");
    store.remove_ref(&first).unwrap();
    assert_eq!(after(&grace(60, "boot", 1000)), (0, 3));
    assert_eq!(after(&grace(60, "boot", 1059)), (0, 3));
    // It is needed again, and then it is not: its time begins anew.
    image(store.root(), &first, &[layer]);
    assert_eq!(after(&grace(60, "boot", 1060)), (0, 0));
    store.remove_ref(&first).unwrap();
    assert_eq!(after(&grace(60, "boot", 1061)), (0, 3));
    // After a reboot the time since the boot counts.
    assert_eq!(after(&grace(60, "next", 59)), (0, 3));
    assert_eq!(after(&grace(60, "next", 60)), (1, 0));
    assert!(!store.has_tree(&layer));
}
