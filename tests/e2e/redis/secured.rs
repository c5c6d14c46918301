//! Encryption and users of an access list: only whom we trust is talked to, and no secret is shown.

use std::fs;
use std::path::Path;

use cirque_tests::node::{Builder, Node};
use cirque_tests::pki::Authority;
use cirque_tests::redis::Server;

use super::{AWAY, BOUND, is_up, wait_until_up};

const PASSWORD: &str = "s3cret-of-cirque";

/// What `docs/guides/scaling.md` gives the user.
const RIGHTS: [&str; 13] = [
    "cirque",
    "on",
    ">s3cret-of-cirque",
    "~cirque:*",
    "&cirque:*",
    "-@all",
    "+@read",
    "+@write",
    "+@scripting",
    "+@pubsub",
    "+@connection",
    "+time",
    "+info",
];

/// A server that speaks TLS only, asks for a certificate, and lets in nobody but `cirque`.
fn server(authority: &Authority) -> Server {
    let files = authority.issue("server", &["127.0.0.1", "localhost"]);
    let prepare = |folder: &Path| {
        for (from, to) in [(&files.cert, "cert.pem"), (&files.key, "key.pem"), (&authority.file(), "ca.pem")]
        {
            fs::copy(from, folder.join(to)).expect("the temporary directory is writable");
        }
    };
    let mut settings = vec![
        "--tls-cert-file",
        "{folder}/cert.pem",
        "--tls-key-file",
        "{folder}/key.pem",
        "--tls-ca-cert-file",
        "{folder}/ca.pem",
        "--tls-auth-clients",
        "yes",
        "--user",
    ];
    settings.extend(RIGHTS);
    settings.extend(["--user", "default", "off"]);
    let access =
        ["--tls", "--cert", "{folder}/cert.pem", "--key", "{folder}/key.pem", "--cacert", "{folder}/ca.pem"];
    Server::prepared(&settings, &access, prepare)
}

fn node(server: &Server, authority: &Authority, more: &str) -> Builder {
    let own = authority.issue("client", &["client.example.com"]);
    let text = format!(
        "redis = {{ servers = ['{}'], tls = true, ca = '{}', cert = '{}', key = '{}', username = 'cirque', \
         password = '{PASSWORD}' }}\n",
        server.address(),
        authority.file().display(),
        own.cert.display(),
        own.key.display()
    );
    Node::builder().posts(3).toml(&text).toml(more)
}

// key: app.toml redis.tls, redis.ca, redis.cert, redis.key, redis.username, redis.password
#[test]
fn tls_with_an_authority_of_our_own_and_a_user_with_few_rights_is_enough_for_everything() {
    let authority = Authority::new();
    let server = server(&authority);
    let node = node(&server, &authority, "limits = { public = '1000000/1m', exempt = [] }\n").start();
    wait_until_up(&node);
    for _ in 0..2 {
        node.get("/api/v1/posts").expect_status(200);
    }
    let metrics = node.metrics();
    for purpose in ["limits", "cache", "flight"] {
        let fine = metrics.value("redis_commands_total", &[("use", purpose), ("outcome", "ok")]);
        let refused = metrics.value("redis_commands_total", &[("use", purpose), ("outcome", "refused")]);
        assert!(fine > 0.5 && refused < 0.5, "{purpose}: {fine} {refused}");
    }
}

#[test]
fn a_password_from_a_file_is_read_and_a_wrong_one_is_said_without_being_shown() {
    let authority = Authority::new();
    let server = server(&authority);
    let file = authority.folder().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).expect("the temporary directory is writable");
    let named = format!("redis.password = 'file:{}'\n", file.display());
    wait_until_up(&node(&server, &authority, &named).start());
    let wrong = node(&server, &authority, "redis.password = 'wr0ng-password'\n").start();
    let line = wrong.process.wait_for_line(AWAY, BOUND);
    assert!(line.contains("denied"), "{line}");
    assert!(!is_up(&wrong));
    assert!(
        wrong.process.lines().iter().all(|line| !line.text.contains("wr0ng-password")),
        "a secret is shown"
    );
}

#[test]
fn a_server_that_a_stranger_vouches_for_is_not_talked_to() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let server = server(&authority);
    let more = format!("redis.ca = '{}'\n", stranger.file().display());
    let node = node(&server, &authority, &more).start();
    node.process.wait_for_line(AWAY, BOUND);
    assert!(!is_up(&node));
    node.get("/api/v1/posts").expect_status(200);
}
