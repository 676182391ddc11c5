//! The only program inside our own test images: one subcommand per question asked from inside. Answers are JSON on one
//! line, unless the table says otherwise; a question that cannot be answered ends with exit status 99 and a line on
//! standard error.
//!
//! | file | subcommands |
//! |---|---|
//! | `activate.rs` | `activate` `accept` `answer` `sockets` |
//! | `state.rs` | `id` `status` `maps` `namespaces` `mounts` `fds` `env` `args` `cwd` `limits` `processes` `session` `tty` `hostname` |
//! | `file.rs` | `read` `write` `append` `stat` `list` `tree` `open` `read-from` `mkdir` `unlink` `symlink` `rename` `chown` `chmod` `mknod` `mkfifo` |
//! | `attempt.rs` | `syscall` `mount` `unshare` `setuid` `kill` `queue` `own` `limit` `exec` `in-session` |
//! | `act.rs` | `exit` `raise` `sleep` `trap` `ignore` `orphan` `haunt` `zombie` `cat` `print` `complain` `flood` `memory` `forks` `bomb` `all` |
//! | `attack.rs` | `exhaust` `flip` `hunt` `overwrite` `rearrange` |
//! | `disk.rs` | `disk` |
//! | `net.rs` | `interfaces` `listen` `connect` `abstract` |
//! | `notify.rs` | `notify` |

mod act;
mod activate;
mod attack;
mod attempt;
mod disk;
mod file;
mod net;
mod notify;
mod state;
mod sys;

use std::process::ExitCode;

/// What a subcommand may end with: a JSON answer, an exit status, or the reason why there is no answer.
type Answer = Result<Reply, String>;

enum Reply {
    Json(serde_json::Value),
    Exit(u8),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match answer(&words) {
        Ok(Reply::Json(value)) => {
            println!("{value}");
            ExitCode::SUCCESS
        }
        Ok(Reply::Exit(code)) => ExitCode::from(code),
        Err(reason) => {
            eprintln!("inspect: {words:?}: {reason}");
            ExitCode::from(99)
        }
    }
}

fn answer(words: &[&str]) -> Answer {
    let (question, rest) = words.split_first().ok_or("no question")?;
    [
        state::answer,
        file::answer,
        attempt::answer,
        attack::answer,
        disk::answer,
        act::answer,
        net::answer,
        activate::answer,
        notify::answer,
    ]
    .into_iter()
    .find_map(|group| group(question, rest))
    .unwrap_or_else(|| Err("no such question".to_owned()))
}

/// The word at this position.
fn word<'a>(words: &[&'a str], at: usize) -> Result<&'a str, String> {
    words
        .get(at)
        .copied()
        .ok_or_else(|| format!("word {} is missing", at + 1))
}

/// The number at this position; `0x` and `0o` are understood.
fn number(words: &[&str], at: usize) -> Result<u64, String> {
    let text = word(words, at)?;
    let parsed = if let Some(hex) = text.strip_prefix("0x") {
        u64::from_str_radix(hex, 16)
    } else if let Some(octal) = text.strip_prefix("0o") {
        u64::from_str_radix(octal, 8)
    } else if let Some(negative) = text.strip_prefix('-') {
        negative.parse::<u64>().map(u64::wrapping_neg)
    } else {
        text.parse()
    };
    parsed.map_err(|e| format!("{text}: {e}"))
}

/// `{"ok": true}` or `{"ok": false, "errno": "EPERM"}`.
fn outcome<T>(result: nix::Result<T>) -> Answer {
    Ok(Reply::Json(match result {
        Ok(_) => serde_json::json!({"ok": true}),
        Err(errno) => serde_json::json!({"ok": false, "errno": format!("{errno:?}")}),
    }))
}

/// The same for an error of the standard library.
fn outcome_io<T>(result: std::io::Result<T>) -> Answer {
    outcome(result.map_err(|e| nix::Error::from_raw(e.raw_os_error().unwrap_or(libc::EIO))))
}
