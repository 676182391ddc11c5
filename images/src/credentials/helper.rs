//! Docker's credential helpers: `docker-credential-NAME get` reads a registry from its standard input and writes what it
//! knows about it as JSON.
//!
//! The coordinator runs it as the caller, with the caller's environment: that is what a helper needs to reach a keyring or an
//! agent. Its time and its output are bounded.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use thiserror::Error;

use super::Credential;
use super::complaints::{Complaint, Complaints, after_colon};
use crate::strict_json;

/// How long a helper may think: it may have to ask its user.
const TIME_LIMIT: Duration = Duration::from_secs(60);
const MAX_OUTPUT: usize = 64 * 1024;

/// What helpers say when they have nothing.
const NOT_FOUND: &str = "credentials not found";

/// The name under which Docker keeps what belongs to Docker Hub.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Why a helper gave no answer.
#[derive(Debug, Error)]
pub enum HelperError {
    /// Its name could lead somewhere else.
    #[error("its name is not a single component of a path")]
    Name,
    /// It cannot be executed.
    #[error("cannot execute it")]
    Start(#[source] io::Error),
    /// No further thread can be started.
    #[error("cannot listen to it")]
    Listen(#[source] io::Error),
    /// Its output cannot be read.
    #[error("cannot read its answer")]
    Read(#[source] io::Error),
    /// It takes too long.
    #[error("it gave no answer within 60 s{0}")]
    TimedOut(Complaint),
    /// Its answer is endless.
    #[error("its answer has more than 65536 bytes")]
    TooLong,
    /// It failed.
    #[error("it failed ({status}){said}{complaint}")]
    Failed {
        /// How it ended.
        status: ExitStatus,
        /// Its answer, escaped, with a separator before it; or nothing.
        said: String,
        /// What else it said.
        complaint: Complaint,
    },
    /// Its answer is not understood.
    #[error("cannot understand its answer")]
    Parse(#[source] strict_json::JsonError),
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The program of helper `name`.
pub(super) fn program(name: &str) -> String {
    format!("docker-credential-{name}")
}

/// What helper `name` knows about `host`.
pub(super) fn credential(name: &str, host: &str) -> Result<Option<Credential>, HelperError> {
    if name.is_empty() || name.contains(['/', '\0']) {
        return Err(HelperError::Name);
    }
    let servers: &[&str] = match host {
        "docker.io" => &[DOCKER_HUB, host],
        _ => &[host],
    };
    for server in servers {
        let found = answer(Path::new(&program(name)), server, TIME_LIMIT)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn answer(
    program: &Path,
    server: &str,
    limit: Duration,
) -> Result<Option<Credential>, HelperError> {
    let deadline = Instant::now() + limit;
    let mut child = Command::new(program)
        .arg("get")
        // What we tell to the service manager is ours to tell.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(HelperError::Start)?;
    let listening = child.stderr.take().map(Complaints::listen);
    let (complaints, ended) = match listening.transpose() {
        Ok(complaints) => (complaints, converse(&mut child, server, deadline)),
        Err(error) => (None, Err(HelperError::Listen(error))),
    };
    let complaint = || {
        complaints
            .as_ref()
            .map(Complaints::last)
            .unwrap_or_default()
    };
    if ended.is_err() {
        // It fails only when it has ended already; then there is nothing to kill.
        let _ = child.kill();
        let _ = child.wait();
    }
    let (status, output) = ended.map_err(|error| match error {
        HelperError::TimedOut(_) => HelperError::TimedOut(complaint()),
        other => other,
    })?;
    if !status.success() {
        let said = String::from_utf8_lossy(&output);
        if said.contains(NOT_FOUND) {
            return Ok(None);
        }
        return Err(HelperError::Failed {
            status,
            said: after_colon(said.trim().as_bytes()),
            complaint: complaint(),
        });
    }
    let answer: Answer =
        strict_json::from_slice(&output, MAX_OUTPUT).map_err(HelperError::Parse)?;
    Ok(match (answer.user.as_str(), answer.secret) {
        (_, secret) if secret.is_empty() => None,
        ("<token>", secret) => Some(Credential::IdentityToken(secret)),
        (user, password) => Some(Credential::Password {
            user: user.to_owned(),
            password,
        }),
    })
}

/// Names the server, reads the answer, and waits for the end.
fn converse(
    child: &mut Child,
    server: &str,
    deadline: Instant,
) -> Result<(ExitStatus, Vec<u8>), HelperError> {
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read has an answer all the same.
        let _ = input.write_all(server.as_bytes());
    }
    let (sender, receiver) = mpsc::channel();
    if let Some(output) = child.stdout.take() {
        // Not joined: what the helper leaves behind may hold its output open.
        let listen = move || {
            let mut bytes = Vec::new();
            let read = output.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut bytes);
            let _ = sender.send(read.map(|_| bytes));
        };
        let started = thread::Builder::new().spawn(listen);
        started.map_err(HelperError::Listen)?;
    }
    let left = deadline.saturating_duration_since(Instant::now());
    let output = receiver.recv_timeout(left);
    let output = output.map_err(|_| HelperError::TimedOut(Complaint::default()))?;
    let output = output.map_err(HelperError::Read)?;
    if output.len() > MAX_OUTPUT {
        return Err(HelperError::TooLong);
    }
    loop {
        if let Some(status) = child.try_wait().map_err(HelperError::Read)? {
            return Ok((status, output));
        }
        if Instant::now() > deadline {
            return Err(HelperError::TimedOut(Complaint::default()));
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_helper_that_does_not_answer_or_does_not_end_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        for (name, script) in [
            ("silent", "exec sleep 1000"),
            ("endless", "exec >&-; exec sleep 1000"),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            // Another test's child may hold the file open for writing, for a moment.
            let mut tries = 0;
            let error = loop {
                match answer(&path, "h", Duration::from_millis(300)).unwrap_err() {
                    HelperError::Start(_) if tries < 100 => tries += 1,
                    other => break other,
                }
            };
            assert!(matches!(error, HelperError::TimedOut(_)), "{name}: {error}");
        }
    }
}
