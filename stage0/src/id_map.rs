//! Which user and group ids this caller's pods and layers can have: decided once, used for unpacking and for running.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::unistd::{Uid, getegid, geteuid};
use pod::{Extent, IdMap, IdMapChoice};

/// Ids of one pod, and of the layers in root's store.
const COUNT: u32 = 65_536;

/// The range from which root's pods take theirs: the one that systemd-nspawn and nsresourced leave to others.
const FIRST: u32 = 0x7000_0000;
const LAST: u32 = 0x7ffd_ffff;

/// systemd's "foreign" range: no user of the host has these ids, and no pod.
const STORE_BASE: u32 = 2_147_352_576;

/// The last of that range: no process has it, and of files in the store those that a layer gives to 65535.
pub(crate) const UNUSED: u32 = STORE_BASE + COUNT - 1;

/// Where `newuidmap` and `newgidmap` are; not `PATH`, for they decide over ids.
const PROGRAMS: &[&str] = &["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin"];

/// The choice for this process's user.
pub(crate) fn choose() -> IdMapChoice {
    let (uid, gid) = (geteuid(), getegid());
    if uid.is_root() {
        return IdMapChoice::Range {
            first: FIRST,
            last: LAST,
            count: COUNT,
            store_base: STORE_BASE,
        };
    }
    subordinate(uid, gid.as_raw()).unwrap_or(IdMapChoice::Single {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
    })
}

/// The ids of files that are made for the user rather than for the store: as root the image's own, else the caller's.
pub(crate) fn of_user_files() -> IdMapChoice {
    let (uid, gid) = (geteuid(), getegid());
    match uid.is_root() {
        true => IdMapChoice::Range {
            first: 0,
            last: 0,
            count: COUNT,
            store_base: 0,
        },
        false => IdMapChoice::Single {
            uid: uid.as_raw(),
            gid: gid.as_raw(),
        },
    }
}

fn subordinate(uid: Uid, gid: u32) -> Option<IdMapChoice> {
    let newuidmap = program("newuidmap")?;
    let newgidmap = program("newgidmap")?;
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let name = user_name(&read("/etc/passwd"), uid.as_raw());
    let map = IdMap {
        uids: extents(
            &read("/etc/subuid"),
            name.as_deref(),
            uid.as_raw(),
            uid.as_raw(),
        )?,
        gids: extents(&read("/etc/subgid"), name.as_deref(), uid.as_raw(), gid)?,
    };
    Some(IdMapChoice::Subordinate {
        map,
        newuidmap,
        newgidmap,
    })
}

/// The absolute path of an executable, if it is installed.
fn program(name: &str) -> Option<String> {
    PROGRAMS
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| {
            fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
        .and_then(|path| path.into_os_string().into_string().ok())
}

/// What `/etc/passwd` calls the user `uid`.
pub(crate) fn name_of(uid: u32) -> Option<String> {
    user_name(&fs::read_to_string("/etc/passwd").ok()?, uid)
}

fn user_name(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The user and group id of the account `name`.
pub(crate) fn account(name: &str) -> Option<(u32, u32)> {
    account_in(&fs::read_to_string("/etc/passwd").ok()?, name)
}

fn account_in(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        Some((uid, fields.next()?.parse().ok()?))
    })
}

/// Container id 0 is `own`; 1 and up are the ranges that `table` (`subuid(5)`) gives to the user, in its order.
fn extents(table: &str, name: Option<&str>, uid: u32, own: u32) -> Option<Vec<Extent>> {
    let mut extents = vec![Extent {
        inside: 0,
        host: own,
        count: 1,
    }];
    let mut next = 1;
    for (first, count) in ranges(table, name, uid) {
        let count = count.min(COUNT - next);
        if count == 0 {
            break;
        }
        extents.push(Extent {
            inside: next,
            host: first,
            count,
        });
        next += count;
    }
    (next > 1).then_some(extents)
}

fn ranges<'a>(
    table: &'a str,
    name: Option<&'a str>,
    uid: u32,
) -> impl Iterator<Item = (u32, u32)> + 'a {
    table.lines().filter_map(move |line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        first.checked_add(count)?;
        let ours = name == Some(owner) || owner.parse() == Ok(uid);
        (ours && first > 0 && fields.next().is_none()).then_some((first, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(table: &str) -> Option<String> {
        extents(table, Some("ann"), 1000, 1000).map(|extents| IdMap::lines(&extents))
    }

    #[test]
    fn the_callers_ranges_follow_the_caller() {
        for (table, expected) in [
            ("ann:100000:65536\n", Some("0 1000 1\n1 100000 65535\n")),
            (
                "bob:1:1\n1000:200000:10\nann:300000:5\n",
                Some("0 1000 1\n1 200000 10\n11 300000 5\n"),
            ),
            (
                "ann:100000:70000\nann:300000:5\n",
                Some("0 1000 1\n1 100000 65535\n"),
            ),
            ("bob:100000:65536\n", None),
            (
                "ann:0:10\nann:x:1\nann:5:0\nann:4294967295:2\nann:1:1:1\n# ann:1:1\n",
                None,
            ),
            ("", None),
        ] {
            assert_eq!(lines(table).as_deref(), expected, "{table:?}");
        }
    }

    #[test]
    fn accounts_are_found_in_passwd() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\nskua:x:990:991::/:/usr/sbin/nologin\n";
        assert_eq!(account_in(passwd, "skua"), Some((990, 991)));
        assert_eq!(account_in(passwd, "nobody"), None);
        assert_eq!(user_name(passwd, 990).as_deref(), Some("skua"));
        assert_eq!(user_name(passwd, 991), None);
    }
}
