//! The database: the only place that speaks SQL, one file per noun.
//!
//! Functions of the nouns take a connection (`&mut Db`), so that a caller decides what stands in
//! one transaction. [`Store::read`] gives one consistent snapshot; [`Store::write`] is the only
//! way to change anything. Nothing here decides: rules live in the callers.
//!
//! **Durability.** SQLite runs in WAL mode. A transaction from [`Store::write`] is on disk when its
//! commit returns (`synchronous=FULL`), because something outside hears of it: a user is told that
//! it happened, a git ref moves. One from [`Store::write_relaxed`] survives any crash of the
//! process, but a power cut may take the newest ones, all of them from some point on and never one
//! in the middle. It is for what the platform finds out again by itself: a build that was queued,
//! claimed or finished (its push has not been answered yet, so the pusher sees it fail and pushes
//! again), what was observed of pods. A later durable commit carries every relaxed one before it.

pub mod columns;
pub mod page;

// People.
pub mod accounts;
pub mod keys;
pub mod tokens;

// What they made.
pub mod apps;
pub mod autoscale;
pub mod builds;
pub mod config_files;
pub mod config_vars;
pub mod domains;
pub mod events;
pub mod features;
pub mod formation;
pub mod jobs;
pub mod placements;
pub mod releases;
pub mod runs;
pub mod snapshots;
pub mod volumes;

// What the platform does about it.
pub mod cluster;
pub mod deployments;
pub mod generations;
pub mod network;
pub mod node_tokens;
pub mod nodes;
pub mod pods;

use std::{
    ops::{Deref, DerefMut},
    path::Path,
    time::Duration,
};

use sqlx::{
    Connection, Sqlite, SqliteConnection, SqlitePool, Transaction,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::watch;

/// A connection inside a transaction, as every query function takes it.
pub type Db = SqliteConnection;

/// The schema, embedded, so that a binary always brings the one it was written for.
static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Connections for reads. Each is a thread; more than a few only wait for the same two cores.
const READERS_MAX: u32 = 8;
/// How long a statement waits for another process that holds the database (a backup, `sqlite3`).
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for a connection before it fails, rather than queueing for ever.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);

/// How SQLite says that the disk is full: `SQLITE_FULL`, and `SQLITE_IOERR_SHMSIZE` when its index
/// of the WAL cannot grow.
const DISK_FULL_CODES: [&str; 2] = ["13", "4874"];

/// Why the database did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such row.
    #[error("couldn't find that {what}")]
    NotFound { what: &'static str },
    /// Somebody has changed what this counted on; whoever decides again decides rightly.
    #[error("overtaken by another change")]
    Overtaken,
    /// A row with the same value exists already.
    #[error("{unique} is already taken")]
    Conflict {
        /// The unique columns, as SQLite names them: `apps.name`.
        unique: String,
    },
    /// A row holds something that this version does not understand.
    #[error("column {column} holds {value:?}")]
    Corrupt {
        column: String,
        value: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk is full; nothing was changed.
    #[error("the disk is full")]
    DiskFull(#[source] sqlx::Error),
    /// The database could not be read or written.
    #[error("use the database")]
    Database(#[source] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migrate the database")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// True when the unique column (`table.column`) is what stood in the way.
    pub fn conflicts_on(&self, column: &str) -> bool {
        matches!(self, Self::Conflict { unique } if unique.split(", ").any(|one| one == column))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(database) = &error
            && database.is_unique_violation()
        {
            let message = database.message();
            let unique = message
                .rsplit_once("failed: ")
                .map_or(message, |(_, columns)| columns);
            return Self::Conflict {
                unique: unique.into(),
            };
        }
        if let sqlx::Error::Database(database) = &error
            && database
                .code()
                .is_some_and(|code| DISK_FULL_CODES.contains(&code.as_ref()))
        {
            return Self::DiskFull(error);
        }
        Self::Database(error)
    }
}

/// The controller's database.
#[derive(Debug, Clone)]
pub struct Store {
    writer: SqlitePool,
    readers: SqlitePool,
    /// The position of the newest event, as far as somebody listened.
    events: watch::Sender<u64>,
}

/// A consistent snapshot to read from; see [`Store::read`].
#[derive(Debug)]
pub struct ReadTx(Transaction<'static, Sqlite>);

/// An open change; see [`Store::write`]. Dropped without [`WriteTx::commit`], it leaves nothing.
#[derive(Debug)]
pub struct WriteTx {
    tx: Transaction<'static, Sqlite>,
    events: watch::Sender<u64>,
}

impl Store {
    /// Opens the database file, makes it if there is none, and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        // One writer: SQLite has one write lock, and a queue for a connection is fair where a
        // queue for the lock is not.
        let writer = pool_options()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await?;
        MIGRATIONS.run(&writer).await?;
        let readers = pool_options()
            .max_connections(READERS_MAX)
            .connect_with(options.pragma("query_only", "ON"))
            .await?;
        Ok(Self {
            writer,
            readers,
            events: watch::Sender::new(0),
        })
    }

    /// A snapshot: everything read from it is of one moment.
    pub async fn read(&self) -> Result<ReadTx, StoreError> {
        Ok(ReadTx(self.readers.begin().await?))
    }

    /// Begins a change that is on disk when its commit returns. Waits for the one before it.
    pub async fn write(&self) -> Result<WriteTx, StoreError> {
        self.begin("PRAGMA synchronous=FULL; BEGIN IMMEDIATE").await
    }

    /// Begins a change that a power cut (not a crash) may take back; see the module's words on
    /// durability for what may use it.
    pub async fn write_relaxed(&self) -> Result<WriteTx, StoreError> {
        self.begin("PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE")
            .await
    }

    async fn begin(&self, statement: &'static str) -> Result<WriteTx, StoreError> {
        Ok(WriteTx {
            tx: self.writer.begin_with(statement).await?,
            events: self.events.clone(),
        })
    }

    /// Wakes whoever waits for events: changes when one was committed. Listen before reading, or
    /// one can be missed.
    pub fn events(&self) -> watch::Receiver<u64> {
        self.events.subscribe()
    }

    /// How many wait for events.
    pub fn event_followers(&self) -> usize {
        self.events.receiver_count()
    }

    /// Closes all connections; the last one folds the WAL into the database file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn pool_options() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_release(|connection, _| {
            Box::pin(async move {
                if connection.is_in_transaction() {
                    // Dropping a transaction only asks for its rollback; a ping waits for it.
                    connection.ping().await?;
                }
                // On a full disk or a failing one, SQLite rolls a transaction back by itself, and
                // the driver goes on believing in it: such a connection could never begin another.
                Ok(!connection.is_in_transaction())
            })
        })
}

impl WriteTx {
    /// Makes the change real.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        // Nobody listens mostly, and then this costs nothing.
        let newest = match self.events.receiver_count() {
            0 => None,
            _ => Some(events::newest(&mut self.tx).await?),
        };
        self.tx.commit().await?;
        self.events.send_if_modified(|known| match newest {
            Some(newest) => std::mem::replace(known, newest) != newest,
            // Whoever began to listen meanwhile may have looked too early.
            None => true,
        });
        Ok(())
    }
}

macro_rules! derefs_to_db {
    ($($tx:ty: $field:tt),+) => {$(
        impl Deref for $tx {
            type Target = Db;
            fn deref(&self) -> &Db {
                &self.$field
            }
        }

        impl DerefMut for $tx {
            fn deref_mut(&mut self) -> &mut Db {
                &mut self.$field
            }
        }
    )+};
}

derefs_to_db!(ReadTx: 0, WriteTx: tx);

#[cfg(test)]
mod tests;
