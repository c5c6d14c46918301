//! Decides how a server is followed by others in a test: streamed to, held back, frozen, killed, promoted.

use std::time::Duration;

use super::{START, Server, USER, expect_success, own, psql, server, unprivileged, wait_until_it_answers};
use crate::eventually::eventually;
use crate::ports;
use crate::process::{Process, Signal, is_alive, signal_pid};
use crate::sql;

/// Looks for its primary often, so that a test need not wait for it.
const FOLLOWS: &str = "wal_retrieve_retry_interval=100ms";

impl Server {
    /// Starts another server that follows this one by streaming.
    #[track_caller]
    pub fn replica(&self) -> Server {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        own(folder.path());
        let mut backup = unprivileged("pg_basebackup");
        backup.args(["--checkpoint=fast", "--wal-method=stream", "--no-sync", "--write-recovery-conf"]);
        backup.arg("--pgdata").arg(folder.path().join("data"));
        backup.args(["--host", &self.address.ip().to_string(), "--port", &self.address.port().to_string()]);
        expect_success(backup.args(["--username", USER]));
        let address = ports::address();
        let settings = vec![FOLLOWS.to_owned()];
        let process = Process::spawn("postgres", &mut server(folder.path(), address, &settings));
        wait_until_it_answers(address);
        Server { process, address, folder, settings }
    }

    /// Makes this replica replay what happened so long after it happened, like `2s`; `0` ends that.
    #[track_caller]
    pub fn delay(&self, time: &str) {
        psql(self.address, "postgres", &format!("ALTER SYSTEM SET recovery_min_apply_delay = '{time}'"));
        psql(self.address, "postgres", "SELECT pg_reload_conf()");
        let shown = || sql::column(&self.url(), "SHOW recovery_min_apply_delay");
        eventually("the delay holds", START, shown, |shown| shown[0] == time);
    }

    /// This replica replays nothing any more.
    #[track_caller]
    pub fn pause_replay(&self) {
        psql(self.address, "postgres", "SELECT pg_wal_replay_pause()");
        let state = || sql::column(&self.url(), "SELECT pg_get_wal_replay_pause_state()");
        eventually("the replay pauses", START, state, |state| state[0] == "paused");
    }

    /// This replica goes on replaying.
    #[track_caller]
    pub fn resume_replay(&self) {
        psql(self.address, "postgres", "SELECT pg_wal_replay_resume()");
    }

    /// Waits until this replica has replayed what `primary` has committed by now. That may not be in its log yet: here it
    /// commits without waiting for the disk.
    #[track_caller]
    pub fn wait_for(&self, primary: &Server) {
        let place = sql::column(&primary.url(), "SELECT pg_current_wal_insert_lsn()").remove(0);
        let has_it = format!("SELECT pg_last_wal_replay_lsn() >= '{place}'");
        let replayed = || sql::column(&self.url(), &has_it);
        eventually("the replica has caught up", START, replayed, |replayed| replayed == &["t"]);
    }

    /// This replica becomes a primary, on a timeline of its own.
    #[track_caller]
    pub fn promote(&self) {
        psql(self.address, "postgres", "SELECT pg_promote()");
    }

    /// Stops every process of the server where it is: connections stay open, nothing answers.
    pub fn freeze(&mut self) {
        self.process.stop_signal();
        for pid in self.process.descendants() {
            signal_pid(pid, Signal::STOP);
        }
    }

    /// Lets a frozen server go on.
    pub fn thaw(&mut self) {
        for pid in self.process.descendants() {
            signal_pid(pid, Signal::CONT);
        }
        self.process.cont();
    }

    /// Kills every process of the server at once.
    #[track_caller]
    pub fn kill(&mut self) {
        let below = self.process.descendants();
        self.process.kill();
        below.iter().for_each(|pid| signal_pid(*pid, Signal::KILL));
        assert!(self.process.wait_exit(START).is_some(), "a killed server is still there");
        let left = || below.iter().filter(|pid| is_alive(**pid)).count();
        eventually("every process of the server is gone", Duration::from_secs(10), left, |left| *left == 0);
    }

    /// Starts a killed server again, as it was.
    #[track_caller]
    pub fn revive(&mut self) {
        let again = &mut server(self.folder.path(), self.address, &self.settings);
        self.process = Process::spawn("postgres", again);
        wait_until_it_answers(self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_follows_is_held_back_and_is_promoted() {
        let mut primary = Server::start(&[]);
        let replica = primary.replica();
        psql(primary.address(), "postgres", "CREATE TABLE t (id BIGINT)");
        replica.wait_for(&primary);
        replica.pause_replay();
        psql(primary.address(), "postgres", "INSERT INTO t VALUES (1)");
        assert_eq!(sql::number(&replica.url(), "SELECT count(*) FROM t"), 0);
        replica.resume_replay();
        replica.wait_for(&primary);
        assert_eq!(sql::number(&replica.url(), "SELECT count(*) FROM t"), 1);
        primary.kill();
        replica.promote();
        psql(replica.address(), "postgres", "INSERT INTO t VALUES (2)");
        primary.revive();
        assert_eq!(sql::number(&primary.url(), "SELECT count(*) FROM t"), 1);
    }
}
