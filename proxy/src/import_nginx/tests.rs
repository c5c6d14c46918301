//! What comes of nginx's configurations.

use std::fs;

use super::*;

/// What comes of this file.
fn imported(text: &str) -> Imported {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf");
    fs::write(&file, text).unwrap();
    let mut imported = import(&file).unwrap();
    for problem in &mut imported.problems {
        problem.at = problem.at.rsplit('/').next().unwrap_or_default().to_owned();
    }
    imported
}

fn site(places: &str) -> Imported {
    imported(&format!(
        "http {{ upstream app {{ server 127.0.0.1:8001; }}\nserver {{ listen 8080;\n{places}\n}} }}"
    ))
}

fn problems(imported: &Imported) -> Vec<String> {
    imported.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn each_directive_becomes_its_key() {
    for (place, expected) in [
        ("location / { proxy_pass http://app; }", "paths = [\"/*\"]\nupstream = \"app\""),
        ("location = /x { proxy_pass http://app; }", "paths = [\"/x\"]"),
        ("location ^~ /x { proxy_pass http://app; }", "paths = [\"/x*\"]"),
        ("location /a/ { proxy_pass http://app/; }", "strip_prefix = \"/a\"\nupstream = \"app\""),
        ("location /a/ { proxy_pass http://app/b/; }", "strip_prefix = \"/a\"\nadd_prefix = \"/b\""),
        ("location / { proxy_pass http://127.0.0.1:9000; }", "[upstreams.\"127-0-0-1-9000\"]"),
        ("location / { grpc_pass grpc://app; }", "protocol = \"h2\""),
        ("location / { return 204; }", "status = 204"),
        (
            "location / { return 301 https://b.example.com$request_uri; }",
            "to = \"https://b.example.com{uri}\"",
        ),
        ("location / { proxy_pass http://app; proxy_set_header X-A ${host}b; }", "set = [\"X-A: {host}b\"]"),
        ("location / { proxy_pass http://app; proxy_set_header X-A \"\"; }", "remove = [\"X-A\"]"),
        ("location / { proxy_pass http://app; proxy_read_timeout 1m30s; }", "read_timeout = \"1m30s\""),
        (
            "client_max_body_size 2m; location / { proxy_pass http://app; }",
            "client_max_body_size = \"2097152\"",
        ),
        ("allow 10.0.0.0/8; deny all; location / { proxy_pass http://app; }", "allow = [\"10.0.0.0/8\"]"),
        (
            "allow 10.0.0.0/8; location / { proxy_pass http://app; }",
            "allow = [\"10.0.0.0/8\", \"0.0.0.0/0\", \"::/0\"]",
        ),
        ("deny 10.0.0.1; allow all; location / { proxy_pass http://app; }", "deny = [\"10.0.0.1\"]"),
        (
            "deny 10.0.0.1; deny all; location / { proxy_pass http://app; }",
            "deny = [\"0.0.0.0/0\", \"::/0\"]",
        ),
        ("gzip on; location / { proxy_pass http://app; }", "compress = { encodings = [\"gzip\"]"),
        ("keepalive_timeout 65; location / { proxy_pass http://app; }", "keepalive_timeout = \"65s\""),
        ("server_name .example.com; location / { proxy_pass http://app; }", "\"*.example.com\""),
    ] {
        let imported = site(place);
        assert_eq!(problems(&imported), [""; 0], "{place}: {}", imported.toml);
        assert!(imported.toml.contains(expected), "{place}: {}", imported.toml);
    }
}

#[test]
fn what_cannot_be_carried_over_is_named_with_its_line() {
    for (place, expected) in [
        ("location ~ \\.php$ { }", "nginx.conf:3: `location ~ \\.php$`"),
        ("location / {\nroot /srv; }", "nginx.conf:4: `root` is not carried over"),
        ("location / { proxy_pass http://$backend; }", "nginx.conf:3: `proxy_pass http://$backend`"),
        (
            "location / { proxy_pass http://app;\nproxy_set_header X $ssl_cipher; }",
            "nginx.conf:4: `$ssl_cipher`",
        ),
        ("location / { proxy_pass http://app; }\nauth_basic x;", "nginx.conf:4: `auth_basic`"),
        ("location / { proxy_pass http://app/x; }", "nginx.conf:3: a path is replaced in whole segments"),
        ("http2 off;", "nginx.conf:3: `http2` is not carried over"),
        ("limit_req_status 503;", "nginx.conf:3: `limit_req_status` is not carried over"),
        ("location / { return 444; }", "nginx.conf:3: `return 444`"),
    ] {
        let imported = site(place);
        assert!(
            problems(&imported).iter().any(|problem| problem.starts_with(expected)),
            "{place}: {imported:?}"
        );
    }
}

#[test]
fn a_server_that_only_sends_to_https_is_the_listeners_redirect() {
    let imported = imported(
        "http { server { listen 80; server_name a.example.com; return 301 https://$host$request_uri; }\n\
         server { listen 443 ssl; server_name a.example.com; ssl_certificate c.pem; ssl_certificate_key k.pem;\n\
         location / { proxy_pass http://127.0.0.1:1; } } }",
    );
    assert!(imported.toml.contains("https_redirect = 443"), "{}", imported.toml);
    assert!(imported.toml.contains("tls = { certificates = [{ cert = \"c.pem\", key = \"k.pem\" }] }"));
    assert_eq!(imported.toml.matches("[[routes]]").count(), 1, "{}", imported.toml);
}

#[test]
fn a_file_that_is_not_nginxs_is_refused_at_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nginx.conf");
    for (text, line) in [("http {\n", 1), ("a\nb", 2), ("a; }", 1), ("a \"b;\n", 1), ("{ }", 1)] {
        fs::write(&file, text).unwrap();
        let problem = import(&file).unwrap_err();
        assert!(problem.at.ends_with(&format!(":{line}")), "{text:?}: {problem}");
    }
    fs::write(&file, "include nginx.conf;").unwrap();
    assert!(import(&file).unwrap_err().what.contains("too deep"));
}
