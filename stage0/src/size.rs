//! Sizes for people.

/// `bytes` with three significant digits and a binary unit.
pub(crate) fn text(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut rest = bytes;
    let mut tenths = 0;
    while rest >= 1024 && unit + 1 < UNITS.len() {
        tenths = rest % 1024 * 10 / 1024;
        rest /= 1024;
        unit += 1;
    }
    match rest {
        0..100 if unit > 0 => format!("{rest}.{tenths} {}", UNITS[unit]),
        _ => format!("{rest} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn sizes_are_short() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (200 << 20, "200 MiB"),
            ((99 << 20) + (512 << 10), "99.5 MiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(text(bytes), shown);
        }
    }
}
