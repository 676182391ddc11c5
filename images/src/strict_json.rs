//! The one way in for JSON from outside: bounded in size and depth, each key once, nothing before or after the document.
//!
//! Two readers that disagree about a document are an attack (one checks, the other runs), so whatever JSON libraries are known
//! to read differently is refused: a key given twice, a byte order mark, a second document, numbers out of range; and, where
//! [`Bounds`] say so, a key given twice in capital and small letters, which Go's library takes for the same.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};
use thiserror::Error;

/// The most objects and arrays that may stand inside each other.
pub const MAX_DEPTH: u32 = 64;

/// The most values of a document: what becomes of a few bytes each in memory is bounded by their number.
pub const MAX_VALUES: u32 = 250_000;

/// How much a document may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes.
    pub bytes: u64,
    /// Objects and arrays inside each other.
    pub depth: u32,
    /// Down to this depth no two keys of an object may differ in the case of their letters only; 0: they may.
    pub same_case: u32,
}

/// Why a document was refused.
#[derive(Debug, Error)]
pub enum JsonError {
    /// It has more bytes than its kind may have.
    #[error("the document has {0} bytes, more than the {1} allowed")]
    TooLarge(usize, usize),
    /// It begins with a byte order mark.
    #[error("the document begins with a byte order mark")]
    ByteOrderMark,
    /// It is not JSON, or JSON that two readers could understand differently.
    #[error("not strict JSON")]
    Syntax(#[source] serde_json::Error),
    /// It is JSON of another form than expected.
    #[error("not the expected document")]
    Form(#[source] serde_json::Error),
}

/// Reads `bytes`, at most `limit` of them, as one JSON document.
///
/// # Errors
/// A [`JsonError`] that says what about the document was refused.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, JsonError> {
    let bounds = Bounds {
        bytes: limit as u64,
        depth: MAX_DEPTH,
        same_case: 0,
    };
    within(bytes, bounds)
}

/// Reads `bytes` as one JSON document within `bounds`.
///
/// # Errors
/// A [`JsonError`] that says what about the document was refused.
pub fn within<T: DeserializeOwned>(bytes: &[u8], bounds: Bounds) -> Result<T, JsonError> {
    let limit = usize::try_from(bounds.bytes).unwrap_or(usize::MAX);
    if bytes.len() > limit {
        return Err(JsonError::TooLarge(bytes.len(), limit));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(JsonError::ByteOrderMark);
    }
    check(bytes, bounds).map_err(JsonError::Syntax)?;
    serde_json::from_slice(bytes).map_err(JsonError::Form)
}

fn check(bytes: &[u8], bounds: Bounds) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let checker = Checker {
        depth: 0,
        bounds,
        values: &Cell::new(0),
    };
    checker.deserialize(&mut reader)?;
    reader.end()
}

/// Walks over one value without keeping it.
#[derive(Clone, Copy)]
struct Checker<'a> {
    depth: u32,
    bounds: Bounds,
    /// Values so far.
    values: &'a Cell<u32>,
}

impl Checker<'_> {
    fn below<E: Error>(self) -> Result<Self, E> {
        let limit = self.bounds.depth;
        if self.depth >= limit {
            return Err(E::custom(format_args!("nested more than {limit} deep")));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }

    /// The form of a key by which it must be the only one of its object.
    fn form(self, key: Cow<'_, str>) -> Cow<'_, str> {
        match self.depth <= self.bounds.same_case {
            // Both ways, because some letters are small in one form of two large ones.
            true => Cow::Owned(key.to_uppercase().to_lowercase()),
            false => key,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Checker<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            let text = format_args!("more than {MAX_VALUES} values");
            return Err(D::Error::custom(text));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checker<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let below = self.below()?;
        while items.next_element_seed(below)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let below = self.below()?;
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            if !seen.insert(below.form(key.clone())) {
                return Err(A::Error::custom(format_args!(
                    "key {key:?} stands twice in one object"
                )));
            }
            entries.next_value_seed(below)?;
        }
        Ok(())
    }
}

/// Reads a key, borrowed from the document where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;
    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }
    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        let error = from_slice::<serde_json::Value>(bytes, 4096).unwrap_err();
        let cause = std::error::Error::source(&error).map_or(String::new(), |e| format!(": {e}"));
        format!("{error}{cause}")
    }

    #[test]
    fn a_plain_document_is_read() {
        let read: serde_json::Value = from_slice(
            b" {\"a\":[1,-2,3.5,null,true,\"\\u00e9\"],\"b\":{\"a\":{}}}\n",
            4096,
        )
        .unwrap();
        assert_eq!(read["b"]["a"], serde_json::json!({}));
        assert_eq!(read["a"][5], "é");
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        let cases: &[(&[u8], &str)] = &[
            (br#"{"a":1,"a":2}"#, "twice"),
            (br#"{"a":1,"\u0061":2}"#, "twice"),
            (br#"[{"x":{"k":1,"j":2,"k":1}}]"#, "\"k\" stands twice"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (b"{} {}", "trailing characters"),
            (b"{}\0", "trailing characters"),
            (b"{\"a\":1,}", "trailing comma"),
            (b"[NaN]", "expected"),
            (b"[1e999]", "out of range"),
            (b"[01]", "invalid number"),
            (b"{'a':1}", "key must be a string"),
            (b"[\"\xff\"]", "unicode"),
            (b"[\"\\ud800\"]", "hex escape"),
            (b"[\"a\nb\"]", "control character"),
            (b"{\"a\":", "EOF"),
            (b"", "EOF"),
            (deep.as_bytes(), "nested more than 64"),
        ];
        for (document, expected) in cases {
            let said = refusal(document);
            assert!(
                said.contains(expected),
                "{document:?}: {said:?} lacks {expected:?}"
            );
        }
    }

    #[test]
    fn depth_and_size_are_allowed_up_to_their_limits() {
        let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
        from_slice::<serde_json::Value>(deep.as_bytes(), 128).unwrap();
        assert!(matches!(
            from_slice::<serde_json::Value>(deep.as_bytes(), 127),
            Err(JsonError::TooLarge(128, 127))
        ));
    }

    #[test]
    fn keys_that_differ_in_case_only_are_refused_down_to_the_depth_asked_for() {
        let read = |same_case, document: &str| {
            let bounds = Bounds {
                bytes: 4096,
                depth: MAX_DEPTH,
                same_case,
            };
            within::<serde_json::Value>(document.as_bytes(), bounds).is_ok()
        };
        for document in [
            r#"{"config":1,"Config":2}"#,
            r#"{"layers":1,"layer\u017f":2}"#,
            r#"{"k":1,"\u212a":2}"#,
        ] {
            assert!(!read(1, document), "{document}");
            assert!(read(0, document), "{document}");
        }
        assert!(read(1, r#"{"labels":{"A":1,"a":2}}"#));
        assert!(!read(2, r#"{"labels":{"A":1,"a":2}}"#));
        assert!(read(2, r#"{"a":{"x":1},"b":{"X":2}}"#));
    }

    #[test]
    fn a_document_has_only_so_many_values() {
        let document = |count: u32| format!("[{}1]", "1,".repeat(count as usize - 2));
        let read = |text: String| from_slice::<IgnoredAny>(text.as_bytes(), 1 << 20).is_ok();
        assert!(read(document(MAX_VALUES)));
        assert!(!read(document(MAX_VALUES + 1)));
    }

    #[test]
    fn a_form_error_is_told_from_a_syntax_error() {
        assert!(matches!(
            from_slice::<u8>(b"\"x\"", 10),
            Err(JsonError::Form(_))
        ));
        assert!(matches!(
            from_slice::<u8>(b"x", 10),
            Err(JsonError::Syntax(_))
        ));
    }
}
