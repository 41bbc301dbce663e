//! How machines become part of the cluster and stay it: join tokens, certificates.
//!
//! An admin makes a token; a machine shows it once on the cluster port and gets a certificate for a
//! key that never leaves it; with the certificate it gets the next one. What a machine may do with
//! it is decided in `http`; what operators ask of it stands in [`crate::nodes`].

pub mod authority;
mod members;

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    ids::{NodeId, NodeTokenId},
    joining::{
        CertificateRequest, InvalidToken, IssuedCertificate, JoinRequest, JoinToken, Joined,
    },
    machines::{NewNodeToken, NodeToken},
    names::NodeName,
    placement::LABELS_MAX,
};

use crate::{
    auth::Caller,
    problem::{Answer, Problem, sentence},
    state::AppState,
    store::{
        Db,
        columns::now,
        events,
        node_tokens::{self, NodeTokenRow},
        nodes::{self, NodeRow},
    },
};

use authority::IssueError;
pub use authority::{Authority, NODE_CERTIFICATE_LIFE};
pub(crate) use members::Members;

/// How long a token can be used unless something else is asked for, in seconds.
const TOKEN_TTL_SECS_DEFAULT: u64 = 60 * 60;
/// The shortest and the longest that may be asked for, in seconds: a minute and thirty days.
const TOKEN_TTL_SECS: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 60 * 60;
/// Tokens that can be used at the same time.
const TOKENS_MAX: u64 = 10_000;
/// How long a token is remembered after its end, so that who comes late is told why.
const TOKEN_REMEMBERED: TimeDelta = TimeDelta::days(30);

/// Makes a join token. Its secret is in the answer this once.
pub async fn create_token(
    state: &AppState,
    caller: &Caller,
    new: NewNodeToken,
) -> Answer<NodeToken> {
    let Some(address) = state.config.cluster_addresses.first().cloned() else {
        return Err(Problem::conflict(
            "This controller has no cluster port, so no machine can join.",
        )
        .hint("Start it with --listen-cluster."));
    };
    let ttl_secs = new.ttl_secs.unwrap_or(TOKEN_TTL_SECS_DEFAULT);
    if !TOKEN_TTL_SECS.contains(&ttl_secs) {
        return Err(Problem::invalid(
            "A join token can be used for at least a minute and at most 30 days.",
        ));
    }
    let token = JoinToken::new(rand::random(), state.authority.digest());
    let now = now();
    let row = NodeTokenRow {
        id: NodeTokenId::generate(),
        hash: token.hash(),
        expires_at: now + TimeDelta::seconds(i64::try_from(ttl_secs).unwrap_or(i64::MAX)),
        used_at: None,
        used_by: None,
        created_at: now,
    };
    let mut tx = state.store.write().await?;
    node_tokens::delete_before(&mut tx, now - TOKEN_REMEMBERED).await?;
    if node_tokens::count_usable(&mut tx, now).await? >= TOKENS_MAX {
        return Err(Problem::conflict(format!(
            "There are {TOKENS_MAX} join tokens that nobody has used."
        ))
        .hint("Wait until some end."));
    }
    node_tokens::insert(&mut tx, &row).await?;
    let message = format!(
        "A token for a machine to join until {}",
        row.expires_at.to_rfc3339()
    );
    let who = caller.account.email.as_str();
    events::record(&mut tx, None, who, "node-token.created", &message).await?;
    tx.commit().await?;
    Ok(NodeToken {
        id: row.id,
        token: token.reveal(),
        address,
        expires_at: row.expires_at,
    })
}

/// Lets a machine in. `from` is where it calls from.
pub async fn join(state: &AppState, request: JoinRequest, from: Option<IpAddr>) -> Answer<Joined> {
    let now = now();
    if request.facts.labels.len() > LABELS_MAX {
        return Err(Problem::invalid(format!(
            "A machine can have at most {LABELS_MAX} labels."
        )));
    }
    let token = read_token(state, &request)?;
    let mut tx = state.store.write().await?;
    let row = usable(&mut tx, &token, now).await?;
    let id = admit(&mut tx, &request, now).await?;
    let certificate = certify(state, &mut tx, &request.csr, id, &request.name, now).await?;
    node_tokens::set_used(&mut tx, row.id, &request.name, now).await?;
    let from = from.map_or_else(String::new, |from| format!(" from {from}"));
    let message = format!("{} joined{from}", request.name);
    events::record(
        &mut tx,
        None,
        events::ACTOR_PLATFORM,
        "node.joined",
        &message,
    )
    .await?;
    tx.commit().await?;
    tracing::info!(node = %request.name, "{message}");
    state.members.add(id, request.name.clone());
    state.wake.nodes();
    Ok(Joined {
        cluster: state.authority.cluster(),
        node: id,
        name: request.name,
        certificate,
    })
}

/// The next certificate of a machine that has one.
pub async fn renew(
    state: &AppState,
    id: NodeId,
    name: &NodeName,
    request: &CertificateRequest,
) -> Answer<IssuedCertificate> {
    let mut tx = state.store.write().await?;
    let certificate = certify(state, &mut tx, &request.csr, id, name, now()).await?;
    tx.commit().await?;
    Ok(certificate)
}

fn read_token(state: &AppState, request: &JoinRequest) -> Answer<JoinToken> {
    let token: JoinToken = request
        .token
        .expose()
        .parse()
        .map_err(|error: InvalidToken| Problem::invalid(sentence(&error)))?;
    if *token.pin() == state.authority.digest() {
        Ok(token)
    } else {
        Err(Problem::forbidden("The join token is of another cluster.")
            .hint("Make one here: fairway node token"))
    }
}

/// The row of a token that still lets a machine in.
async fn usable(db: &mut Db, token: &JoinToken, now: DateTime<Utc>) -> Answer<NodeTokenRow> {
    let refused = |message: String| {
        Err(Problem::forbidden(message).hint("Make another one: fairway node token"))
    };
    let Some(row) = node_tokens::by_hash(db, &token.hash()).await? else {
        return refused("This cluster does not know the join token.".into());
    };
    if let (Some(at), Some(by)) = (row.used_at, &row.used_by) {
        return refused(format!(
            "The join token was used already, by {by} at {}. Each lets one machine join.",
            at.format("%Y-%m-%d %H:%M:%SZ")
        ));
    }
    if row.expires_at <= now {
        return refused(format!(
            "The join token could be used until {}.",
            row.expires_at.format("%Y-%m-%d %H:%M:%SZ")
        ));
    }
    Ok(row)
}

/// The id under which a machine is part of the cluster: a new one, or the one it had.
async fn admit(db: &mut Db, request: &JoinRequest, now: DateTime<Utc>) -> Answer<NodeId> {
    let name = &request.name;
    let known: Vec<NodeRow> = nodes::all(db).await?;
    let holder = known.iter().find(|row| row.name == *name);
    match (holder, request.rejoin) {
        (Some(holder), Some(id)) if holder.id == id => Ok(id),
        (Some(_), _) => Err(Problem::conflict(format!(
            "A node named {name} is part of the cluster already."
        ))
        .hint(format!(
            "Give this machine another name with --name, or remove the other: \
             fairway nodes:remove {name}. If it is this machine, which was away for too long: \
             fairway node join --rejoin"
        ))),
        (None, Some(_)) => Err(Problem::conflict(format!(
            "This machine, {name}, was removed from the cluster, so it cannot come back as itself."
        ))
        .hint("Join as a new node: leave --rejoin out.")),
        (None, None) => {
            let id = NodeId::generate();
            nodes::insert(db, id, name, now).await?;
            Ok(id)
        }
    }
}

async fn certify(
    state: &AppState,
    db: &mut Db,
    csr: &str,
    id: NodeId,
    name: &NodeName,
    now: DateTime<Utc>,
) -> Answer<IssuedCertificate> {
    let (certificate, until) = state.authority.certify_node(csr, id, name, now)?;
    nodes::set_certificate(db, id, until).await?;
    Ok(IssuedCertificate {
        certificate,
        life_secs: u32::try_from(NODE_CERTIFICATE_LIFE.num_seconds()).unwrap_or(u32::MAX),
        authority: state.authority.pem().to_owned(),
        controllers: state.config.cluster_addresses.clone(),
    })
}

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Request(_) => Self::invalid(sentence(&error)),
            IssueError::Sign(_) => Self::fault(error),
        }
    }
}
