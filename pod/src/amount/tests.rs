//! Texts that are amounts, and texts that only look like it.

use super::*;

#[test]
fn sizes_are_bytes_with_a_unit_of_1024() {
    for (text, expected, shown) in [
        ("64M", 64 << 20, "64M"),
        ("4194304", 4 << 20, "4M"),
        ("1g", 1 << 30, "1G"),
        ("1025", 1025, "1025"),
        ("1536K", 1536 << 10, "1536K"),
        ("2048G", 2 << 40, "2T"),
    ] {
        assert_eq!(bytes(text), Ok(expected), "{text}");
        assert_eq!(show_bytes(expected), shown);
    }
    for text in [
        "",
        "0",
        "-1",
        "64MB",
        "1.5G",
        "64 M",
        "M",
        "0x40",
        "99999999T",
        "unlimited",
        "1é",
    ] {
        assert!(bytes(text).is_err(), "{text}");
    }
    assert_eq!((bytes_or_none("0"), show_bytes(0)), (Ok(0), "0".to_owned()));
    assert!(bytes_or_none("").is_err());
}

#[test]
fn processors_are_counted_to_the_hundredth() {
    for (text, expected, shown) in [
        ("1", 100_000, "1"),
        ("1.5", 150_000, "1.5"),
        ("0.25", 25_000, "0.25"),
        ("0.01", 1000, "0.01"),
        ("10.00", 1_000_000, "10"),
        ("10000", 1_000_000_000, "10000"),
    ] {
        let found = processors(text).unwrap();
        assert_eq!(found.quota_us, expected, "{text}");
        assert_eq!(show_processors(found), shown);
    }
    for text in [
        "", "0", "0.0", "0.001", "-1", ".5", "1.", "1,5", "1e3", "10000.01", "10001", "50%",
    ] {
        assert!(processors(text).is_err(), "{text}");
    }
    let typed_by_nobody = CpuQuota {
        quota_us: 7,
        period_us: 9,
    };
    assert_eq!(show_processors(typed_by_nobody), "(7 of 9 microseconds)");
}

#[test]
fn lists_weights_and_numbers_of_processes_are_strict() {
    for (text, ranges) in [
        ("0", vec![0..=0]),
        ("0-3", vec![0..=3]),
        ("0-3,7", vec![0..=3, 7..=7]),
    ] {
        assert_eq!(set(text), Ok(ranges), "{text}");
    }
    for text in [
        "", ",", "3-1", "0-", "a", "0,,1", "0 ", "65536", "0-3\n", "all",
    ] {
        assert!(set(text).is_err(), "{text}");
    }
    assert_eq!((weight("1"), weight("10000")), (Ok(1), Ok(10_000)));
    let bad = ["0", "10001", "", "x"];
    assert!(bad.iter().all(|text| weight(text).is_err()));
    assert_eq!(processes("unlimited"), Ok(PidsLimit::Unlimited));
    assert_eq!(processes("7"), Ok(PidsLimit::Max { count: 7 }));
    let bad = ["0", "-1", "", "max", "4194305"];
    assert!(bad.iter().all(|text| processes(text).is_err()));
}

#[test]
fn rates_are_for_one_disk_and_at_least_one_is_given() {
    let found = rates("8:16,rbps=1M,wiops=100").unwrap();
    assert_eq!((found.major, found.minor), (8, 16));
    assert_eq!((found.read_bytes, found.write_bytes), (Some(1 << 20), None));
    assert_eq!(
        (found.read_operations, found.write_operations),
        (None, Some(100))
    );
    assert_eq!(show_rates(&found), "8:16,rbps=1M,wiops=100");
    for text in [
        "",
        "8:0",
        "8:0,",
        "8,rbps=1",
        "sda,rbps=1",
        "8:0,rbps",
        "8:0,rbps=0",
        "8:0,bps=1",
        "8:0,rbps=1,rbps=2",
        "/dev/null,rbps=1",
        "/nonexistent,rbps=1",
        "8:0,riops=1M",
        "8:0,riops=0",
    ] {
        assert!(rates(text).is_err(), "{text}");
    }
}

#[test]
fn numbers_of_devices_are_put_together_from_both_parts() {
    assert_eq!(numbers(0x0103), (1, 3));
    assert_eq!(numbers(0x0801), (8, 1));
    // 259:4096, as a disk of many that is not SCSI has.
    assert_eq!(numbers((4096 << 12) | (259 << 8)), (259, 4096));
    assert_eq!(numbers(0x5000 << 32), (0x5000, 0));
}
