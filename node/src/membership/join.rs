//! Joining: a key is made here, the controller is known by the token's digest, and what comes back
//! is kept.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::Path, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use fairway_api::{
    client::{Client, ClientCertificate, ClientError, Distrust, PinnedError, Trust},
    joining::{InvalidToken, IssuedCertificate, JoinRequest, JoinToken, Joined},
    names::NodeName,
    secret::Secret,
};
use rcgen::{CertificateParams, KeyPair};

use super::{Membership, MembershipError};
use crate::facts::Description;

/// What an operator typed.
#[derive(Debug)]
pub struct Invitation {
    /// Where the controller is, as HOST:PORT.
    pub controller: String,
    pub token: Secret,
    pub name: NodeName,
    /// Come back as the node that this directory was.
    pub rejoin: bool,
    pub description: Description,
    /// The label of everything that this agent makes on its engine.
    pub instance: String,
}

/// Why a machine could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    Token(#[from] InvalidToken),
    #[error(
        "this machine is a node already, {name} (its data directory says so). To come back to the \
         cluster after a long time away, add --rejoin; to join another cluster, choose another \
         directory with --data"
    )]
    AlreadyJoined { name: NodeName },
    #[error("cannot join through {controller}: {why}{}", hint.as_deref().map(|it| format!("\n{it}")).unwrap_or_default())]
    Refused {
        controller: String,
        why: String,
        hint: Option<String>,
    },
    #[error("cannot join through {controller}: {distrust}")]
    Distrust {
        controller: String,
        distrust: Distrust,
    },
    #[error(
        "cannot join: no controller answers at {controller}. Does this machine reach its cluster \
         port (7001 unless it was set otherwise)?"
    )]
    Unreachable {
        controller: String,
        #[source]
        source: ClientError,
    },
    #[error("cannot make a key")]
    Key(#[source] rcgen::Error),
    #[error("the controller's answer cannot be used")]
    Answer(#[source] PinnedError),
    #[error(transparent)]
    Membership(#[from] MembershipError),
}

/// Makes this machine a node and keeps what it got in `dir`, which is made if it is missing.
///
/// # Errors
/// When the token is none or does not count, the name is taken, the controller is away or another
/// than the token's, or the directory cannot be used. The token is used up by success only.
pub async fn join(dir: &Path, invitation: Invitation) -> Result<Membership, JoinError> {
    let token: JoinToken = invitation.token.expose().parse()?;
    let before = match Membership::load(dir) {
        Ok(before) if invitation.rejoin => Some(before),
        Ok(before) => return Err(JoinError::AlreadyJoined { name: before.name }),
        Err(MembershipError::Missing { .. }) if !invitation.rejoin => None,
        Err(error) => return Err(error.into()),
    };
    // Before the token is used up.
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| MembershipError::File {
            path: dir.to_owned(),
            source,
        })?;
    let key = KeyPair::generate().map_err(JoinError::Key)?;
    let said_before = before.as_ref().map(|it| it.described.clone());
    let described = invitation.description.over(said_before.unwrap_or_default());
    let request = JoinRequest {
        token: invitation.token.clone(),
        name: before
            .as_ref()
            .map_or(invitation.name, |it| it.name.clone()),
        csr: signing_request(&key).map_err(JoinError::Key)?,
        rejoin: before.as_ref().map(|it| it.node),
        facts: described.facts(),
    };
    let controller = invitation.controller;
    let stranger = Arc::new(ClientCertificate::default());
    let client = Client::pinned(
        vec![controller.clone()],
        &Trust::Pin(*token.pin()),
        stranger,
    )
    .map_err(JoinError::Answer)?;
    let joined = client.join(&request).await;
    let joined = joined.map_err(|error| refusal(&controller, error))?;
    let instance = before.map_or(invitation.instance, |it| it.instance);
    let membership = Membership {
        described,
        ..membership(joined, &key, controller, instance, Utc::now())
    };
    membership.save(dir)?;
    membership.client()?;
    Ok(membership)
}

/// A request for a certificate, in PEM. It says nothing but the key.
pub(super) fn signing_request(key: &KeyPair) -> Result<String, rcgen::Error> {
    CertificateParams::default().serialize_request(key)?.pem()
}

fn membership(
    joined: Joined,
    key: &KeyPair,
    controller: String,
    instance: String,
    now: DateTime<Utc>,
) -> Membership {
    let mut membership = Membership {
        cluster: joined.cluster,
        node: joined.node,
        name: joined.name,
        instance,
        described: Description::default(),
        controllers: vec![controller],
        authority: String::new(),
        certificate: String::new(),
        key: String::new(),
        issued_at: now,
        ends_at: now,
    };
    membership.take(joined.certificate, key, now);
    membership
}

impl Membership {
    /// Takes over a certificate that was issued for `key`.
    pub(super) fn take(&mut self, issued: IssuedCertificate, key: &KeyPair, now: DateTime<Utc>) {
        self.authority = issued.authority;
        self.certificate = issued.certificate;
        self.key = key.serialize_pem();
        self.issued_at = now;
        self.ends_at = now + TimeDelta::seconds(issued.life_secs.into());
        // The one it joined through is known to be reachable from here.
        self.controllers.truncate(1);
        for controller in issued.controllers {
            if !self.controllers.contains(&controller) {
                self.controllers.push(controller);
            }
        }
    }
}

fn refusal(controller: &str, error: ClientError) -> JoinError {
    let controller = controller.to_owned();
    if let Some(distrust) = error.distrust() {
        return JoinError::Distrust {
            controller,
            distrust,
        };
    }
    match error {
        ClientError::Api(error) => JoinError::Refused {
            controller,
            why: error.message,
            hint: error.hint,
        },
        ClientError::NotOurs { what, .. } => JoinError::Refused {
            controller,
            why: format!("who answers there is no Fairway controller: {what}"),
            hint: None,
        },
        source @ ClientError::Unreachable { .. } => JoinError::Unreachable { controller, source },
    }
}
