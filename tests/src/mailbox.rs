//! Decides how a real mail server runs for a test, and how what it took is read: aiosmtpd with a mailbox in a folder.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually::eventually;
use crate::ports;
use crate::process::Process;

const START: Duration = Duration::from_secs(30);

/// Notes the Message-ID of each mail, for a test that sends thousands.
const IDS: &str = "class Ids:\n\
    \x20   async def handle_DATA(self, server, session, envelope):\n\
    \x20       for line in envelope.content.split(b'\\r\\n'):\n\
    \x20           if line.lower().startswith(b'message-id:'):\n\
    \x20               with open(FILE, 'ab') as file:\n\
    \x20                   file.write(line[11:].strip() + b'\\n')\n\
    \x20       return '250 OK'\n";

/// What is kept of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    All,
    Id,
}

/// A mail server that keeps every mail. Dropping it ends it.
#[derive(Debug)]
pub struct Mailbox {
    address: SocketAddr,
    process: Option<Process>,
    folder: TempDir,
    kept: Kept,
}

impl Mailbox {
    #[track_caller]
    pub fn start() -> Mailbox {
        Mailbox::keeping(Kept::All)
    }

    /// One that keeps no more of a mail than its Message-ID: for thousands.
    #[track_caller]
    pub fn of_ids() -> Mailbox {
        Mailbox::keeping(Kept::Id)
    }

    #[track_caller]
    fn keeping(kept: Kept) -> Mailbox {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let file = folder.path().join("ids");
        let module = format!("FILE = {:?}\n{IDS}", file.display().to_string());
        fs::write(folder.path().join("cirque_ids.py"), module).expect("the temporary directory is writable");
        let mut mailbox = Mailbox { address: ports::address(), process: None, folder, kept };
        mailbox.restart();
        mailbox
    }

    /// What `mail.smtp` is set to.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Nothing answers any more; what was taken is still there.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    #[track_caller]
    pub fn restart(&mut self) {
        let mut command = Command::new("aiosmtpd");
        command.args(["--nosetuid", "--listen", &self.address.to_string()]);
        match self.kept {
            Kept::All => {
                command.args(["--class", "aiosmtpd.handlers.Mailbox"]).arg(self.folder.path().join("mail"))
            }
            Kept::Id => command.args(["--class", "cirque_ids.Ids"]).env("PYTHONPATH", self.folder.path()),
        };
        self.process = Some(Process::spawn("aiosmtpd", &mut command));
        let address = self.address;
        let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok();
        eventually("the mail server accepts connections", START, connect, |is_up| *is_up);
    }

    /// The Message-ID of every mail it took, as they came; only of one that keeps no more.
    pub fn ids(&self) -> Vec<String> {
        let ids = fs::read_to_string(self.folder.path().join("ids")).unwrap_or_default();
        ids.lines().map(str::to_owned).collect()
    }

    /// Every mail it took, as it came.
    pub fn mails(&self) -> Vec<String> {
        let new = fs::read_dir(self.folder.path().join("mail/new")).into_iter().flatten().flatten();
        new.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }
}
