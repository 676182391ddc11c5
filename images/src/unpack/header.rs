//! One 512-byte header. Numbers that tar readers understand differently are refused, not guessed.

use tar::Header;

/// Size of a header, and of the units that data is padded to.
pub(super) const BLOCK: usize = 512;

/// The numbers of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
}

/// Checks the sum of all bytes, with the sum's own field as blanks. Old writers added the bytes up as signed.
pub(super) fn check_sum(block: &[u8; BLOCK]) -> Result<(), &'static str> {
    let field = 148..156;
    let bytes = || {
        block
            .iter()
            .enumerate()
            .map(|(at, byte)| if field.contains(&at) { b' ' } else { *byte })
    };
    let unsigned: u64 = bytes().map(u64::from).sum();
    let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
    let given = number(&block[field.clone()])?;
    if given == unsigned || i64::try_from(given).is_ok_and(|given| given == signed) {
        return Ok(());
    }
    Err("its header has a wrong checksum")
}

pub(super) fn numbers(header: &Header) -> Result<Numbers, &'static str> {
    let fields = header.as_old();
    Ok(Numbers {
        mode: u32::try_from(number(&fields.mode)?).map_err(|_| "its mode is out of range")?,
        uid: number(&fields.uid)?,
        gid: number(&fields.gid)?,
        size: number(&fields.size)?,
        mtime: time(&fields.mtime)?,
    })
}

/// Device numbers, for a header that has them.
pub(super) fn device(header: &Header) -> Result<(u32, u32), &'static str> {
    let (major, minor) = match (header.as_ustar(), header.as_gnu()) {
        (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
        (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
        _ => return Err("it is a device without device numbers"),
    };
    let part =
        |field| u32::try_from(number(field)?).map_err(|_| "its device number is out of range");
    Ok((part(major)?, part(minor)?))
}

/// A number in octal digits, or in base 256 when the first bit is set; not negative, below 2^63.
pub(super) fn number(field: &[u8]) -> Result<u64, &'static str> {
    const RANGE: &str = "a number in its header is negative or out of range";
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        let value = base256(field).ok_or(RANGE)?;
        return u64::try_from(value).map_err(|_| RANGE);
    }
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let digits = text.trim_ascii();
    let mut value: u64 = 0;
    for digit in digits {
        if !matches!(digit, b'0'..=b'7') {
            return Err("a number in its header is not octal");
        }
        value = value
            .checked_mul(8)
            .map(|value| value | u64::from(digit - b'0'))
            .filter(|value| i64::try_from(*value).is_ok())
            .ok_or(RANGE)?;
    }
    Ok(value)
}

/// As [`number`], but before 1970 is possible.
fn time(field: &[u8]) -> Result<i64, &'static str> {
    if field[0] & 0x80 != 0 {
        return base256(field).ok_or("the time in its header is out of range");
    }
    number(field).map(|value| i64::try_from(value).unwrap_or(i64::MAX))
}

/// Two's complement, big endian; the first bit of the field is a mark.
fn base256(field: &[u8]) -> Option<i64> {
    let (first, rest) = field.split_first()?;
    let negative = first & 0x40 != 0;
    let mut value = i128::from(first & 0x7f);
    if negative {
        value -= 0x80;
    }
    for byte in rest {
        value = value.checked_mul(256)? + i128::from(*byte);
    }
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_base_256_and_in_range() {
        for (field, value) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"777777777777", Some(0o777_777_777_777)),
            (b"\x80\0\0\0\0\0\0\x01\0\0\0\0", Some(1 << 32)),
            (
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                Some(i64::MAX as u64),
            ),
            (b"\x80\0\0\0\x80\0\0\0\0\0\0\0", None),
            (b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xfe\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"0x00644\0", None),
            (b"6 4\0\0\0\0\0", None),
        ] {
            assert_eq!(number(field).ok(), value, "{field:?}");
        }
        assert_eq!(
            time(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            Ok(-1)
        );
    }
}
