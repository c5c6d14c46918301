//! Decides how others' servers are called: within a time, without following where they lead, and never inside our walls.

use std::time::Duration;

use crate::config::Config;

/// Time for one call.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Calls others' servers. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbound {
    trusted: reqwest::Client,
}

impl Outbound {
    /// With what `config` allows.
    pub fn new(_config: &Config) -> Self {
        // Somebody else in the process may have chosen already: it is the same one everywhere here.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("cirque/", env!("CARGO_PKG_VERSION")));
        Self { trusted: builder.build().unwrap_or_default() }
    }

    /// A client for addresses that the operator wrote into the configuration.
    pub fn trusted(&self) -> &reqwest::Client {
        &self.trusted
    }
}
