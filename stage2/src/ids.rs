//! The text of an image's `/etc/passwd` and `/etc/group`, as hostile bytes: pure parsing.
//!
//! A line is `name:password:uid:gid:comment:home:shell` or `name:password:gid:member,member`. The first line with a name
//! counts, as in the C library. An id is decimal and below 2^31: nothing wraps round to 0 (CVE-2024-40635).

use crate::error::Error;

/// The longest line that is looked at; a longer one makes the whole file unusable.
pub(crate) const MAX_LINE: usize = 64 << 10;

/// One line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Its name.
    pub(crate) name: String,
    /// Its user id.
    pub(crate) uid: u32,
    /// Its own group.
    pub(crate) gid: u32,
    /// Its home directory; may be empty.
    pub(crate) home: String,
}

/// A decimal id below 2^31, and nothing else: no sign, no space, no hexadecimal.
pub(crate) fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 10 && text.bytes().all(|b| b.is_ascii_digit());
    let value = digits.then(|| text.parse::<u32>().ok()).flatten()?;
    (value < 1 << 31).then_some(value)
}

/// Is it written as a number? Such a text is never looked up as a name, so no `/etc/passwd` can redefine it.
pub(crate) fn numeric(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '-' | '+'))
        && text[1..].bytes().all(|b| b.is_ascii_digit())
}

/// Are all lines short enough?
pub(crate) fn bounded(text: &str) -> bool {
    text.split('\n').all(|line| line.len() <= MAX_LINE)
}

/// The user of a name.
pub(crate) fn user_named(passwd: &str, name: &str) -> Result<Option<User>, Error> {
    find_user(passwd, |found, _| found == name)
}

/// The first user of an id.
pub(crate) fn user_numbered(passwd: &str, uid: u32) -> Result<Option<User>, Error> {
    find_user(passwd, |_, id| number(id) == Some(uid))
}

fn find_user(passwd: &str, wanted: impl Fn(&str, &str) -> bool) -> Result<Option<User>, Error> {
    for line in passwd.split('\n') {
        let mut fields = line.split(':');
        let (name, uid, gid) = (fields.next(), fields.nth(1), fields.next());
        let (Some(name), uid) = (name, uid.unwrap_or_default()) else {
            continue;
        };
        if name.is_empty() || !wanted(name, uid) {
            continue;
        }
        let invalid = || Error::Entry("/etc/passwd", name.to_owned());
        return Ok(Some(User {
            name: name.to_owned(),
            uid: number(uid).ok_or_else(invalid)?,
            gid: gid.and_then(number).ok_or_else(invalid)?,
            home: fields.nth(1).unwrap_or_default().to_owned(),
        }));
    }
    Ok(None)
}

/// The id of a group's name.
pub(crate) fn group_named(group: &str, name: &str) -> Result<Option<u32>, Error> {
    for (found, gid, _) in groups(group) {
        if found == name {
            let gid = number(gid).ok_or_else(|| Error::Entry("/etc/group", name.to_owned()))?;
            return Ok(Some(gid));
        }
    }
    Ok(None)
}

/// The ids of all groups that have `user` as a member, in order, each once.
pub(crate) fn groups_of(group: &str, user: &str) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::new();
    for (name, gid, members) in groups(group) {
        if members.split(',').any(|member| member == user) {
            let gid = number(gid).ok_or_else(|| Error::Entry("/etc/group", name.to_owned()))?;
            if !ids.contains(&gid) {
                ids.push(gid);
            }
        }
    }
    Ok(ids)
}

fn groups(group: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    group.split('\n').filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        Some((name, fields.nth(1)?, fields.next().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nbroken\nwww:x:33:34::/var/www:/bin/sh\n\
        over:x:4294967296:0::/:\nminus:x:-1:0::/:\nbig:x:2147483648:0::/:\n1000:x:0:0::/root:\nnogid:x:7\nwww:x:0:0::/:\n";
    const GROUP: &str =
        "root:x:0:\nadm:x:4:root,www\nwww:x:34:\nbad:x:-4:evil\nx:x:9:www\ny:x:9:www,ww";

    #[test]
    fn a_number_is_decimal_and_below_2_to_the_31() {
        for (text, value) in [
            ("0", Some(0)),
            ("65534", Some(65534)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("4294967295", None),
            ("4294967296", None),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("0x10", None),
            ("١", None),
        ] {
            assert_eq!(number(text), value, "{text:?}");
        }
    }

    #[test]
    fn what_looks_like_a_number_is_never_a_name() {
        for text in ["0", "1000", "-1", "+0", "99999999999999999999"] {
            assert!(numeric(text), "{text:?}");
        }
        for text in ["", "a", "0a", "www-data", "_apt"] {
            assert!(!numeric(text), "{text:?}");
        }
    }

    #[test]
    fn the_first_entry_of_a_name_counts() {
        let www = user_named(PASSWD, "www").unwrap().unwrap();
        assert_eq!((www.uid, www.gid, www.home.as_str()), (33, 34, "/var/www"));
        assert_eq!(user_named(PASSWD, "nobody").unwrap(), None);
        assert_eq!(user_numbered(PASSWD, 33).unwrap().unwrap().name, "www");
        assert_eq!(user_numbered(PASSWD, 99).unwrap(), None);
    }

    #[test]
    fn an_entry_with_an_impossible_id_is_refused() {
        for name in ["over", "minus", "big", "nogid", "broken"] {
            assert!(user_named(PASSWD, name).is_err(), "{name}");
        }
        assert!(group_named(GROUP, "bad").is_err());
        assert!(groups_of(GROUP, "evil").is_err());
    }

    #[test]
    fn groups_are_whole_names_and_counted_once() {
        assert_eq!(groups_of(GROUP, "www").unwrap(), [4, 9]);
        assert!(groups_of(GROUP, "w").unwrap().is_empty());
        assert_eq!(group_named(GROUP, "adm").unwrap(), Some(4));
        assert_eq!(group_named(GROUP, "none").unwrap(), None);
    }
}
