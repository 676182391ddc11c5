//! The store on a real file system.

use std::io::Write as _;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::testing::{in_a_minute, meta, name, put_image, record, store, write_tree};
use super::*;
use crate::reference::ImageName;

/// What is wrong with an image, which the error names.
fn damage(store: &Store, image: &ImageName) -> StoreError {
    match store.image(image).unwrap_err() {
        StoreError::Image { name, source } if name == image.to_string() => *source,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_newer_store_is_refused_with_a_sentence() {
    let (directory, _) = store();
    let root = directory.path().join("store");
    std::fs::write(root.join("version"), "2\n").unwrap();
    let error = Store::open(&root).err().unwrap().to_string();
    assert!(error.contains("layout version 2"), "{error}");
    std::fs::write(root.join("version"), "?").unwrap();
    assert!(matches!(Store::open(&root), Err(StoreError::Version(_))));
}

#[test]
fn a_store_whose_making_was_interrupted_is_made_again() {
    let (directory, _) = store();
    let root = directory.path().join("store");
    std::fs::remove_file(root.join("version")).unwrap();
    std::fs::remove_dir(root.join("inbox")).unwrap();
    Store::open(&root).unwrap();
    assert!(root.join("inbox").is_dir());
}

#[test]
fn an_image_is_found_only_when_all_of_it_is_there() {
    let (_directory, store) = store();
    let name = name("a.b/c:1");
    assert!(store.image(&name).unwrap().is_none());
    let layers = [Digest::of(b"1"), Digest::of(b"2")];
    let manifest = put_image(&store, &layers);
    store
        .set_ref(&name, &record(&name, manifest, None))
        .unwrap();
    assert!(store.image(&name).unwrap().is_none());
    write_tree(&store, layers[0]);
    assert!(store.image(&name).unwrap().is_none());
    write_tree(&store, layers[1]);
    let image = store.image(&name).unwrap().unwrap();
    assert_eq!(image.manifest_digest, manifest);
    let found: Vec<Digest> = image.layers.iter().map(|tree| tree.diff_id).collect();
    assert_eq!(found, layers);
    assert!(image.layers[0].path.join("etc").is_dir());
}

#[test]
fn a_tree_below_an_opaque_root_or_given_twice_is_left_out() {
    let (_directory, store) = store();
    let [a, b, c] = [b"a", b"b", b"c"].map(|byte| Digest::of(byte));
    for tree in [a, b, c] {
        write_tree(&store, tree);
    }
    let path = store.tree_path(&b).join("fs");
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::lsetxattr(&path, image::OPAQUE, b"y", flags).is_err() {
        let test = "a_tree_below_an_opaque_root_or_given_twice_is_left_out";
        let line = format!("skipped: {test}: no user attributes on this file system\n");
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        return;
    }
    for (layers, stacked) in [
        (vec![a, b, c], vec![b, c]),
        (vec![a, b], vec![b]),
        (vec![a, c, a], vec![c, a]),
        (vec![a, a, c], vec![a, c]),
        (vec![a, b, c, b], vec![b]),
    ] {
        let name = name("a.b/c:1");
        let manifest = put_image(&store, &layers);
        store
            .set_ref(&name, &record(&name, manifest, None))
            .unwrap();
        let image = store.image(&name).unwrap().unwrap();
        let found: Vec<Digest> = image.layers.iter().map(|tree| tree.diff_id).collect();
        assert_eq!(found, stacked, "{layers:?}");
    }
}

#[test]
fn a_pinned_name_needs_no_tag_and_believes_no_other_record() {
    let (_directory, store) = store();
    let manifest = put_image(&store, &[]);
    let pinned = name(&format!("a.b/c@{manifest}"));
    assert_eq!(
        store.image(&pinned).unwrap().unwrap().manifest_digest,
        manifest
    );

    let index = serde_json::json!({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": manifest.to_string(), "size": 1
    }]});
    let index = store.put_blob(index.to_string().as_bytes()).unwrap();
    let by_index = name(&format!("a.b/c@{index}"));
    store
        .set_ref(&by_index, &record(&by_index, manifest, Some(index)))
        .unwrap();
    let image = store.image(&by_index).unwrap().unwrap();
    assert_eq!(
        (image.manifest_digest, image.index_digest),
        (manifest, Some(index))
    );

    let other = put_image(&store, &[Digest::of(b"other")]);
    store
        .set_ref(&by_index, &record(&by_index, other, Some(index)))
        .unwrap();
    assert!(matches!(
        damage(&store, &by_index),
        StoreError::NotInIndex { .. }
    ));
    store
        .set_ref(&pinned, &record(&pinned, other, None))
        .unwrap();
    assert!(matches!(
        damage(&store, &pinned),
        StoreError::WrongRecord { .. }
    ));
}

#[test]
fn one_flipped_bit_is_found_and_putting_the_blob_again_repairs_it() {
    let (_directory, store) = store();
    let manifest = put_image(&store, &[]);
    let path = store.blob_path(&manifest);
    let good = std::fs::read(&path).unwrap();
    for position in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[position] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(matches!(
            damage(&store, &name(&format!("a.b/c@{manifest}"))),
            StoreError::Corrupt { .. }
        ));
        assert_eq!(store.put_blob(&good).unwrap(), manifest);
        assert!(
            store
                .image(&name(&format!("a.b/c@{manifest}")))
                .unwrap()
                .is_some()
        );
    }
    assert!(matches!(
        store.read_blob(&manifest, 3),
        Err(StoreError::TooLarge(..))
    ));
}

#[test]
fn a_blob_that_is_a_link_or_a_fifo_is_not_read() {
    let (directory, store) = store();
    let digest = Digest::of(b"secret");
    let path = store.blob_path(&digest);
    std::fs::write(directory.path().join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(directory.path().join("secret"), &path).unwrap();
    assert!(matches!(
        store.read_blob(&digest, 100),
        Err(StoreError::Read(..))
    ));
    std::fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(
        store.read_blob(&digest, 100),
        Err(StoreError::Read(..))
    ));
    store.put_blob(b"secret").unwrap();
    assert_eq!(store.read_blob(&digest, 100).unwrap(), b"secret");
}

#[test]
fn a_tree_that_is_damaged_is_made_again() {
    let (_directory, store) = store();
    let layer = Digest::of(b"layer");
    let tree = store.tree_path(&layer);
    write_tree(&store, layer);
    let damages: [fn(&Path); 5] = [
        |tree| std::fs::remove_dir_all(tree.join("fs")).unwrap(),
        |tree| std::fs::remove_file(tree.join("meta.json")).unwrap(),
        |tree| std::fs::write(tree.join("meta.json"), "{}").unwrap(),
        |tree| {
            std::fs::remove_dir_all(tree).unwrap();
            std::fs::write(tree, "").unwrap();
        },
        |tree| {
            let other = serde_json::to_vec(&meta(Digest::of(b"other"))).unwrap();
            std::fs::write(tree.join("meta.json"), other).unwrap();
        },
    ];
    for damage in damages {
        damage(&tree);
        assert!(!store.has_tree(&layer));
        write_tree(&store, layer);
        assert!(store.has_tree(&layer) && tree.join("fs/etc").is_dir());
    }
    // A pod may run from all but the one that was a file.
    let left = std::fs::read_dir(store.inbox()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name());
    let of_left = left.map(|name| super::of_aside(name.to_str().unwrap()));
    assert_eq!(of_left.collect::<Vec<_>>(), [Some(layer); 4]);
}

#[test]
fn tags_and_deeper_repositories_do_not_collide() {
    let (_directory, store) = store();
    let manifest = put_image(&store, &[]);
    let mut names: Vec<ImageName> = ["a.b/c:d", "a.b/c/d:e", "a.b/c:latest", "oci:/nowhere:d"]
        .into_iter()
        .map(name)
        .collect();
    names.push(name(&format!("a.b/c@{manifest}")));
    for name in &names {
        store.set_ref(name, &record(name, manifest, None)).unwrap();
    }
    for name in &names {
        let found = store.ref_record(name).unwrap().unwrap();
        assert_eq!(found.name, name.to_string());
    }
    assert_eq!(store.names().records.len(), names.len());
    assert!(store.remove_ref(&names[0]).unwrap());
    assert!(!store.remove_ref(&names[0]).unwrap());
    assert_eq!(store.names().records.len(), names.len() - 1);
}

#[test]
fn a_tree_is_written_once_by_twenty_at_once() {
    let (_directory, store) = store();
    let (written, diff_id) = (AtomicUsize::new(0), Digest::of(b"layer"));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(
                || match store.begin_tree(&diff_id, in_a_minute(), &|| ()).unwrap() {
                    Begin::Late => panic!("nobody takes so long"),
                    Begin::Exists => assert!(store.has_tree(&diff_id)),
                    Begin::Write(tree) => {
                        std::thread::sleep(Duration::from_millis(20));
                        written.fetch_add(1, Ordering::SeqCst);
                        tree.commit(&meta(diff_id)).unwrap();
                    }
                },
            );
        }
    });
    assert_eq!(written.into_inner(), 1);
    assert_eq!(std::fs::read_dir(store.inbox()).unwrap().count(), 0);
}

#[test]
fn who_waits_for_a_tree_takes_over_when_its_writer_gives_up() {
    let (_directory, store) = store();
    let diff_id = Digest::of(b"layer");
    let Begin::Write(first) = store.begin_tree(&diff_id, in_a_minute(), &|| ()).unwrap() else {
        panic!("the tree is there already");
    };
    let partial = store
        .inbox()
        .join(format!("tree-{}/fs/partial", diff_id.hex()));
    std::fs::write(&partial, "x").unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| store.begin_tree(&diff_id, in_a_minute(), &|| ()).unwrap());
        std::thread::sleep(Duration::from_millis(50));
        drop(first);
        let Begin::Write(second) = second.join().unwrap() else {
            panic!("nobody has written the tree");
        };
        assert!(!partial.exists());
        second.commit(&meta(diff_id)).unwrap();
    });
    assert!(store.has_tree(&diff_id));
    assert_eq!(store.tree_meta(&diff_id).unwrap(), meta(diff_id));
}

#[test]
fn what_a_dead_writer_left_is_removed_first_even_when_unwritable() {
    let (_directory, store) = store();
    let diff_id = Digest::of(b"layer");
    let left = store.inbox().join(format!("tree-{}/fs/a/b", diff_id.hex()));
    std::fs::create_dir_all(&left).unwrap();
    std::fs::write(left.join("file"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", left.join("link")).unwrap();
    for directory in [left.as_path(), left.parent().unwrap()] {
        rustix::fs::chmod(directory, rustix::fs::Mode::empty()).unwrap();
    }
    let Begin::Write(tree) = store.begin_tree(&diff_id, in_a_minute(), &|| ()).unwrap() else {
        panic!("the tree is there already");
    };
    let entries = rustix::fs::Dir::read_from(tree.dir().as_fd())
        .unwrap()
        .count();
    assert_eq!(entries, 2, "only . and ..");
}
