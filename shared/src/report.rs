//! Decides how a failure leaves the process: one line on standard error, and the exit code.

use std::error::Error;
use std::fmt::Write as _;

/// The exit codes of every `cirque` command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// The command was understood and could not be carried out.
    Failed = 1,
    /// The command line was not understood (clap's own code).
    Usage = 2,
    /// A configuration file is not valid; nothing was started.
    InvalidConfig = 3,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The chain of causes on one line, outermost first: `could not start: could not bind 127.0.0.1:80: …`.
///
/// A cause whose text the outer message already ends with is not repeated.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            let _ = write!(line, ": {text}");
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not start")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_is_one_line_with_each_cause_once() {
        let error = Outer(std::io::Error::other("address in use"));
        assert_eq!(chain(&error), "could not start: address in use");
    }
}
