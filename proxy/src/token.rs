//! Makes tokens for the admin interface: 256 random bits, of which the configuration keeps the digest only.

use sha2::{Digest as _, Sha256};

/// A new token.
pub struct Token {
    /// For its holder alone.
    pub secret: String,
    /// For the configuration, in hexadecimal.
    pub sha256: String,
}

/// Makes a token.
///
/// # Errors
///
/// When the system has no randomness to give.
pub fn generate() -> Result<Token, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    // The prefix lets scanners for leaked secrets recognise it.
    let secret = format!("cirque_{}", hexadecimal(&bytes));
    let sha256 = hexadecimal(&Sha256::digest(&secret));
    Ok(Token { secret, sha256 })
}

fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_go_with_their_digest() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one.secret, two.secret);
        assert_eq!(one.sha256, hexadecimal(&Sha256::digest(&one.secret)));
        assert_eq!(one.sha256.len(), 64);
    }
}
