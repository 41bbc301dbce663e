//! What can be switched on for an app. There is one feature: session affinity.

use fairway_api::{
    features::{Feature, SESSION_AFFINITY},
    ids::{AppId, FeatureId, PodId},
};
use sha2::{Digest, Sha256};
use uuid::Builder;

use crate::{
    auth::Caller,
    problem::{Answer, Problem},
    secrets::Secrets,
    store::{
        Db,
        apps::AppRow,
        columns::now,
        events,
        features::{self, FeatureRow},
    },
};

/// Random bytes behind the words of an app's pods.
const SECRET_BYTES: usize = 32;
/// Bytes of a word: too many to guess.
const WORD_BYTES: usize = 16;

/// An app's features as users see them.
pub async fn list(db: &mut Db, app: &AppRow) -> Answer<Vec<Feature>> {
    let rows = features::list(db, app.id).await?;
    let row = rows.into_iter().find(|row| row.name == SESSION_AFFINITY);
    Ok(vec![shown(app, row.as_ref())])
}

fn shown(app: &AppRow, row: Option<&FeatureRow>) -> Feature {
    Feature {
        id: id(app.id),
        name: SESSION_AFFINITY.into(),
        display_name: "Session affinity".into(),
        description: "Requests of one client go to the same web process, as long as it is there."
            .into(),
        doc_url: "https://devcenter.heroku.com/articles/session-affinity".into(),
        feedback_email: String::new(),
        state: "general".into(),
        enabled: row.is_some_and(|row| row.enabled),
        created_at: row.map_or(app.created_at, |row| row.created_at),
        updated_at: row.map_or(app.created_at, |row| row.updated_at),
    }
}

/// The same before and after somebody set it.
fn id(app: AppId) -> FeatureId {
    let mut digest = Sha256::new();
    digest.update(app.as_uuid().as_bytes());
    digest.update(SESSION_AFFINITY);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.finalize()[..16]);
    FeatureId::from_u128(Builder::from_custom_bytes(bytes).into_uuid().as_u128())
}

/// Switches a feature on or off. The caller commits and wakes the reconcile loop.
pub async fn set(
    db: &mut Db,
    secrets: &Secrets,
    app: &AppRow,
    which: &str,
    enabled: bool,
    caller: &Caller,
) -> Answer<Feature> {
    let id = id(app.id);
    if which != SESSION_AFFINITY && which != id.to_string() {
        return Err(Problem::not_found("feature").hint(format!("There is {SESSION_AFFINITY}.")));
    }
    let secret: [u8; SECRET_BYTES] = rand::random();
    let row = FeatureRow {
        id,
        app: app.id,
        name: SESSION_AFFINITY.into(),
        enabled,
        secret: secrets.seal(&secret, &context(app.id)),
        created_at: now(),
        updated_at: now(),
    };
    features::set(db, &row).await?;
    let word = if enabled { "on" } else { "off" };
    let message = format!("{SESSION_AFFINITY} is {word}");
    let actor = caller.account.email.as_str();
    events::record(db, Some(&app.app()), actor, "feature.set", &message).await?;
    let all = list(db, app).await?;
    all.into_iter()
        .next()
        .ok_or_else(|| Problem::not_found("feature"))
}

/// What the words of an app's pods are made with, if it has session affinity.
pub fn affinity(secrets: &Secrets, rows: &[FeatureRow]) -> Option<Vec<u8>> {
    let is_on = |row: &&FeatureRow| row.enabled && row.name == SESSION_AFFINITY;
    let row = rows.iter().find(is_on)?;
    let opened = secrets.open_sealed(&row.secret, &context(row.app));
    opened
        .inspect_err(|error| tracing::error!(app = %row.app, "no session affinity: {error}"))
        .ok()
}

/// The word by which a cookie asks for a pod.
pub fn word(secret: &[u8], pod: PodId) -> String {
    let mut digest = Sha256::new();
    digest.update(secret);
    digest.update(pod.as_uuid().as_bytes());
    hex::encode(&digest.finalize()[..WORD_BYTES])
}

fn context(app: AppId) -> String {
    format!("feature/{app}/{SESSION_AFFINITY}")
}
