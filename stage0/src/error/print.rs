//! How an error is printed: once, in `main`, with its causes, as text or JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;

use super::Error;
use crate::output;

/// The exit status when skua itself failed, as opposed to an app.
const FAILED: u8 = 254;

/// How errors are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ErrorFormat {
    /// One line `skua: what: cause`, and one with a hint if there is one
    Text,
    /// One JSON object with stage, code, cause and hint
    Json,
}

impl ErrorFormat {
    /// The format asked for by arguments that could not be parsed.
    pub(crate) fn of_arguments() -> Self {
        let arguments: Vec<_> = std::env::args_os().collect();
        let joined = arguments.iter().any(|a| a == "--error-format=json");
        let split = arguments
            .windows(2)
            .any(|pair| pair[0] == "--error-format" && pair[1] == "json");
        if joined || split {
            Self::Json
        } else {
            Self::Text
        }
    }
}

impl Error {
    /// Prints the error on standard error and gives the exit status. A reader that closed our standard output has
    /// seen enough: that is not worth a word.
    pub(crate) fn report(&self, format: ErrorFormat) -> ExitCode {
        if let Self::Output(error) = self
            && error.kind() == io::ErrorKind::BrokenPipe
        {
            return ExitCode::from(128 + 13);
        }
        let mut stderr = io::stderr().lock();
        let cause = joined(self);
        let filtered = || {
            cause
                .contains("(os error 38)")
                .then(|| pod::FILTERED_HINT.to_owned())
        };
        let hint = self.hint().or_else(filtered);
        // Nobody is left to tell when standard error fails too.
        let _ = match format {
            ErrorFormat::Text => {
                let hint = hint.map(|hint| format!("hint: {}\n", output::escaped(&hint)));
                let line = output::escaped(&cause);
                stderr.write_all(format!("skua: {line}\n{}", hint.unwrap_or_default()).as_bytes())
            }
            ErrorFormat::Json => {
                let object = serde_json::json!({
                    "stage": "stage0", "code": self.code(), "cause": cause, "hint": hint,
                });
                stderr.write_all(format!("{object}\n").as_bytes())
            }
        };
        ExitCode::from(FAILED)
    }
}

/// What we were doing to which thing, and every cause.
pub(crate) fn joined(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn causes_are_joined_once() {
        let error = Error::Pod(pod::Error::Read(
            PathBuf::from("/x/pod.json"),
            io::Error::from(io::ErrorKind::NotFound),
        ));
        assert_eq!(joined(&error), "cannot read /x/pod.json: entity not found");
    }
}
