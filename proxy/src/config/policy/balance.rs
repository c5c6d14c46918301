//! What the room that chooses backends is told.

/// How a backend is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// The fewest requests in flight for its weight.
    #[default]
    LeastConn,
    /// In turn, spread out by weight.
    RoundRobin,
    /// By lot, in proportion to weight.
    Random,
    /// Always the same for the same [`HashBy`].
    Hash,
}

/// The spellings of [`Balance`] in a file.
pub const BALANCE: [(&str, Balance); 4] = [
    ("least_conn", Balance::LeastConn),
    ("round_robin", Balance::RoundRobin),
    ("random", Balance::Random),
    ("hash", Balance::Hash),
];

/// What a request is recognised by when backends are chosen by hash.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HashBy {
    /// The client's address.
    #[default]
    Client,
    /// The path, without its query.
    Path,
    /// The value of this header, in lower case here; the client's address when there is none.
    Header(String),
    /// The value of this cookie; the client's address when there is none.
    Cookie(String),
}

impl HashBy {
    /// Reads `client`, `path`, `header:NAME` or `cookie:NAME`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        // A token (RFC 9110 §5.6.2): what a header and a cookie may be called.
        let is_token = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
        };
        match text.split_once(':') {
            None if text == "client" => Ok(Self::Client),
            None if text == "path" => Ok(Self::Path),
            Some(("header", name)) if is_token(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("cookie", name)) if is_token(name) => Ok(Self::Cookie(name.to_owned())),
            _ => {
                Err(format!("must be \"client\", \"path\", \"header:NAME\" or \"cookie:NAME\", got {text:?}"))
            }
        }
    }
}
