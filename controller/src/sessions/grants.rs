//! The book of grants and their open streams: who may open what, and how many at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fairway_api::{
    error::ErrorId,
    ids::AttachId,
    names::NodeName,
    sessions::{SessionOrder, SessionWork},
};
use tokio::time::Instant;

use super::{Grant, Purpose, Sessions};
use crate::problem::{Answer, Problem};

/// How long a session may wait for its first stream, and a forwarding one for its next.
const UNUSED_MAX: Duration = Duration::from_secs(60);
/// Sessions with one pod at a time.
pub(super) const SESSIONS_PER_POD_MAX: usize = 20;
/// Sessions with all pods of an app at a time.
pub(super) const SESSIONS_PER_APP_MAX: usize = 100;
/// Streams of one forwarding session at a time.
pub(super) const CONNECTIONS_MAX: usize = 128;

/// All grants.
#[derive(Debug, Default)]
pub(super) struct Grants {
    held: HashMap<AttachId, Held>,
    /// Which grant an open stream is of.
    streams: HashMap<AttachId, AttachId>,
}

#[derive(Debug)]
struct Held {
    grant: Grant,
    open: usize,
    /// While no stream is open.
    until: Instant,
    /// A command is run once.
    used: bool,
}

impl Grants {
    pub(super) fn add(&mut self, grant: Grant, now: Instant) -> Answer<Duration> {
        self.held
            .retain(|_, held| held.open > 0 || (held.until > now && !held.used));
        let count = |same: &dyn Fn(&Grant) -> bool| {
            self.held.values().filter(|held| same(&held.grant)).count()
        };
        let of_pod = count(&|it| it.pod == grant.pod);
        let of_app = count(&|it| it.app == grant.app);
        if of_pod >= SESSIONS_PER_POD_MAX || of_app >= SESSIONS_PER_APP_MAX {
            return Err(Problem::new(
                ErrorId::RateLimit,
                format!(
                    "{} has {of_pod} sessions and its app {of_app}; {SESSIONS_PER_POD_MAX} and \
                 {SESSIONS_PER_APP_MAX} are the most.",
                    grant.pod_name
                ),
            )
            .hint("End some of them. One that was never opened ends after a minute."));
        }
        let held = Held {
            until: now + UNUSED_MAX,
            grant,
            open: 0,
            used: false,
        };
        self.held.insert(held.grant.id, held);
        Ok(UNUSED_MAX)
    }

    pub(super) fn find(&self, id: AttachId, now: Instant) -> Option<Grant> {
        let held = self.held.get(&id)?;
        (held.open > 0 || held.until > now).then(|| held.grant.clone())
    }

    /// A new stream: its id, the order for the agent, and whose it is.
    pub(super) fn open(
        &mut self,
        id: AttachId,
        port: Option<u16>,
        now: Instant,
    ) -> Answer<(AttachId, SessionOrder, NodeName)> {
        let held = self
            .held
            .get_mut(&id)
            .filter(|held| (held.open > 0 || held.until > now) && !held.used)
            .ok_or_else(ended)?;
        let grant = &held.grant;
        let order = match (&grant.purpose, port) {
            (Purpose::Command(order), None) => {
                held.used = true;
                order.clone()
            }
            (Purpose::Forward { ports, container }, port)
                if port.is_none_or(|port| ports.contains(&port)) =>
            {
                if held.open >= CONNECTIONS_MAX {
                    return Err(Problem::new(
                        ErrorId::RateLimit,
                        format!(
                            "This session has {CONNECTIONS_MAX} open connections, the most there can \
                         be."
                        ),
                    ));
                }
                SessionOrder {
                    id: AttachId::generate(),
                    pod: grant.pod,
                    pod_name: grant.pod_name.clone(),
                    container: container.clone(),
                    work: port.map_or(SessionWork::Watch, |port| SessionWork::Connect { port }),
                }
            }
            _ => return Err(Problem::forbidden("This session is not for that port.")),
        };
        held.open += 1;
        self.streams.insert(order.id, id);
        Ok((order.id, order, held.grant.node.clone()))
    }

    pub(super) fn close(&mut self, id: AttachId, stream: AttachId, now: Instant) {
        self.streams.remove(&stream);
        if let Some(held) = self.held.get_mut(&id) {
            held.open = held.open.saturating_sub(1);
            held.until = now + UNUSED_MAX;
            if held.open == 0 && held.used {
                self.held.remove(&id);
            }
        }
    }

    /// The node that an open stream is of.
    pub(super) fn stream_of(&self, stream: AttachId) -> Option<NodeName> {
        let grant = self.streams.get(&stream)?;
        self.held.get(grant).map(|held| held.grant.node.clone())
    }
}

fn ended() -> Problem {
    Problem::forbidden("This session has ended, or was opened before.").hint("Ask for a fresh one.")
}

/// An open stream; it gives its place up when dropped.
#[derive(Debug)]
pub struct Stream {
    sessions: Arc<Sessions>,
    grant: AttachId,
    /// Where its two ends meet.
    pub id: AttachId,
    pub node: NodeName,
}

impl Stream {
    pub(super) fn new(
        sessions: Arc<Sessions>,
        grant: AttachId,
        id: AttachId,
        node: NodeName,
    ) -> Self {
        Self {
            sessions,
            grant,
            id,
            node,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.sessions.close(self.grant, self.id, &self.node);
    }
}

#[cfg(test)]
mod tests {
    use fairway_api::ids::{AppId, PodId, UserId};

    use super::*;

    fn grant(number: u128, purpose: fn(AttachId) -> Purpose) -> Grant {
        let id = AttachId::from_u128(number);
        Grant {
            id,
            app: AppId::from_u128(1),
            account: UserId::from_u128(1),
            pod: PodId::from_u128(1),
            pod_name: "web.1".into(),
            node: "n1".parse().unwrap(),
            purpose: purpose(id),
        }
    }

    fn command(id: AttachId) -> Purpose {
        Purpose::Command(SessionOrder {
            id,
            pod: PodId::from_u128(1),
            pod_name: "web.1".into(),
            container: None,
            work: SessionWork::Watch,
        })
    }

    fn forward(_: AttachId) -> Purpose {
        Purpose::Forward {
            ports: vec![5432],
            container: None,
        }
    }

    #[test]
    fn a_command_is_run_once_and_in_time() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let late = now + UNUSED_MAX + Duration::from_secs(1);
        let id = AttachId::from_u128(7);
        grants.add(grant(7, command), now).unwrap();
        assert!(grants.open(id, Some(80), now).is_err(), "no port");
        let (stream, ..) = grants.open(id, None, now).unwrap();
        assert!(grants.open(id, None, now).is_err(), "twice");
        assert!(grants.find(id, late).is_some(), "open for long");
        assert_eq!(grants.stream_of(stream).unwrap().as_str(), "n1");
        grants.close(id, stream, now);
        assert!(grants.find(id, now).is_none() && grants.stream_of(stream).is_none());
        grants.add(grant(8, command), now).unwrap();
        assert!(
            grants.open(AttachId::from_u128(8), None, late).is_err(),
            "too late"
        );
    }

    #[test]
    fn a_forward_has_many_connections_to_its_own_ports() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let id = AttachId::from_u128(7);
        grants.add(grant(7, forward), now).unwrap();
        let streams: Vec<_> = (0..CONNECTIONS_MAX)
            .map(|nth| grants.open(id, (nth > 0).then_some(5432), now).unwrap().0)
            .collect();
        assert!(grants.open(id, Some(5432), now).is_err(), "too many");
        grants.close(id, streams[0], now);
        assert!(grants.open(id, Some(22), now).is_err(), "another port");
        assert!(grants.open(id, Some(5432), now).is_ok());
    }

    #[test]
    fn a_pod_has_so_many_sessions_and_no_more() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        for number in 0..SESSIONS_PER_POD_MAX {
            grants.add(grant(number as u128, command), now).unwrap();
        }
        assert!(grants.add(grant(99, command), now).is_err());
        // Those that nobody opened give their place up.
        let later = now + UNUSED_MAX + Duration::from_secs(1);
        assert!(grants.add(grant(99, command), later).is_ok());
    }
}
