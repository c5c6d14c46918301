//! Decides what a command line says over a configuration file, and what of both is handed to other processes.

use std::path::Path;
use std::time::Duration;

use cirque_shared::config::{Invalid, text_of};
use serde::{Deserialize, Serialize};

use super::{BadLocation, Config};

/// A configuration file as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// What it is called in messages.
    pub name: String,
    /// What it says.
    pub text: String,
}

impl Written {
    /// Reads `path`; `None` is a file that says nothing, over which the defaults hold.
    ///
    /// # Errors
    ///
    /// A file that cannot be read.
    pub fn read(path: Option<&Path>) -> Result<Self, Invalid> {
        Ok(match path {
            Some(path) => Self { name: path.display().to_string(), text: text_of(path)? },
            None => Self { name: "conf/app.toml".to_owned(), text: String::new() },
        })
    }
}

/// What a command line says; `None` keeps what the file says. Ranges are checked where the words are read.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// Another database: `sqlite:PATH` or `postgres://…`.
    pub database: Option<String>,
    /// Another address to listen on.
    pub host: Option<String>,
    /// Another port.
    pub port: Option<u16>,
    /// Another name for the node.
    pub node: Option<String>,
    /// Time for one request.
    pub max_execution_time: Option<Duration>,
    /// Processes, 1 to 64.
    pub workers: Option<u16>,
    /// Requests after which a process is replaced.
    pub max_requests: Option<u64>,
    /// Bytes above which a process is replaced; 0 for never.
    pub max_memory: Option<u64>,
    /// Whether changes are noticed, whatever the file says.
    pub watch: bool,
}

impl std::fmt::Debug for Overrides {
    /// The address of a database may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Overrides").finish_non_exhaustive()
    }
}

impl Config {
    /// This configuration with what a command line says over it.
    ///
    /// # Errors
    ///
    /// [`BadLocation`] when the address of the database names none that this version speaks to.
    pub fn with(mut self, said: &Overrides) -> Result<Self, BadLocation> {
        fn set<T: Clone>(place: &mut T, said: Option<&T>) {
            if let Some(said) = said {
                place.clone_from(said);
            }
        }
        if let Some(url) = &said.database {
            self = self.with_database(url)?;
        }
        set(&mut self.server.host, said.host.as_ref());
        set(&mut self.server.port, said.port.as_ref());
        set(&mut self.server.max_execution_time, said.max_execution_time.as_ref());
        if said.node.is_some() {
            self.server.node.clone_from(&said.node);
        }
        set(&mut self.processes.workers, said.workers.as_ref());
        set(&mut self.processes.max_requests, said.max_requests.as_ref());
        set(&mut self.processes.max_memory, said.max_memory.as_ref());
        self.processes.watch |= said.watch;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_changes_what_it_names_and_nothing_else() {
        let file = Written {
            name: "app.toml".to_owned(),
            text: "server.port = 9000\nprocesses = { workers = 3, max_requests = 700 }\n".to_owned(),
        };
        let said =
            Overrides { workers: Some(2), max_memory: Some(64 << 20), watch: true, ..Overrides::default() };
        let config = Config::read(&file).unwrap().with(&said).unwrap();
        let processes = config.processes;
        assert_eq!((config.server.port, processes.workers, processes.max_requests), (9000, 2, 700));
        assert_eq!((processes.max_memory, processes.watch), (64 << 20, true));
        assert!(
            Config::load(None)
                .unwrap()
                .with(&Overrides { database: Some("x:y".to_owned()), ..said })
                .is_err()
        );
    }

    #[test]
    fn only_what_one_process_cannot_do_takes_a_supervisor() {
        let none = Config::load(None).unwrap();
        assert!(!none.processes.need_supervisor());
        for said in [
            Overrides { workers: Some(2), ..Overrides::default() },
            Overrides { max_requests: Some(500), ..Overrides::default() },
            Overrides { max_memory: Some(512 << 20), ..Overrides::default() },
            Overrides { watch: true, ..Overrides::default() },
        ] {
            assert!(none.clone().with(&said).unwrap().processes.need_supervisor());
        }
    }

    #[test]
    fn a_password_in_the_address_of_a_database_is_not_shown() {
        let said = Overrides { database: Some("postgres://a:secret@b/c".to_owned()), ..Overrides::default() };
        assert!(!format!("{said:?}").contains("secret"));
    }
}
