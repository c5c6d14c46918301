//! Decides how passwords are kept and compared: Argon2id, a few at a time, so that signing in cannot starve the node.

use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Passwords that are hashed at once; each takes 19 MiB and some 20 ms of a core.
const AT_ONCE: usize = 2;
/// Those that may wait beside them.
const WAITING: usize = 32;

/// The letters of made passwords: none that are taken for each other.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
const MADE_LENGTH: usize = 20;

/// What is compared with when there is no such account, so that the answer takes as long.
static NOBODY: LazyLock<String> = LazyLock::new(|| hash("nobody has this password"));

/// Compares passwords, a few at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passwords {
    places: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

/// There is no place left to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Crowded;

impl Default for Passwords {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), queue: Arc::new(Semaphore::new(AT_ONCE + WAITING)) }
    }
}

impl Passwords {
    /// Whether `password` is the one behind `hash`. Without a hash it is wrong, and takes as long.
    ///
    /// # Errors
    ///
    /// [`Crowded`] when too many wait already.
    pub async fn is_right(&self, password: String, hash: Option<String>) -> Result<bool, Crowded> {
        let held = self.place().await?;
        let has_hash = hash.is_some();
        let compared = tokio::task::spawn_blocking(move || {
            let _held = held;
            verify(&password, hash.as_deref().unwrap_or(&NOBODY))
        });
        Ok(compared.await.unwrap_or(false) && has_hash)
    }

    /// The places are kept until the work is done, also when nobody waits for it any more.
    async fn place(&self) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Crowded> {
        let queued = Arc::clone(&self.queue).try_acquire_owned().map_err(|_| Crowded)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| Crowded)?;
        Ok((queued, place))
    }
}

/// What is kept of a password. Takes some 20 ms of the calling thread.
pub fn hash(password: &str) -> String {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.expect("the system has a source of randomness").to_string()
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// A new password of 100 random bits, easy to read out.
pub fn make() -> String {
    let mut bytes = [0; MADE_LENGTH];
    getrandom::fill(&mut bytes).expect("the system has a source of randomness");
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_argon2id_with_a_salt_of_its_own() {
        let (one, two) = (hash("s3cret"), hash("s3cret"));
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        assert!(verify("s3cret", &one) && !verify("s3cres", &one) && !verify("s3cret", "damaged"));
    }

    #[tokio::test]
    async fn an_account_that_is_not_there_has_no_password() {
        let passwords = Passwords::default();
        assert_eq!(passwords.is_right("nobody has this password".to_owned(), None).await, Ok(false));
        assert_eq!(passwords.is_right("x".to_owned(), Some(hash("x"))).await, Ok(true));
    }

    #[tokio::test]
    async fn above_the_places_to_wait_nobody_waits() {
        let passwords = Passwords::default();
        let _all = Arc::clone(&passwords.queue).acquire_many_owned(34).await.unwrap();
        assert_eq!(passwords.is_right("x".to_owned(), None).await, Err(Crowded));
    }

    #[test]
    fn made_passwords_differ() {
        assert_ne!(make(), make());
        assert_eq!(make().len(), 20);
    }
}
