//! Attacks that take a while: each says `ready`, and goes on until the file that it is given appears, or for ever.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};
use serde_json::json;

use crate::{Answer, Reply, sys, word};

pub(crate) fn answer(question: &str, words: &[&str]) -> Option<Answer> {
    Some(match question {
        "exhaust" => exhaust(words),
        "flip" => flip(words),
        "hunt" => hunt(words),
        "overwrite" => word(words, 0).and_then(overwrite),
        "rearrange" => rearrange(words),
        _ => return None,
    })
}

fn ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

/// `exhaust inotify|signals|terminals`: takes all that there is, and keeps it.
fn exhaust(words: &[&str]) -> Answer {
    let me = nix::unistd::getpid().as_raw();
    let take_one = || match word(words, 0) {
        Ok("inotify") => Ok(sys::syscall(libc::SYS_inotify_init1, [0; 6]).map(drop)),
        Ok("signals") => Ok(sys::queue_signal(me, libc::SIGRTMIN(), libc::SI_QUEUE, me)),
        Ok("terminals") => Ok(nix::pty::posix_openpt(OFlag::O_RDWR).map(std::mem::forget)),
        Ok(other) => Err(format!("no such thing: {other}")),
        Err(reason) => Err(reason),
    };
    sys::block_real_time().map_err(|e| e.to_string())?;
    let mut taken = 0;
    while take_one()?.is_ok() {
        taken += 1;
    }
    println!("{taken}");
    ready();
    loop {
        std::thread::park();
    }
}

/// `flip PATH TARGET`: PATH is a directory, a link to TARGET and absent by turns, for ever.
fn flip(words: &[&str]) -> Answer {
    let (path, target) = (word(words, 0)?, word(words, 1)?);
    let (link, aside) = (format!("{path}.link"), format!("{path}.aside"));
    fs::create_dir(path).map_err(|e| e.to_string())?;
    symlink(target, &link).map_err(|e| e.to_string())?;
    let exchange = || {
        renameat2(
            AT_FDCWD,
            path,
            AT_FDCWD,
            link.as_str(),
            RenameFlags::RENAME_EXCHANGE,
        )
    };
    ready();
    for number in 0_u64.. {
        exchange().map_err(|e| e.to_string())?;
        exchange().map_err(|e| e.to_string())?;
        let _ = fs::rename(path, &aside);
        // What somebody else has made there gives way.
        while fs::rename(&aside, path).is_err() {
            let _ = fs::rename(path, format!("{path}.{number}"));
        }
    }
    Err("the numbers have run out".to_owned())
}

fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .collect()
}

/// `hunt UNTIL [PROGRAM]`: tries to open what belongs to every process while it runs a program of skua, or that one. Its
/// memory opens for who may trace it. To trace it for real would keep its parent from seeing its end. Says `seen` at the
/// tenth sight of one.
fn hunt(words: &[&str]) -> Answer {
    let (until, program) = (word(words, 0)?, words.get(1).unwrap_or(&"skua-"));
    let (mut seen, mut caught) = (0_u64, BTreeMap::new());
    ready();
    while !Path::new(until).exists() {
        for pid in processes() {
            let is_skua = || {
                let name = fs::read_to_string(format!("/proc/{pid}/comm"));
                name.is_ok_and(|name| name.starts_with(program))
            };
            if !is_skua() {
                continue;
            }
            seen += u64::from(pid != "1");
            if seen == 10 {
                println!("seen");
            }
            let opens = |name: &str| File::open(format!("/proc/{pid}/{name}")).is_ok();
            for (what, done) in [
                ("mem", opens("mem")),
                ("exe", opens("exe")),
                ("environ", opens("environ")),
                ("fd", opens("fd/3")),
                ("root", opens("root")),
            ] {
                // Its name changes once, when it becomes the program that was asked for: then it may be caught.
                if done && is_skua() {
                    *caught.entry(format!("{what} of {pid}")).or_insert(0) += 1;
                }
            }
        }
    }
    Ok(Reply::Json(json!({"seen": seen, "caught": caught})))
}

/// `overwrite UNTIL`: tries to open the program of every other process, and to write to what it has opened. Says `held` when
/// it has the first.
fn overwrite(until: &str) -> Answer {
    let own = fs::metadata("/proc/self/exe")
        .map_err(|e| e.to_string())?
        .ino();
    let (mut held, mut errors) = (Vec::new(), BTreeMap::new());
    let mut written = false;
    ready();
    while !Path::new(until).exists() {
        for pid in processes() {
            let path = format!("/proc/{pid}/exe");
            let Ok(file) = File::open(&path) else {
                continue;
            };
            if held.len() < 64 && file.metadata().is_ok_and(|meta| meta.ino() != own) {
                if held.is_empty() {
                    println!("held");
                }
                held.push(file);
            }
        }
        for file in &held {
            let again = format!("/proc/self/fd/{}", file.as_raw_fd());
            // Truncation asks the mount before it asks whether somebody executes the file.
            let opened = OpenOptions::new().write(true).truncate(true).open(again);
            match opened.and_then(|mut file| file.write_all(b"overwritten")) {
                Ok(()) => written = true,
                Err(e) => *errors.entry(e.to_string()).or_insert(0_u64) += 1,
            }
        }
    }
    Ok(Reply::Json(
        json!({"opened": held.len(), "written": written, "errors": errors}),
    ))
}

/// `rearrange STEP…`: changes the mounts, then says `ready` and waits for SIGTERM. A step is one word: `tmpfs PLACE`,
/// `bind FROM PLACE`, `overlay LOWER UPPER WORK PLACE`, `unmount PLACE`, `root PLACE` (that becomes the root), `copy FROM TO`, or a question with the answer `{"ok": true}`.
fn rearrange(steps: &[&str]) -> Answer {
    for step in steps {
        let words: Vec<&str> = step.split(' ').collect();
        let none = None::<&str>;
        let done = match words[..] {
            ["tmpfs", at] => mount(none, at, Some("tmpfs"), MsFlags::empty(), none),
            ["bind", from, at] => {
                let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
                mount(Some(from), at, none, flags, none)
            }
            ["overlay", lower, upper, work, at] => {
                let data = format!("userxattr,lowerdir={lower},upperdir={upper},workdir={work}");
                let kind = Some("overlay");
                mount(kind, at, kind, MsFlags::empty(), Some(data.as_str()))
            }
            ["copy", from, to] => {
                let copied = fs::read(from).and_then(|bytes| fs::write(to, bytes));
                copied.map_err(|e| format!("{step}: {e}"))?;
                Ok(())
            }
            ["unmount", at] => umount2(at, MntFlags::MNT_DETACH),
            ["root", at] => chdir(at)
                .and_then(|()| pivot_root(".", "."))
                .and_then(|()| umount2(".", MntFlags::MNT_DETACH))
                .and_then(|()| chdir("/")),
            _ => match crate::answer(&words)? {
                Reply::Json(answer) if answer["ok"] == true => Ok(()),
                Reply::Json(answer) => return Err(format!("{step}: {answer}")),
                Reply::Exit(_) => return Err(format!("{step}: has no answer")),
            },
        };
        done.map_err(|e| format!("{step}: {e}"))?;
    }
    crate::answer(&["trap", "SIGTERM", "0"])
}
