//! Checks where the admin interface listens and who may use it.

use std::collections::BTreeSet;

use cirque_shared::config::Problems;

use super::super::AdminAddress;
use super::super::policy::{AdminToken, SCOPE};
use super::value::{address, name, one_of};

/// The address and the tokens, which go together: what others can reach needs one.
pub(super) fn admin(
    written: Option<String>,
    tokens: &[String],
    problems: &mut Problems,
) -> (AdminAddress, Vec<AdminToken>) {
    let path = written.as_deref().and_then(|text| text.strip_prefix("unix:"));
    let at = match path {
        Some("") => {
            problems.push("server.admin", "must have a path, like \"unix:/run/cirque/admin.sock\"");
            AdminAddress::Unix("".into())
        }
        Some(path) => AdminAddress::Unix(path.into()),
        None => AdminAddress::Tcp(address("server.admin", written, problems)),
    };
    let is_for_all = matches!(&at, AdminAddress::Tcp(address) if !address.ip().is_loopback());
    if is_for_all && tokens.is_empty() {
        let hint = "others can reach this address: add admin_tokens (see `cirque proxy token`), or use a loopback \
                    address or a unix socket";
        problems.push("server.admin", hint);
    }
    let mut names = BTreeSet::new();
    let tokens = tokens.iter().enumerate();
    (at, tokens.filter_map(|(index, written)| token(index, written, &mut names, problems)).collect())
}

/// `NAME:SCOPE:SHA256`.
fn token(
    index: usize,
    written: &str,
    names: &mut BTreeSet<String>,
    problems: &mut Problems,
) -> Option<AdminToken> {
    let at = format!("server.admin_tokens[{index}]");
    let parts: Vec<&str> = written.split(':').collect();
    let [holder, scope, sha256] = parts.as_slice() else {
        problems.push(&at, "must be NAME:SCOPE:SHA256; `cirque proxy token` writes one");
        return None;
    };
    let name = name(&at, Some((*holder).to_owned()), names, problems);
    let digest = digest(sha256);
    if digest.is_none() {
        problems.push(&at, "must end in the 64 hexadecimal digits of a token's SHA-256");
    }
    Some(AdminToken { name, sha256: digest?, scope: one_of(&at, scope, &SCOPE, problems)? })
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(digest)
}
