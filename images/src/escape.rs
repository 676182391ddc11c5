//! Foreign text made safe to print: no control characters, no endless lines.

/// Longest text that is printed whole, in bytes of the original.
const LONGEST: usize = 256;
/// Longest message of another process.
const LONGEST_MESSAGE: usize = 4096;

/// `bytes` as one line of printable text. What is not UTF-8 or not printable is escaped, what is too long is cut.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    up_to(LONGEST, bytes, &['\'', '"'])
}

/// As [`text`], for a whole message: it may be longer, and names in it were escaped by who wrote it.
#[must_use]
pub fn message(bytes: &[u8]) -> String {
    up_to(LONGEST_MESSAGE, bytes, &['\'', '"', '\\'])
}

fn up_to(longest: usize, bytes: &[u8], as_they_are: &[char]) -> String {
    let shown = &bytes[..bytes.len().min(longest)];
    let mut line = String::with_capacity(shown.len());
    for chunk in shown.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                plain if as_they_are.contains(&plain) => line.push(plain),
                other => line.extend(other.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            line.push_str(&format!("\\x{byte:02x}"));
        }
    }
    if shown.len() < bytes.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{message, text};

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        for (given, shown) in [
            (&b"etc/passwd"[..], "etc/passwd"),
            (b"a\x1b[2Jb\n\r\x07", "a\\u{1b}[2Jb\\n\\r\\u{7}"),
            (
                "bi\u{202e}di \u{9b}c1".as_bytes(),
                "bi\\u{202e}di \\u{9b}c1",
            ),
            (b"latin-\xe91", "latin-\\xe91"),
            ("Käse's".as_bytes(), "Käse's"),
            (b"back\\slash", "back\\\\slash"),
        ] {
            assert_eq!(text(given), shown);
        }
        assert!(text(&[b'a'; 100_000]).len() < 300);
        let once = format!("entry '{}'", text(b"\x1b[2J"));
        assert_eq!(message(once.as_bytes()), once);
        assert_eq!(message(b"\x1b\xff"), "\\u{1b}\\xff");
    }
}
