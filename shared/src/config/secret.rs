//! Decides how a secret is written in a file, read, and never shown.

use std::fmt;

use super::{Problems, Read, Shown, Value};

/// A text that is never shown. In a file it may be the text itself, `env:NAME` (an environment variable) or
/// `file:PATH` (the first line of a file).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// This text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for sending, not for showing.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is meant: the variable's or the file's content, where it names one.
    ///
    /// # Errors
    ///
    /// Why it cannot be had, without any part of it.
    pub fn resolve(&self, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        if let Some(name) = self.0.strip_prefix("env:") {
            return environment(name)
                .map(Self)
                .ok_or_else(|| format!("names the environment variable {name:?}, which is not set"));
        }
        if let Some(path) = self.0.strip_prefix("file:") {
            let text = std::fs::read_to_string(path);
            let text =
                text.map_err(|error| format!("names the file {path:?}, which cannot be read: {error}"))?;
            return Ok(Self(text.lines().next().unwrap_or_default().trim().to_owned()));
        }
        Ok(self.clone())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

impl Read for Secret {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        match value.get_ref().as_str() {
            Some(text) => Some(Self(text.to_owned())),
            None => {
                // What was written there may be the secret: it is not repeated.
                problems.push(at, "must be a text in quotes");
                None
            }
        }
    }

    fn show(&self, at: &str, out: &mut Shown) {
        out.value(at, &format!("{self:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_shown() {
        assert_eq!(format!("{:?} {:?}", Secret::new("hunter2"), Secret::default()), "\"***\" \"\"");
    }

    #[test]
    fn a_secret_may_stand_in_the_environment_or_in_a_file() {
        let folder = std::env::temp_dir().join(format!("cirque-secret-{}", std::process::id()));
        std::fs::write(&folder, "from the file\nsecond line\n").unwrap();
        let environment = |name: &str| (name == "KNOWN").then(|| "from the environment".to_owned());
        let read = |text: &str| Secret::new(text).resolve(&environment).map(|secret| secret.0);
        assert_eq!(read("itself"), Ok("itself".into()));
        assert_eq!(read("env:KNOWN"), Ok("from the environment".into()));
        assert_eq!(read(&format!("file:{}", folder.display())), Ok("from the file".into()));
        assert!(read("env:OTHER").unwrap_err().contains("\"OTHER\", which is not set"));
        assert!(read("file:/nowhere").unwrap_err().contains("cannot be read"));
        std::fs::remove_file(folder).unwrap();
    }
}
