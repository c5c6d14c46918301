//! Checks how backends are reached: protocol, and whom they must show themselves to be.

use std::path::Path;

use cirque_shared::config::Problems;
use rustls::pki_types::ServerName;

use super::super::policy::{BackendTls, PROTOCOLS, Reach};
use super::super::raw;
use super::value::{in_range, one_of};
use crate::certificate;

pub(super) fn reach(at: &str, policy: &raw::UpstreamPolicy, problems: &mut Problems) -> Reach {
    let protocol = policy.protocol.clone().unwrap_or_default();
    Reach {
        protocol: one_of(&format!("{at}.protocol"), &protocol, &PROTOCOLS, problems).unwrap_or_default(),
        tls: tls(&format!("{at}.tls"), policy.tls.clone().unwrap_or_default(), problems),
        max_streams: in_range(
            &format!("{at}.http2_max_concurrent_streams"),
            policy.http2_max_concurrent_streams.unwrap_or(1),
            1,
            10_000,
            problems,
        ),
    }
}

fn tls(at: &str, raw: raw::BackendTls, problems: &mut Problems) -> Option<BackendTls> {
    if !raw.on.unwrap_or_default() {
        return None;
    }
    let file = raw.ca.unwrap_or_default();
    let ca = (!file.is_empty()).then(|| {
        certificate::chain(Path::new(&file)).unwrap_or_else(|unusable| {
            problems.push(&format!("{at}.ca"), unusable.to_string());
            Vec::new()
        })
    });
    let server_name = raw.server_name.unwrap_or_default();
    if !server_name.is_empty() && ServerName::try_from(server_name.as_str()).is_err() {
        problems.push(&format!("{at}.server_name"), format!("must be a host name, got {server_name:?}"));
    }
    let insecure_skip_verify = raw.insecure_skip_verify.unwrap_or_default();
    Some(BackendTls { ca, server_name, insecure_skip_verify })
}
