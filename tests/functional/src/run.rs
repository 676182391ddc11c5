//! What a command did, and assertions about it that print both sides.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for anything, a command or what it does: longer than an emulated machine takes on a busy host. It is the
/// time after which a test fails, and no test takes it otherwise.
const PATIENCE: Duration = Duration::from_secs(300);

/// A command that has ended.
#[derive(Debug)]
pub struct Run {
    /// As it would be typed.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    /// How long it took.
    pub elapsed: Duration,
}

impl Run {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// When it cannot be started or exceeds the time limit.
    pub fn of(command: Command) -> Self {
        Background::start(command).wait()
    }

    /// Runs `command` to its end, which may take so long.
    ///
    /// # Panics
    /// When it cannot be started or exceeds that time.
    #[must_use]
    pub fn within(limit: Duration, command: Command) -> Self {
        let mut background = Background::start(command);
        background.limit = limit;
        background.wait()
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Everything, for a message.
    #[must_use]
    pub fn report(&self) -> String {
        let mut text = format!("$ {}\n{}", self.command, self.status);
        for (name, content) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let _ = write!(text, "\n--- {name}\n{}", content.trim_end());
        }
        text
    }

    /// Exit code 0.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Exit code `code`.
    ///
    /// # Panics
    /// When it is another, or a signal.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert!(
            self.code() == Some(code),
            "expected exit status {code}\n{}",
            self.report()
        );
        self
    }

    /// skua itself failed: exit code 254, one line on standard error that starts with `skua: ` and has all of `parts`.
    ///
    /// # Panics
    /// When it did not.
    #[track_caller]
    pub fn fails(self, parts: &[&str]) -> Self {
        let run = self.exits(254);
        let lines: Vec<&str> = run
            .stderr
            .lines()
            .filter(|l| l.starts_with("skua: "))
            .collect();
        assert!(
            lines.len() == 1,
            "expected one line `skua: …`\n{}",
            run.report()
        );
        for part in parts {
            assert!(
                lines[0].contains(part),
                "expected {part:?} in the error\n{}",
                run.report()
            );
        }
        run
    }

    /// Standard output contains `part`.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(
            self.stdout.contains(part),
            "expected {part:?} on standard output\n{}",
            self.report()
        );
        self
    }

    /// Standard output does not contain `part`.
    ///
    /// # Panics
    /// When it does.
    #[track_caller]
    pub fn lacks(self, part: &str) -> Self {
        assert!(
            !self.stdout.contains(part),
            "expected no {part:?} on standard output\n{}",
            self.report()
        );
        self
    }

    /// Standard error contains `part`.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn complains(self, part: &str) -> Self {
        assert!(
            self.stderr.contains(part),
            "expected {part:?} on standard error\n{}",
            self.report()
        );
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("expected JSON on standard output: {e}\n{}", self.report()))
    }
}

/// A command that runs; killed when dropped.
#[derive(Debug)]
pub struct Background {
    command: String,
    child: Option<Child>,
    stdout: Collector,
    stderr: Collector,
    started: Instant,
    limit: Duration,
}

/// What a reader thread has read so far.
#[derive(Clone, Debug)]
struct Collector(Arc<Mutex<(Vec<u8>, bool)>>);

impl Background {
    /// Starts `command`, its output collected.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = typed(&command);
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {line}: {e}"));
        let stdout = Collector::of(child.stdout.take());
        let stderr = Collector::of(child.stderr.take());
        Self {
            command: line,
            child: Some(child),
            stdout,
            stderr,
            started: Instant::now(),
            limit: PATIENCE,
        }
    }

    /// Lets it take so long.
    #[must_use]
    pub fn may_take(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Its process id: the keeper's, once the pod runs.
    ///
    /// # Panics
    /// After the end.
    #[must_use]
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("still there");
        i32::try_from(child.id()).expect("a process id")
    }

    /// Its standard input, when the command has a pipe there.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.as_mut().and_then(|c| c.stdin.take())
    }

    /// Standard output so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.stdout.text()
    }

    /// Standard error so far.
    #[must_use]
    pub fn errors(&self) -> String {
        self.stderr.text()
    }

    /// Waits until standard output contains `text`.
    ///
    /// # Panics
    /// When it ends before, or not within five minutes.
    #[track_caller]
    pub fn prints(&mut self, text: &str) {
        let start = Instant::now();
        while !self.output().contains(text) {
            let ended = self
                .child
                .as_mut()
                .and_then(|c| c.try_wait().ok().flatten());
            let late = start.elapsed() > PATIENCE;
            if (ended.is_some() || late) && !self.output().contains(text) {
                panic!(
                    "expected {text:?} on standard output\n$ {}\n--- stdout\n{}\n--- stderr\n{}\n{ended:?}",
                    self.command,
                    self.output(),
                    self.errors()
                );
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends a signal to it.
    ///
    /// # Panics
    /// When that fails.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).expect("kill");
    }

    /// Whether it has not ended.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it exceeds the time limit.
    pub fn wait(mut self) -> Run {
        let mut child = self.child.take().expect("still there");
        drop(child.stdin.take());
        let (deadline, mut stuck) = (self.started + self.limit, String::new());
        let status = loop {
            if let Some(status) = child.try_wait().expect("wait") {
                break status;
            }
            if Instant::now() > deadline {
                stuck = crate::stuck::tree(child.id());
                let _ = child.kill();
                break child.wait().expect("wait");
            }
            thread::sleep(Duration::from_millis(2));
        };
        let elapsed = self.started.elapsed();
        // A process that outlives the command may hold its output open: do not wait for that for ever.
        let patience = Instant::now() + Duration::from_secs(5);
        while !(self.stdout.ended() && self.stderr.ended()) && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        let run = Run {
            command: std::mem::take(&mut self.command),
            status,
            stdout: self.stdout.text(),
            stderr: self.stderr.text(),
            elapsed,
        };
        assert!(
            stuck.is_empty(),
            "not ended after {:?}\n{}\n--- processes\n{stuck}",
            self.limit,
            run.report()
        );
        run
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Collector {
    fn of(source: Option<impl Read + Send + 'static>) -> Self {
        let collector = Self(Arc::new(Mutex::new((Vec::new(), source.is_none()))));
        if let Some(mut source) = source {
            let shared = collector.0.clone();
            thread::spawn(move || {
                let mut buffer = [0; 16384];
                while let Ok(count @ 1..) = source.read(&mut buffer) {
                    let mut state = shared.lock().expect("no panic while locked");
                    let _ = state.0.write_all(&buffer[..count]);
                }
                shared.lock().expect("no panic while locked").1 = true;
            });
        }
        collector
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic while locked").0).into_owned()
    }

    fn ended(&self) -> bool {
        self.0.lock().expect("no panic while locked").1
    }
}

/// The command as it would be typed.
fn typed(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    for argument in command.get_args() {
        let word = argument.to_string_lossy();
        let plain = !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./:=@,+%".contains(&b));
        words.push(if plain {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        });
    }
    words.join(" ")
}

/// Waits until `condition` holds.
///
/// # Panics
/// When it does not within five minutes.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        thread::sleep(Duration::from_millis(5));
    }
}
