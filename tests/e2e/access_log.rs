//! Where access lines go, and how they look.

use std::fs;
use std::time::Duration;

use cirque_tests::process::Signal;
use cirque_tests::{Backend, Edge, Request, eventually};

const SOON: Duration = Duration::from_secs(10);

/// An edge that writes its lines to a file of this name, and the file.
fn edge_to(folder: &tempfile::TempDir, backend: &Backend, keys: &str) -> (Edge, std::path::PathBuf) {
    let file = folder.path().join("access.log");
    let log = format!("access_log = {{ output = '{}', {keys} }}", file.display());
    (Edge::builder().backend(backend).without_probe().toml(&log).start(), file)
}

#[track_caller]
fn lines(file: &std::path::Path, n: usize) -> Vec<String> {
    let read = || fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    eventually(&format!("{n} lines in {}", file.display()), SOON, read, |lines| lines.len() == n)
}

// key: proxy.toml access_log.format
#[test]
fn a_combined_line_is_what_readers_of_nginxs_logs_expect() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start());
    let (edge, file) = edge_to(&folder, &backend, "format = 'combined'");
    let request =
        Request::get("/a?b=c").header("Referer", "https://example.com/").header("User-Agent", "curl \"8\"");
    let length =
        edge.send(&request.header("Authorization", "Basic YWxpY2U6c2VjcmV0")).expect_status(200).body.len();
    let line = lines(&file, 1).remove(0);
    let (start, rest) = line.split_once('[').unwrap();
    let (time, rest) = rest.split_once(']').unwrap();
    assert_eq!(start, "127.0.0.1 - alice ");
    assert_eq!((time.len(), &time[time.len() - 6..]), (26, " +0000"), "{time}");
    let expected =
        format!(" \"GET /a?b=c HTTP/1.1\" 200 {length} \"https://example.com/\" \"curl \\x228\\x22\"");
    assert_eq!(rest, expected);
    assert!(!line.contains("secret"));

    edge.send(&Request::get("/none")).expect_status(200);
    assert!(lines(&file, 2)[1].ends_with(" \"-\" \"-\""));
}

#[test]
fn a_file_that_was_moved_away_is_opened_anew_on_sigusr1_and_no_line_is_lost() {
    let (folder, backend) = (tempfile::tempdir().unwrap(), Backend::start());
    let (mut edge, file) = edge_to(&folder, &backend, "format = 'json'");
    let moved = folder.path().join("access.log.1");
    edge.get("/before").expect_status(200);
    lines(&file, 1);
    fs::rename(&file, &moved).unwrap();
    // Until told otherwise, lines go where the file went.
    edge.get("/between").expect_status(200);
    lines(&moved, 2);
    edge.process.signal(Signal::USR1);
    eventually("the file is opened anew", SOON, || file.exists(), |exists| *exists);
    edge.get("/after").expect_status(200);
    assert!(lines(&file, 1)[0].contains("\"/after\""));
    assert_eq!(lines(&moved, 2).len(), 2);
    assert!(edge.process.is_running());
}
