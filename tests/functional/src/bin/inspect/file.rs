//! Files, as this process may use them.

use std::fs::{self, Metadata, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use crate::{Answer, Reply, number, outcome, outcome_io, word};

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    Some(match question {
        "read" => read(words),
        "write" => change(
            words,
            OpenOptions::new().write(true).create(true).truncate(true),
        ),
        "append" => change(words, OpenOptions::new().append(true)),
        "stat" => word(words, 0).and_then(stat),
        "list" => word(words, 0).and_then(list),
        "tree" => word(words, 0).and_then(tree),
        "open" => try_open(words),
        "read-from" => read_from(words),
        "mkdir" => word(words, 0).and_then(|p| outcome_io(fs::create_dir(p))),
        "unlink" => word(words, 0).and_then(|p| outcome_io(fs::remove_file(p))),
        "symlink" => two(words, |a, b| std::os::unix::fs::symlink(a, b)),
        "rename" => two(words, |a, b| fs::rename(a, b)),
        "chown" => chown(words),
        "chmod" => chmod(words),
        "mknod" => device(words),
        "mkfifo" => word(words, 0)
            .and_then(|p| outcome(nix::unistd::mkfifo(p, Mode::from_bits_truncate(0o600)))),
        _ => return None,
    })
}

/// `read PATH`: `{"ok": true, "text": …}`, at most 1 MiB.
fn read(words: &[&str]) -> Answer {
    use std::io::Read;
    let mut bytes = Vec::new();
    let result =
        fs::File::open(word(words, 0)?).and_then(|file| file.take(1 << 20).read_to_end(&mut bytes));
    match result {
        Ok(_) => Ok(Reply::Json(
            json!({"ok": true, "text": String::from_utf8_lossy(&bytes)}),
        )),
        Err(e) => outcome_io::<()>(Err(e)),
    }
}

/// `write PATH TEXT`, `append PATH TEXT`.
fn change(words: &[&str], options: &OpenOptions) -> Answer {
    let text = word(words, 1)?;
    outcome_io(
        options
            .open(word(words, 0)?)
            .and_then(|mut file| file.write_all(text.as_bytes())),
    )
}

fn two(words: &[&str], act: impl Fn(&str, &str) -> std::io::Result<()>) -> Answer {
    outcome_io(act(word(words, 0)?, word(words, 1)?))
}

fn kind(meta: &Metadata) -> &'static str {
    let file_type = meta.file_type();
    match () {
        () if file_type.is_dir() => "directory",
        () if file_type.is_symlink() => "symlink",
        () if file_type.is_fifo() => "fifo",
        () if file_type.is_socket() => "socket",
        () if file_type.is_char_device() => "character-device",
        () if file_type.is_block_device() => "block-device",
        () => "file",
    }
}

fn describe(path: &Path, meta: &Metadata) -> Value {
    json!({
        "type": kind(meta),
        "mode": format!("{:04o}", meta.mode() & 0o7777),
        "uid": meta.uid(),
        "gid": meta.gid(),
        "size": meta.size(),
        "links": meta.nlink(),
        "mtime": meta.mtime(),
        "device": [nix::sys::stat::major(meta.rdev()), nix::sys::stat::minor(meta.rdev())],
        "target": fs::read_link(path).ok().map(|t| t.display().to_string()),
    })
}

/// `stat PATH`, not following a link.
fn stat(path: &str) -> Answer {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Reply::Json(describe(Path::new(path), &meta))),
        Err(e) => outcome_io::<()>(Err(e)),
    }
}

/// `list PATH`: sorted names.
fn list(path: &str) -> Answer {
    match fs::read_dir(path) {
        Ok(entries) => {
            let mut names: Vec<String> = entries
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            Ok(Reply::Json(json!(names)))
        }
        Err(e) => outcome_io::<()>(Err(e)),
    }
}

/// `tree PATH`: everything below it on the same file system, by path.
fn tree(path: &str) -> Answer {
    let device = fs::symlink_metadata(path).map_err(|e| e.to_string())?.dev();
    let mut found = serde_json::Map::new();
    let mut pending = vec![path.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).map_err(|e| format!("{path}: {e}"))?;
        if meta.is_dir() && meta.dev() == device {
            for entry in fs::read_dir(&path)
                .map_err(|e| format!("{path}: {e}"))?
                .flatten()
            {
                pending.push(entry.path().display().to_string());
            }
        }
        found.insert(path.clone(), describe(Path::new(&path), &meta));
    }
    Ok(Reply::Json(found.into()))
}

/// `open PATH FLAG,FLAG…`.
fn try_open(words: &[&str]) -> Answer {
    let mut flags = OFlag::O_CLOEXEC;
    for name in word(words, 1)?.split(',') {
        flags |= match name {
            "read" => OFlag::O_RDONLY,
            "write" => OFlag::O_WRONLY,
            "readwrite" => OFlag::O_RDWR,
            "create" => OFlag::O_CREAT,
            "exclusive" => OFlag::O_EXCL,
            "truncate" => OFlag::O_TRUNC,
            "directory" => OFlag::O_DIRECTORY,
            "nofollow" => OFlag::O_NOFOLLOW,
            "nonblock" => OFlag::O_NONBLOCK,
            "path" => OFlag::O_PATH,
            other => return Err(format!("no such flag: {other}")),
        };
    }
    outcome(open(
        word(words, 0)?,
        flags,
        Mode::from_bits_truncate(0o600),
    ))
}

/// `chown PATH UID GID`.
fn chown(words: &[&str]) -> Answer {
    let id = |at| number(words, at).and_then(|n| u32::try_from(n).map_err(|e| e.to_string()));
    outcome_io(std::os::unix::fs::lchown(
        word(words, 0)?,
        Some(id(1)?),
        Some(id(2)?),
    ))
}

/// `chmod PATH MODE` with MODE such as `0o4755`.
fn chmod(words: &[&str]) -> Answer {
    let mode = u32::try_from(number(words, 1)?).map_err(|e| e.to_string())?;
    outcome_io(fs::set_permissions(
        word(words, 0)?,
        fs::Permissions::from_mode(mode),
    ))
}

/// `mknod PATH c|b MAJOR MINOR`.
fn device(words: &[&str]) -> Answer {
    let kind = match word(words, 1)? {
        "c" => SFlag::S_IFCHR,
        "b" => SFlag::S_IFBLK,
        other => return Err(format!("no such kind: {other}")),
    };
    let device = makedev(number(words, 2)?, number(words, 3)?);
    outcome(mknod(
        word(words, 0)?,
        kind,
        Mode::from_bits_truncate(0o600),
        device,
    ))
}

/// What can be read from a standard stream that is open already: a byte, the end, or an errno.
fn read_from(words: &[&str]) -> Answer {
    let stream: std::os::fd::OwnedFd = match word(words, 0)? {
        "1" => std::io::stdout().as_fd().try_clone_to_owned(),
        "2" => std::io::stderr().as_fd().try_clone_to_owned(),
        other => return Err(format!("{other} is neither 1 nor 2")),
    }
    .map_err(|e| e.to_string())?;
    outcome(nix::unistd::read(&stream, &mut [0]))
}
