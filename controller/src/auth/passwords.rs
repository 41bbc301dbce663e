//! Passwords: Argon2id, off the async threads, few at a time, and ever slower for who guesses.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use fairway_api::{names::Email, secret::Secret};
use tokio::sync::Semaphore;

use crate::store::{Store, StoreError, accounts};

/// Passwords checked at once. Each takes 19 MiB and some 20 ms of a core; more at once would let
/// strangers starve everything else.
const CHECKS_AT_ONCE: usize = 2;
/// Callers that wait for their check before further ones are turned away.
const CHECKS_WAITING_MAX: usize = 64;
/// Wrong passwords for one email within [`FAILURE_WINDOW`] before it has to wait. Counted by email
/// and not by address: guesses come from many addresses, and the dashboard's from one.
const FAILURES_MAX: u32 = 10;
/// How long a wrong password counts.
const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// Emails remembered for their failures; past it, those whose window has passed are forgotten.
const EMAILS_MAX: usize = 10_000;

/// The fewest characters of a password.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// The most characters of a password: hashing megabytes would be a way to keep us busy.
pub const PASSWORD_CHARS_MAX: usize = 200;

/// Why a login was refused.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error("email or password is wrong")]
    Wrong,
    #[error("too many wrong passwords for this account")]
    TooManyFailures { wait_secs: u64 },
    #[error("too many logins at once")]
    Busy,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks passwords.
#[derive(Debug)]
pub(crate) struct Logins {
    running: Semaphore,
    waiting: Semaphore,
    failures: Mutex<HashMap<Email, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    since: Instant,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            running: Semaphore::new(CHECKS_AT_ONCE),
            waiting: Semaphore::new(CHECKS_WAITING_MAX),
            failures: Mutex::default(),
        }
    }
}

impl Logins {
    /// The account with this email and password.
    pub(crate) async fn check(
        &self,
        store: &Store,
        email: &Email,
        password: &Secret,
    ) -> Result<accounts::AccountRow, LoginError> {
        self.refuse_if_guessing(email, Instant::now())?;
        let account = accounts::by_email(&mut *store.read().await?, email).await?;
        let hash = account
            .as_ref()
            .map(|account| account.password_hash.clone());
        if self.verify(hash, password.clone()).await?
            && let Some(account) = account
        {
            self.lock().remove(email);
            return Ok(account);
        }
        self.note_failure(email, Instant::now());
        Err(LoginError::Wrong)
    }

    /// Hashes a new password.
    pub(crate) async fn hash(&self, password: Secret) -> Result<String, LoginError> {
        let _place = self.waiting.try_acquire().map_err(|_| LoginError::Busy)?;
        let _turn = self.running.acquire().await.map_err(|_| LoginError::Busy)?;
        let hash = tokio::task::spawn_blocking(move || hash_blocking(password.expose()));
        hash.await.map_err(|_| LoginError::Busy)
    }

    /// Takes as long for an account that does not exist, so that time does not tell which do.
    async fn verify(&self, hash: Option<String>, password: Secret) -> Result<bool, LoginError> {
        let _place = self.waiting.try_acquire().map_err(|_| LoginError::Busy)?;
        let _turn = self.running.acquire().await.map_err(|_| LoginError::Busy)?;
        let verified = tokio::task::spawn_blocking(move || match hash {
            Some(hash) => verify_blocking(&hash, password.expose()),
            None => {
                drop(hash_blocking(password.expose()));
                false
            }
        });
        verified.await.map_err(|_| LoginError::Busy)
    }

    fn refuse_if_guessing(&self, email: &Email, now: Instant) -> Result<(), LoginError> {
        let failures = self.lock();
        let Some(entry) = failures
            .get(email)
            .filter(|entry| entry.count >= FAILURES_MAX)
        else {
            return Ok(());
        };
        match FAILURE_WINDOW.checked_sub(now.duration_since(entry.since)) {
            Some(left) => Err(LoginError::TooManyFailures {
                wait_secs: left.as_secs() + 1,
            }),
            None => Ok(()),
        }
    }

    fn note_failure(&self, email: &Email, now: Instant) {
        let fresh = |entry: &Failures| now.duration_since(entry.since) < FAILURE_WINDOW;
        let mut failures = self.lock();
        if failures.len() >= EMAILS_MAX {
            failures.retain(|_, entry| fresh(entry));
        }
        if failures.len() >= EMAILS_MAX && !failures.contains_key(email) {
            return;
        }
        let entry = failures.entry(email.clone()).or_insert(Failures {
            count: 0,
            since: now,
        });
        if !fresh(entry) {
            *entry = Failures {
                count: 0,
                since: now,
            };
        }
        entry.count += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Email, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash_blocking(password: &str) -> String {
    let hash: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .expect("the default parameters are valid and the system has random bytes");
    hash.to_string()
}

fn verify_blocking(hash: &str, password: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}
