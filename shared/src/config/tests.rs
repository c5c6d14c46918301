//! What an operator sees for each kind of mistake.

use std::collections::BTreeMap;
use std::time::Duration;

use super::units::{ByteSize, Percent};
use super::{Invalid, key_paths, read_text};

crate::raw! {
    /// A file with one of everything.
    pub(super) struct File {
        /// A nested table.
        pub server: Server,
        /// A list of tables.
        pub routes: Vec<Route>,
        /// Named tables.
        pub upstreams: BTreeMap<String, Server>,
    }
    /// A table.
    pub(super) struct Server {
        /// A number.
        pub threads: u16,
        /// A duration.
        pub grace_period: Duration,
        /// A size.
        pub body: ByteSize,
    }
    /// An element of a list.
    pub(super) struct Route {
        /// A text.
        pub name: String,
        /// A list of texts.
        pub hosts: Vec<String>,
        /// A share.
        pub budget: Percent,
    }
}

fn read(text: &str) -> Result<File, Invalid> {
    read_text("x.toml", text, |raw: File, _| raw)
}

#[track_caller]
fn shows(text: &str, expected: &str) {
    let shown = read(text).expect_err("the text is invalid").to_string();
    assert_eq!(shown, expected, "\n{shown}");
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    shows(
        "[server]\nthreds = 2\ngrace_period = 5\n\n[[routes]]\nname = 7\nbudget = '250%'\nhosts = ['a', 3]\n",
        "x.toml has 5 problems\n  \
         2:1     server.threds        unknown key; did you mean `threads`?\n  \
         3:1     server.grace_period  must be a duration like \"30s\", \"250ms\" or \"1h30m\", got 5\n  \
         6:1     routes[0].name       must be a text in quotes, got 7\n  \
         7:1     routes[0].budget     must be a share between \"0%\" and \"100%\", got \"250%\"\n  \
         8:15    routes[0].hosts[1]   must be a text in quotes, got 3",
    );
}

#[test]
fn a_key_far_from_any_other_gets_the_list_of_keys() {
    shows(
        "listen = 80",
        "x.toml has 1 problem\n  1:1     listen  unknown key; known here: server, routes, upstreams",
    );
}

#[test]
fn broken_toml_is_one_problem_with_its_line() {
    let shown = read("[server]\nthreads = \n").expect_err("invalid").to_string();
    assert!(shown.starts_with("x.toml has 1 problem\n  2:"), "{shown}");
    assert!(shown.contains("is not valid TOML"), "{shown}");
}

#[test]
fn a_number_out_of_range_says_the_range() {
    shows(
        "[server]\nthreads = 70000\n",
        "x.toml has 1 problem\n  2:1     server.threads  must be a whole number from 0 to 65535, got 70000",
    );
}

#[test]
fn a_file_overrides_its_base_key_by_key() {
    let base = read("[server]\nthreads = 1\ngrace_period = '9s'\n[[routes]]\nname = 'base'\n").unwrap();
    let file = read("[server]\nthreads = 4\n").unwrap().or(base);
    let server = file.server.unwrap();
    assert_eq!((server.threads, server.grace_period), (Some(4), Some(Duration::from_secs(9))));
    assert_eq!(file.routes.unwrap()[0].name.as_deref(), Some("base"));
}

#[test]
fn key_paths_name_every_setting_once() {
    let paths: Vec<String> = key_paths::<File>().into_iter().collect();
    assert_eq!(
        paths,
        [
            "routes[].budget",
            "routes[].hosts",
            "routes[].name",
            "server.body",
            "server.grace_period",
            "server.threads",
            "upstreams.*.body",
            "upstreams.*.grace_period",
            "upstreams.*.threads",
        ]
    );
}

#[test]
fn a_required_key_that_is_missing_is_placed_at_its_table() {
    let read = read_text("x.toml", "[[routes]]\nhosts = []\n", |raw: File, problems| {
        for (index, route) in raw.routes.into_iter().flatten().enumerate() {
            problems.require(&format!("routes[{index}].name"), route.name);
        }
    });
    let shown = read.expect_err("invalid").to_string();
    assert_eq!(shown, "x.toml has 1 problem\n  1:1     routes[0].name  is required");
}
