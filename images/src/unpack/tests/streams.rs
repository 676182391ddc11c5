//! The pipeline: digests, sizes, compression, ends.

use super::*;

fn unpack(blob: &[u8], expect: &Expect, limits: &Limits) -> Result<LayerReport, UnpackError> {
    let ground = Ground::new();
    let root = std::fs::File::open(&ground.root).unwrap();
    layer(blob, expect, root.as_fd(), Ownership::Keep, limits)
}

fn archive() -> Vec<u8> {
    let mut bytes = vec![0; 3_000_000];
    let mut state = 1_u32;
    for byte in &mut bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8 & 0x3f;
    }
    tar(&[directory("d"), file("d/big", bytes), file("small", "s")]).ended()
}

#[test]
fn plain_gzip_and_zstd_give_the_same_tree() {
    let archive = archive();
    let members = [gzip(&archive[..1000]), gzip(&archive[1000..])].concat();
    let mut stored = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    stored.write_all(&archive).unwrap();
    let zstd = zstd::encode_all(archive.as_slice(), 3).unwrap();
    let frames = [
        zstd::encode_all(&archive[..5000], 3).unwrap(),
        vec![0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3],
        zstd::encode_all(&archive[5000..], 3).unwrap(),
    ]
    .concat();
    for (compression, blob) in [
        ("", archive.clone()),
        ("+gzip", gzip(&archive)),
        ("+gzip", members),
        ("+gzip", stored.finish().unwrap()),
        ("+zstd", zstd),
        ("+zstd", frames),
    ] {
        let expect = expect(compression, &blob, &archive);
        let report = unpack(&blob, &expect, &Limits::default()).unwrap();
        assert_eq!(report.archive_bytes, archive.len() as u64);
        assert_eq!((report.files, report.file_bytes), (2, 3_000_001));
    }
}

#[test]
fn a_blob_that_is_not_the_one_expected_is_named_as_such() {
    let archive = archive();
    let blob = gzip(&archive);
    let good = expect("+gzip", &blob, &archive);
    for at in [3, 11, blob.len() / 2, blob.len() - 5, blob.len() - 1] {
        let mut flipped = blob.clone();
        flipped[at] ^= 4;
        let error = unpack(&flipped, &good, &Limits::default()).unwrap_err();
        assert!(matches!(error, UnpackError::Digest { .. }), "{at}: {error}");
    }
    let longer = [blob.as_slice(), b"x"].concat();
    assert!(matches!(
        unpack(&longer, &good, &Limits::default()),
        Err(UnpackError::TooLong(_))
    ));
    for end in [0, 1, 5, blob.len() / 2, blob.len() - 1] {
        let error = unpack(&blob[..end], &good, &Limits::default()).unwrap_err();
        assert!(
            matches!(
                error,
                UnpackError::TooShort { .. } | UnpackError::Compression { .. }
            ),
            "{end}: {error}"
        );
    }
    let other = Expect {
        diff_id: Digest::of(b"other"),
        ..good.clone()
    };
    assert!(matches!(
        unpack(&blob, &other, &Limits::default()),
        Err(UnpackError::DiffId { .. })
    ));
}

#[test]
fn a_blob_is_read_only_up_to_its_size() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0 += into.len() as u64;
            into.fill(0);
            Ok(into.len())
        }
    }
    let archive = archive();
    let expect = expect("", &archive, &archive);
    let ground = Ground::new();
    let root = std::fs::File::open(&ground.root).unwrap();
    let mut endless = Endless(0);
    let error = layer(
        &mut endless,
        &expect,
        root.as_fd(),
        Ownership::Keep,
        &Limits::default(),
    );
    assert!(matches!(error, Err(UnpackError::TooLong(_))));
    assert!(endless.0 <= expect.size + 1, "{}", endless.0);
}

#[test]
fn the_media_type_decides_about_compression() {
    let archive = archive();
    let blob = gzip(&archive);
    for (compression, blob) in [("+zstd", &blob), ("+gzip", &archive), ("+zstd", &archive)] {
        let error = unpack(
            blob,
            &expect(compression, blob, &archive),
            &Limits::default(),
        );
        assert!(matches!(error, Err(UnpackError::Compression { .. })));
    }
    let mut strange = expect("", &archive, &archive);
    strange.media_type = "text/\u{1b}html".to_owned();
    let error = unpack(&archive, &strange, &Limits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "layers of media type 'text/\\u{1b}html' are not supported"
    );
}

#[test]
fn everything_after_the_archive_is_hashed_and_nothing_of_it_is_made() {
    let ground = Ground::new();
    let second = tar(&[file("second", "2")]).ended();
    let archive = [tar(&[file("first", "1")]).ended(), second, vec![7; 600_000]].concat();
    ground.unpack_bytes(&archive, &Limits::default()).unwrap();
    assert!(ground.at("first").exists() && !ground.at("second").exists());
}

#[test]
fn trailing_garbage_after_gzip_is_refused() {
    let archive = archive();
    let blob = [gzip(&archive), b"garbage after the last member".to_vec()].concat();
    let error = unpack(&blob, &expect("+gzip", &blob, &archive), &Limits::default());
    assert!(matches!(error, Err(UnpackError::Decompress(_))));
}

#[test]
fn bombs_end_at_their_limit() {
    let zeros = tar(&[file("zeros", vec![0; 8 << 20])]).ended();
    let blob = gzip(&zeros);
    let good = expect("+gzip", &blob, &zeros);
    let bytes = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    let ratio = Limits {
        ratio: 20,
        ratio_from: 1 << 20,
        ..Limits::default()
    };
    for limits in [bytes, ratio] {
        let error = unpack(&blob, &good, &limits).unwrap_err();
        assert!(matches!(error, UnpackError::Limit { .. }), "{error}");
    }
    assert!(unpack(&blob, &good, &Limits::default()).is_ok());
    // A window of 256 MiB.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(28).unwrap();
    encoder.write_all(&zeros).unwrap();
    let blob = encoder.finish().unwrap();
    let error = unpack(&blob, &expect("+zstd", &blob, &zeros), &Limits::default());
    assert!(matches!(error, Err(UnpackError::Decompress(_))));
    // A header that never ends.
    let mut endless = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3];
    endless.resize(1 << 20, b'n');
    let error = unpack(
        &endless,
        &expect("+gzip", &endless, &zeros),
        &Limits::default(),
    );
    assert!(matches!(error, Err(UnpackError::Decompress(_))));
}
