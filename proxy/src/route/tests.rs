//! Tables of requests and the routes that they take.

use proptest::prelude::*;

use super::*;
use crate::config::policy::HeaderCondition;

struct Row {
    hosts: Vec<HostPattern>,
    paths: Vec<PathPattern>,
    conditions: Conditions,
    target: String,
}

/// `host path`, then methods in capitals and headers as `name=value`.
fn row(text: &str) -> Row {
    let mut words = text.split(' ');
    let (host, path) = (words.next().unwrap(), words.next().unwrap());
    let mut conditions = Conditions::default();
    for word in words {
        match word.split_once('=') {
            None => conditions.methods.push(word.into()),
            Some((name, "*")) => {
                conditions.headers.push(HeaderCondition { name: name.into(), value: ValuePattern::Any });
            }
            Some((name, value)) => {
                let value = value.strip_suffix('*').map_or_else(
                    || ValuePattern::Exact(value.into()),
                    |start| ValuePattern::Prefix(start.into()),
                );
                conditions.headers.push(HeaderCondition { name: name.into(), value });
            }
        }
    }
    Row {
        hosts: vec![HostPattern::parse(host).unwrap()],
        paths: vec![PathPattern::parse(path).unwrap()],
        conditions,
        target: text.to_owned(),
    }
}

fn table(rows: &[&str]) -> Table<String> {
    let rows: Vec<Row> = rows.iter().map(|text| row(text)).collect();
    Table::of(rows.iter().map(|row| (&row.hosts, &row.paths, &row.conditions, row.target.clone())))
}

/// Where a request goes; headers as `name: value`.
fn found<'t>(
    table: &'t Table<String>,
    method: &str,
    host: &str,
    path: &str,
    headers: &[&str],
) -> Found<'t, String> {
    let header = |asked: &str| {
        let mut fields = headers.iter().filter_map(|line| line.split_once(": "));
        fields.find(|(name, _)| name.eq_ignore_ascii_case(asked)).map(|(_, value)| value.as_bytes())
    };
    table.find(&Asked { method, host, path: path.as_bytes(), header: &header })
}

fn place<'t>(table: &'t Table<String>, host: &str, path: &str) -> Option<&'t str> {
    match found(table, "GET", host, path, &[]) {
        Found::Route { target, .. } => Some(target),
        _ => None,
    }
}

#[test]
fn the_most_specific_host_then_the_most_specific_path_wins() {
    let table = table(&[
        "api.example.com /*",
        "api.example.com /v1/*",
        "api.example.com /v1/posts",
        "api.example.com /v1/posts/*",
        "*.example.com /*",
        "*.eu.example.com /*",
        "only.example.com /here",
        "[::1] /*",
        "* /*",
    ]);
    for (host, path, expected) in [
        ("api.example.com", "/", Some("api.example.com /*")),
        ("API.Example.COM:8080", "/v1/", Some("api.example.com /v1/*")),
        ("api.example.com.", "/v1/posts", Some("api.example.com /v1/posts")),
        ("api.example.com", "/v1/posts/a", Some("api.example.com /v1/posts/*")),
        ("api.example.com", "/v1/postsx", Some("api.example.com /v1/*")),
        ("api.example.com", "/v2", Some("api.example.com /*")),
        ("www.example.com", "/", Some("*.example.com /*")),
        ("a.b.eu.example.com", "/", Some("*.eu.example.com /*")),
        ("example.com", "/", Some("* /*")),
        (".example.com", "/", Some("* /*")),
        ("only.example.com", "/there", None),
        ("[::1]:80", "/", Some("[::1] /*")),
        ("", "/", Some("* /*")),
        ("", "*", Some("* /*")),
        ("api.example.com", "*", Some("api.example.com /*")),
    ] {
        assert_eq!(place(&table, host, path), expected, "{host} {path}");
    }
}

#[test]
fn no_spelling_of_a_path_leads_past_its_route() {
    let table = table(&["* /*", "* /admin/*", "* /login"]);
    for path in ["/admin/x", "/%61dmin/x", "/a/../admin/x", "//admin//x", "/a%2f..%2fadmin%2Fx"] {
        assert_eq!(place(&table, "a", path), Some("* /admin/*"), "{path}");
    }
    assert_eq!(place(&table, "a", "/./login"), Some("* /login"));
    assert_eq!(place(&table, "a", "/admin/../login/"), Some("* /*"));
}

#[test]
fn among_routes_of_one_path_the_one_with_the_most_conditions_wins() {
    let table = table(&[
        "* /*",
        "* /api/*",
        "* /api/* POST",
        "* /api/* x-version=2",
        "* /api/* POST x-version=2*",
        "* /api/* x-beta=*",
        "* /api/exact PUT",
    ]);
    for (method, path, headers, expected) in [
        ("GET", "/api/x", &[][..], "* /api/*"),
        ("POST", "/api/x", &[][..], "* /api/* POST"),
        ("GET", "/api/x", &["X-Version: 2"][..], "* /api/* x-version=2"),
        ("GET", "/api/x", &["X-Version: 20"][..], "* /api/*"),
        ("POST", "/api/x", &["X-Version: 20"][..], "* /api/* POST x-version=2*"),
        // Equal counts: the one written first.
        ("POST", "/api/x", &["X-Beta: yes"][..], "* /api/* POST"),
        ("GET", "/api/x", &["X-Version: 2", "X-Beta: "][..], "* /api/* x-version=2"),
        ("GET", "/api/x", &["X-Beta: "][..], "* /api/* x-beta=*"),
        // A route whose conditions do not hold is passed over for a wider one.
        ("GET", "/api/exact", &[][..], "* /api/*"),
        ("PUT", "/api/exact", &[][..], "* /api/exact PUT"),
    ] {
        let seen = found(&table, method, "a", path, headers);
        let Found::Route { target, .. } = seen else { panic!("{method} {path} {headers:?}: {seen:?}") };
        assert_eq!(target, expected, "{method} {path} {headers:?}");
    }
}

#[test]
fn a_known_place_asked_by_another_method_says_which_are_known() {
    let table = table(&["* /a GET", "* /* PUT POST", "* /b x-key=* GET"]);
    assert_eq!(found(&table, "DELETE", "a", "/a", &[]), Found::WrongMethod(vec!["GET", "PUT", "POST"]));
    assert_eq!(found(&table, "DELETE", "a", "/b", &[]), Found::WrongMethod(vec!["PUT", "POST"]));
    assert!(matches!(found(&table, "HEAD", "a", "/a", &[]), Found::Route { .. }), "HEAD is asked like GET");
}

#[test]
fn what_stood_before_the_star_is_known() {
    let table = table(&["* /old/*", "* /exact"]);
    let matched = |path| match found(&table, "GET", "a", path, &[]) {
        Found::Route { matched, .. } => matched,
        other => panic!("{other:?}"),
    };
    assert_eq!((matched("/old/x"), matched("/exact")), (5, 6));
}

#[test]
fn a_table_without_a_catch_all_finds_nothing_for_other_hosts() {
    assert_eq!(place(&table(&["a.example.com /*"]), "b.example.com", "/"), None);
}

proptest! {
    #[test]
    fn the_longest_prefix_is_found_as_a_plain_scan_finds_it(
        prefixes in prop::collection::btree_set("/([ab]{1,2}(/[ab]{0,2})?)?", 1..12),
        path in "/([ab]{1,3}(/[ab]{1,2}){0,2})?",
    ) {
        let rows: Vec<String> = prefixes.iter().map(|prefix| format!("* {prefix}*")).collect();
        let prefixes_only: Vec<Row> = rows.iter().map(|text| row(text)).collect();
        let table = Table::of(
            prefixes_only.iter().map(|row| (&row.hosts, &row.paths, &row.conditions, row.target.clone())),
        );
        let expected = prefixes.iter().filter(|prefix| path.starts_with(prefix.as_str()))
            .max_by_key(|prefix| prefix.len()).map(|prefix| format!("* {prefix}*"));
        prop_assert_eq!(place(&table, "a", &path), expected.as_deref());
    }
}
