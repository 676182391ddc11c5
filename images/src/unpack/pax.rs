//! PAX records: `<length> <key>=<value>\n`, read by their length, because a value may hold anything, newlines too.

/// What a PAX header says about the next entry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Seconds since 1970 and nanoseconds.
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

const XATTR: &[u8] = b"SCHILY.xattr.";
/// The most extended attributes of an entry.
const MOST_XATTRS: usize = 256;

/// The records of a local header.
pub(super) fn parse(data: &[u8]) -> Result<Pax, &'static str> {
    let mut pax = Pax::default();
    let mut rest = data;
    while let Some((key, value)) = record(&mut rest)? {
        match key {
            b"path" => set(&mut pax.path, text(value)?)?,
            b"linkpath" => set(&mut pax.link, text(value)?)?,
            b"size" => set(&mut pax.size, decimal(value)?)?,
            b"uid" => set(&mut pax.uid, decimal(value)?)?,
            b"gid" => set(&mut pax.gid, decimal(value)?)?,
            b"mtime" => set(&mut pax.mtime, time(value)?)?,
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err("it is sparse in the PAX form, which is not supported");
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    add_xattr(&mut pax.xattrs, name, value)?;
                }
            }
        }
    }
    Ok(pax)
}

/// A global header holds for all later entries. Nothing that decides about names and extents may come from there.
pub(super) fn check_global(data: &[u8]) -> Result<(), &'static str> {
    let mut rest = data;
    while let Some((key, _)) = record(&mut rest)? {
        let decides = matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid")
            || key.starts_with(XATTR)
            || key.starts_with(b"GNU.sparse.");
        if decides {
            return Err("a global header sets names, sizes or owners of all entries");
        }
    }
    Ok(())
}

/// Key and value.
type Record<'a> = (&'a [u8], &'a [u8]);

/// Takes the next record off `rest`.
fn record<'a>(rest: &mut &'a [u8]) -> Result<Option<Record<'a>>, &'static str> {
    const MALFORMED: &str = "its PAX header is malformed";
    if rest.is_empty() {
        return Ok(None);
    }
    let blank = rest
        .iter()
        .take(20)
        .position(|byte| *byte == b' ')
        .ok_or(MALFORMED)?;
    let length = usize::try_from(decimal(&rest[..blank])?).map_err(|_| MALFORMED)?;
    let record = rest
        .get(..length)
        .filter(|record| record.len() > blank + 1)
        .ok_or(MALFORMED)?;
    *rest = &rest[length..];
    let body = record[blank + 1..].strip_suffix(b"\n").ok_or(MALFORMED)?;
    let equals = body
        .iter()
        .position(|byte| *byte == b'=')
        .ok_or(MALFORMED)?;
    if equals == 0 || body[..equals].contains(&0) {
        return Err(MALFORMED);
    }
    Ok(Some((&body[..equals], &body[equals + 1..])))
}

fn set<T>(field: &mut Option<T>, value: T) -> Result<(), &'static str> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err("its PAX header says the same thing twice"),
    }
}

fn add_xattr(
    known: &mut Vec<(Vec<u8>, Vec<u8>)>,
    name: &[u8],
    value: &[u8],
) -> Result<(), &'static str> {
    if known.iter().any(|(other, _)| other == name) {
        return Err("its PAX header says the same thing twice");
    }
    if known.len() == MOST_XATTRS {
        return Err("it has too many extended attributes");
    }
    known.push((name.to_vec(), value.to_vec()));
    Ok(())
}

fn text(value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.is_empty() || value.contains(&0) {
        return Err("a name in its PAX header is empty or has a NUL");
    }
    Ok(value.to_vec())
}

fn decimal(value: &[u8]) -> Result<u64, &'static str> {
    let digits = std::str::from_utf8(value).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err("a number in its PAX header is not decimal");
    }
    digits
        .parse::<i64>()
        .map(i64::unsigned_abs)
        .map_err(|_| "a number in its PAX header is out of range")
}

/// Decimal seconds with an optional fraction, possibly negative. More than nine digits of the fraction are cut.
fn time(value: &[u8]) -> Result<(i64, u32), &'static str> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let point = value.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (value, &b""[..]),
    };
    let seconds = decimal(whole)?.cast_signed();
    let mut nanoseconds = 0;
    for at in 0..9 {
        let digit = fraction.get(at).copied().unwrap_or(b'0');
        if !digit.is_ascii_digit() {
            return Err("a time in its PAX header is not decimal");
        }
        nanoseconds = nanoseconds * 10 + u32::from(digit - b'0');
    }
    match (negative, nanoseconds) {
        (false, _) => Ok((seconds, nanoseconds)),
        (true, 0) => Ok((-seconds, 0)),
        (true, _) => Ok((-seconds - 1, 1_000_000_000 - nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_by_their_length() {
        let pax =
            parse(b"33 SCHILY.xattr.user.x=a\n9 b=c\nd\n12 path=a\nb\n24 mtime=-1.25000000009\n")
                .unwrap();
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"a\n9 b=c\nd".to_vec())]);
        assert_eq!(pax.path.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(pax.mtime, Some((-2, 750_000_000)));
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for bad in [
            &b"8 path=a\n"[..],
            b"11 path=a\n",
            b"10 path=ab",
            b"0 path=a\n",
            b"99999999999999999999 path=a\n",
            b"-10 path=a\n",
            b"+10 path=a\n",
            b"4 =\n",
            b"6 =ab\n",
            b"5 ab\n",
            b"\n",
            b"8 path=\n",
            b"12 path=a\0b\n",
            b"10 path=a\n10 path=b\n",
            b"10 size=1\n10 size=1\n",
            b"11 size=-1\n",
            b"11 size=+1\n",
            b"12 size=0x1\n",
            b"28 size=9223372036854775808\n",
            b"22 GNU.sparse.major=1\n",
            b"13 mtime=1.x\n",
            b"25 SCHILY.xattr.user.a=b\n25 SCHILY.xattr.user.a=c\n",
            b"9 mtime=\n",
        ] {
            assert!(parse(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        for bad in [
            &b"10 path=a\n"[..],
            b"10 size=1\n",
            b"25 SCHILY.xattr.user.a=b\n",
        ] {
            assert!(check_global(bad).is_err());
        }
        assert!(check_global(b"13 comment=a\n").is_ok());
        let many = |count: usize| -> Vec<u8> {
            (0..count)
                .flat_map(|at| format!("27 SCHILY.xattr.user.{at:03}=b\n").into_bytes())
                .collect()
        };
        assert!(parse(&many(MOST_XATTRS)).is_ok());
        assert!(parse(&many(MOST_XATTRS + 1)).is_err());
    }
}
