//! Decides which server leads, where sentinels say so: asked in turn, and told at once when it changes.

use std::sync::Arc;

use redis::{AsyncConnectionConfig, cmd};
use tokio_util::sync::CancellationToken;

use super::circuit::Reason;
use super::connect::{self, Trouble};
use super::{Inner, ear};
use crate::config::Redis;
use crate::config::redis::{Layout, Server};

/// On which sentinels say that another server leads.
const CHANNEL: &str = "+switch-master";

/// Asks the sentinels, one after the other, until one knows.
pub(super) async fn primary(config: &Redis) -> Result<Server, Trouble> {
    let Layout::Sentinel { sentinels, master, login, .. } = &config.layout else {
        return Err(Trouble::new(Reason::NotPrimary, "there are no sentinels"));
    };
    let mut trouble = Trouble::new(Reason::Unreachable, "there are no sentinels");
    for sentinel in sentinels {
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(config.connect_timeout))
            .set_response_timeout(Some(config.connect_timeout));
        let asked = async {
            let info = connect::info(sentinel, login, 0, config);
            let mut connection = connect::connection(info, config, settings).await?;
            let mut question = cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
            let answer: Option<(String, u16)> = question.query_async(&mut connection).await?;
            Ok::<_, Trouble>(answer)
        };
        // A frozen one takes connections and says nothing.
        match tokio::time::timeout(config.connect_timeout, asked).await {
            Ok(Ok(Some((host, port)))) => return Ok(Server { host, port }),
            Ok(Ok(None)) => {
                let detail = format!("the sentinel {sentinel} knows no group called {master:?}");
                trouble = Trouble::new(Reason::NotPrimary, detail);
            }
            Ok(Err(error)) => trouble = error,
            Err(_) => {
                let detail = format!("the sentinel {sentinel} did not answer in time");
                trouble = Trouble::new(Reason::Unreachable, detail);
            }
        }
    }
    Err(trouble)
}

/// Has connections made anew when the sentinels name another server.
pub(super) async fn follow(inner: Arc<Inner>, stop: CancellationToken) {
    let Layout::Sentinel { master, .. } = &inner.config.layout else { return };
    let (master, moved) = (master.clone(), inner.moved.clone());
    let heard = Arc::new(move |message: &[u8]| {
        let message = String::from_utf8_lossy(message);
        if let Some(server) = successor(&message, &master) {
            tracing::info!(server = %server, "sentinels name another redis server");
            moved.send_modify(|times| *times += 1);
        }
    });
    ear::listen(&inner, ear::At::Sentinels, CHANNEL, heard, &stop).await;
}

/// The server that leads from now on, if this is about our group: `NAME OLD-HOST OLD-PORT HOST PORT`.
fn successor(message: &str, master: &str) -> Option<Server> {
    let words: Vec<&str> = message.split(' ').collect();
    let [name, _, _, host, port] = words[..] else { return None };
    let port = port.parse().ok()?;
    (name == master).then(|| Server { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_is_believed_for_our_group_only() {
        for (message, expected) in [
            ("site 192.0.2.1 6379 192.0.2.2 6380", Some("192.0.2.2:6380")),
            ("site 192.0.2.1 6379 2001:db8::2 6380", Some("[2001:db8::2]:6380")),
            ("other 192.0.2.1 6379 192.0.2.2 6380", None),
            ("site 192.0.2.1 6379 192.0.2.2", None),
            ("site 192.0.2.1 6379 192.0.2.2 port", None),
            ("", None),
        ] {
            let found = successor(message, "site").map(|server| server.to_string());
            assert_eq!(found.as_deref(), expected, "{message}");
        }
    }
}
