//! Which directives hold at a level of nginx, which are inherited by places, and which have no meaning here.

use std::collections::BTreeMap;

use crate::import_nginx::read::Directive;

/// What has no meaning here: the edge does it always, by itself, or has no need of it.
pub(super) const PASSED: [&str; 55] = [
    "accept_mutex",
    "chunked_transfer_encoding",
    "client_body_buffer_size",
    "client_header_buffer_size",
    "daemon",
    "default_type",
    "gzip_buffers",
    "gzip_comp_level",
    "gzip_disable",
    "gzip_http_version",
    "gzip_proxied",
    "gzip_static",
    "gzip_vary",
    "ignore_invalid_headers",
    "keepalive",
    "limit_conn_log_level",
    "limit_req_log_level",
    "load_module",
    "log_not_found",
    "merge_slashes",
    "multi_accept",
    "open_file_cache",
    "pid",
    "port_in_redirect",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_headers_hash_bucket_size",
    "proxy_headers_hash_max_size",
    "proxy_http_version",
    "proxy_max_temp_file_size",
    "proxy_request_buffering",
    "proxy_ssl_server_name",
    "proxy_ssl_session_reuse",
    "real_ip_recursive",
    "reset_timedout_connection",
    "sendfile",
    "server_name_in_redirect",
    "server_names_hash_bucket_size",
    "server_names_hash_max_size",
    "server_tokens",
    "ssl_buffer_size",
    "ssl_ciphers",
    "ssl_dhparam",
    "ssl_ecdh_curve",
    "ssl_prefer_server_ciphers",
    "ssl_session_cache",
    "ssl_session_tickets",
    "ssl_session_timeout",
    "tcp_nodelay",
    "tcp_nopush",
    "types",
    "types_hash_max_size",
    "user",
];

/// What places inherit, the nearest alone.
const SINGLE: [&str; 13] = [
    "client_max_body_size",
    "gzip",
    "gzip_min_length",
    "gzip_types",
    "proxy_connect_timeout",
    "proxy_next_upstream",
    "proxy_next_upstream_timeout",
    "proxy_next_upstream_tries",
    "proxy_read_timeout",
    "proxy_send_timeout",
    "proxy_ssl_name",
    "proxy_ssl_trusted_certificate",
    "proxy_ssl_verify",
];

/// What places inherit all of, unless they have one of their own.
const SEVERAL: [&str; 6] =
    ["add_header", "allow", "deny", "limit_req", "proxy_hide_header", "proxy_set_header"];

/// Whether places say or inherit this.
pub(super) fn is_of_places(name: &str) -> bool {
    SINGLE.contains(&name) || SEVERAL.contains(&name)
}

/// What holds for all clients.
pub(super) const CLIENT: [&str; 5] = [
    "client_body_timeout",
    "client_header_timeout",
    "keepalive_requests",
    "keepalive_timeout",
    "send_timeout",
];

/// The directives that hold at a level.
#[derive(Clone, Default)]
pub(super) struct Scope<'a>(BTreeMap<&'a str, Vec<&'a Directive>>);

impl<'a> Scope<'a> {
    /// What holds within this block.
    pub(super) fn below(&self, directives: &'a [Directive]) -> Self {
        let mut own: BTreeMap<&str, Vec<&Directive>> = BTreeMap::new();
        for directive in directives {
            let name = directive.name.as_str();
            if SINGLE.contains(&name) {
                own.insert(name, vec![directive]);
            } else if SEVERAL.contains(&name) {
                own.entry(name).or_default().push(directive);
            }
        }
        let mut all = self.0.clone();
        // The two are one list.
        if own.contains_key("allow") || own.contains_key("deny") {
            all.remove("allow");
            all.remove("deny");
        }
        all.extend(own);
        Self(all)
    }

    pub(super) fn all(&self, name: &str) -> &[&'a Directive] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    pub(super) fn one(&self, name: &str) -> Option<&'a Directive> {
        self.all(name).last().copied()
    }
}
