//! What a command does, as its system calls: `strace` of it, with the calls of each process put together.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Env, Run, User};

/// A system call that has returned.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who made it.
    pub pid: String,
    /// Its name.
    pub name: String,
    /// `name(arguments) = result`, descriptors with what they are.
    pub text: String,
}

impl Call {
    /// It did nothing: it failed, or a signal came before it had begun and the kernel makes it once more.
    #[must_use]
    pub fn failed(&self) -> bool {
        let nothing = |result: &str| result.starts_with("-1 ") || result.starts_with("? ERESTART");
        self.text
            .rsplit_once(" = ")
            .is_some_and(|(_, result)| nothing(result))
    }

    fn executes(&self) -> bool {
        matches!(self.name.as_str(), "execve" | "execveat") && !self.failed()
    }

    /// The child that it made.
    fn child(&self) -> Option<&str> {
        let forks = matches!(self.name.as_str(), "clone3" | "clone" | "fork" | "vfork");
        let (_, result) = self.text.rsplit_once(" = ").filter(|_| forks)?;
        // A pid of another namespace is followed by what it is in the tracer's.
        let result = result.split_once("/* ").map_or(result, |(_, ours)| ours);
        result.split_whitespace().next()
    }
}

/// `skua WORDS` below a trace that is written to `log`.
#[must_use]
pub fn traced(env: &Env, words: &[&str], log: &Path) -> Command {
    // Descriptors with what they are, and whole strings: the options of an overlay fill a page.
    let options = ["-yy", "-s", "4096", "--decode-pids=pidns"];
    below_strace(env, words, &options, log)
}

/// `skua WORDS` below an strace with further options. Below that of an ordinary user a setuid program would have no rights, so
/// where we are root the tracer is root.
#[must_use]
pub fn below_strace(env: &Env, words: &[&str], options: &[&str], log: &Path) -> Command {
    let traced = env.command(words);
    let mut strace = Command::new("strace");
    strace
        .args(["-f", "-qq", "-e", "signal=none"])
        .args(options);
    strace.arg("-o").arg(log);
    if env.user() != User::Caller {
        strace.args(["-u", env.user().login()]);
    }
    strace.arg(traced.get_program()).args(traced.get_args());
    strace.env_clear().stdin(std::process::Stdio::null());
    for (name, value) in traced.get_envs() {
        if let Some(value) = value {
            strace.env(name, value);
        }
    }
    if let Some(directory) = traced.get_current_dir() {
        strace.current_dir(directory);
    }
    strace
}

/// The same command on a terminal that `script` makes, a program not yet started, as the user that it is to have.
#[must_use]
pub fn on_a_terminal(mut script: Command, command: &Command) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    script.args(["-qec", &words.join(" "), "/dev/null"]);
    script.env_clear().stdin(std::process::Stdio::null());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            script.env(name, value);
        }
    }
    if let Some(directory) = command.get_current_dir() {
        script.current_dir(directory);
    }
    script
}

/// The calls of a trace, in the order in which they returned.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn calls(log: &Path) -> Vec<Call> {
    let text = fs::read(log).expect("a trace");
    let text = String::from_utf8_lossy(&text);
    let mut begun: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (pid, rest) = line.split_once(' ').expect("a pid");
        let rest = rest.trim_start();
        if let Some(beginning) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, beginning);
            continue;
        }
        let text = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let (_, end) = resumed.split_once(" resumed>").expect("the rest of a call");
                // The other half of an exec by a thread was that thread's.
                let Some(beginning) = begun.remove(pid) else {
                    continue;
                };
                format!("{beginning}{end}")
            }
            None => rest.to_owned(),
        };
        // `+++ exited with 0 +++`, and a call that was never made: `???()`.
        if let Some((name, _)) = text.split_once('(')
            && !name.contains([' ', '?'])
        {
            calls.push(Call {
                pid: pid.to_owned(),
                name: name.to_owned(),
                text: text.clone(),
            });
        }
    }
    calls
}

/// Those of the program called `name` and of its children, each up to and with the execution of another program.
///
/// # Panics
/// When it was not executed.
#[must_use]
pub fn of_program<'a>(calls: &'a [Call], name: &str) -> Vec<&'a Call> {
    let quoted = format!("{name}\", [");
    let is_start = |call: &Call| call.executes() && call.text.contains(&quoted);
    let start = calls.iter().position(is_start).expect("it is executed");
    // Which call is the last of each process that runs this program.
    let mut last: BTreeMap<&str, usize> = BTreeMap::from([(calls[start].pid.as_str(), usize::MAX)]);
    let mut first = |pid: &'a str, from: usize| {
        let executes = |(_, call): &(usize, &Call)| call.pid == pid && call.executes();
        let mut later = calls.iter().enumerate().skip(from);
        let end = later.find(executes).map_or(usize::MAX, |(at, _)| at);
        last.insert(pid, end);
        end
    };
    let mut to_look_at = vec![(calls[start].pid.as_str(), start + 1)];
    while let Some((pid, from)) = to_look_at.pop() {
        let end = first(pid, from);
        let own = calls.iter().enumerate().filter(|(_, call)| call.pid == pid);
        let within = own.filter(|(at, _)| (from..end).contains(at));
        // A child may have returned from its first call before its parent has from making it.
        to_look_at.extend(within.filter_map(|(_, call)| Some((call.child()?, 0))));
    }
    let theirs = |(at, call): &(usize, &Call)| {
        let end = last.get(call.pid.as_str());
        end.is_some_and(|end| at <= end) && (call.pid != calls[start].pid || *at > start)
    };
    let all = calls.iter().enumerate().filter(theirs);
    all.map(|(_, call)| call).collect()
}

/// `script`'s output has the ends of lines of a terminal, and what is typed: the JSON in it.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn json_in(run: &Run) -> serde_json::Value {
    let ends = run.stdout.find('{').zip(run.stdout.rfind('}'));
    let (from, to) = ends.unwrap_or_else(|| panic!("no JSON\n{}", run.report()));
    serde_json::from_str(&run.stdout[from..=to]).expect("JSON")
}
