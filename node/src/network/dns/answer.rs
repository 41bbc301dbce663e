//! What a name of the pod network stands for: pure.
//!
//! ```text
//! web.shop.internal        addresses of the ready pods of a process type
//! shop.internal            the same of `web`
//! 2.web.shop.internal      one pod
//! _web._tcp.shop.internal  SRV: port and name of each ready pod
//! db.shop.internal         something outside, if the app says what
//! web.a.internal           the asking pod's own app; where short names are looked for
//! ```

use std::net::Ipv4Addr;

use fairway_api::{
    ids::AppId,
    network::{DNS_SUFFIX, ExternalTarget},
};
use hickory_proto::{
    op::Query,
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, CNAME, SRV},
    },
};

use crate::network::census::{Census, Member, Members};

/// How long an answer may be kept, in seconds: pods come and go, and an asker that keeps an address
/// longer talks to nobody.
const TTL_SECS: u32 = 5;
/// Pods in one answer: more than a program ever tries.
const PODS_MAX: usize = 32;

/// The answer to a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Perhaps none: the name exists, but nothing of that kind is ready.
    Ours {
        answers: Vec<Record>,
        additionals: Vec<Record>,
    },
    /// Another name, outside.
    Alias { alias: Box<Record>, target: Name },
    /// There is no such name in an app that the asker may know.
    Missing,
    /// It is not ours to answer.
    Elsewhere,
}

/// `turn` moves the first of several addresses, so that not all askers take the same.
pub(super) fn answer(census: &Census, asking: Option<AppId>, query: &Query, turn: usize) -> Answer {
    let text = query.name().to_ascii().to_ascii_lowercase();
    let labels: Vec<&str> = text.trim_end_matches('.').split('.').collect();
    let [inner @ .., app, DNS_SUFFIX] = labels.as_slice() else {
        return Answer::Elsewhere;
    };
    let known = asking.filter(|_| query.query_class() == DNSClass::IN);
    let Some((id, app)) = known.and_then(|asking| census.reachable(asking, app)) else {
        // Perhaps somebody else's `internal`.
        return Answer::Elsewhere;
    };
    match inner {
        [] => addresses(query, app, turn, |pod| pod.process_type.is_web()),
        [process] if has_type(app, process) => addresses(query, app, turn, |pod| {
            pod.process_type.as_str() == *process
        }),
        [name] if asking == Some(id) => external(query, app, name),
        [process, protocol] if protocol.starts_with('_') => {
            services(query, app, turn, process, protocol)
        }
        [number, process] => {
            let name = format!("{process}.{number}");
            if app.pods.iter().any(|pod| pod.name == name) {
                addresses(query, app, turn, |pod| pod.name == name)
            } else {
                Answer::Missing
            }
        }
        _ => Answer::Missing,
    }
}

fn has_type(app: &Members, process: &str) -> bool {
    app.pods
        .iter()
        .any(|pod| pod.process_type.as_str() == process)
}

/// Those that serve, beginning with another one each time.
fn ready(
    app: &Members,
    turn: usize,
    holds: impl Fn(&Member) -> bool,
) -> impl Iterator<Item = &Member> {
    let mut pods: Vec<&Member> = app
        .pods
        .iter()
        .filter(|pod| pod.serves && holds(pod))
        .collect();
    if !pods.is_empty() {
        let first = turn % pods.len();
        pods.rotate_left(first);
    }
    pods.into_iter().take(PODS_MAX)
}

fn addresses(query: &Query, app: &Members, turn: usize, holds: impl Fn(&Member) -> bool) -> Answer {
    let answers = if wants(query, RecordType::A) {
        ready(app, turn, holds)
            .map(|pod| a(query.name().clone(), pod.address))
            .collect()
    } else {
        vec![]
    };
    Answer::Ours {
        answers,
        additionals: vec![],
    }
}

/// `_web._tcp`: pods of a process type that have a port.
fn services(query: &Query, app: &Members, turn: usize, process: &str, protocol: &str) -> Answer {
    let process = process.strip_prefix('_').unwrap_or_default();
    if protocol != "_tcp" || !has_type(app, process) {
        return Answer::Missing;
    }
    let (mut answers, mut additionals) = (vec![], vec![]);
    if wants(query, RecordType::SRV) {
        for pod in ready(app, turn, |pod| pod.process_type.as_str() == process) {
            if let (Some(port), Some(target)) = (pod.port, pod_name(app, pod)) {
                let service = RData::SRV(SRV::new(0, 1, port, target.clone()));
                answers.push(Record::from_rdata(query.name().clone(), TTL_SECS, service));
                additionals.push(a(target, pod.address));
            }
        }
    }
    Answer::Ours {
        answers,
        additionals,
    }
}

/// `web.2` of shop as `2.web.shop.internal`.
fn pod_name(app: &Members, pod: &Member) -> Option<Name> {
    let (process, number) = pod.name.split_once('.')?;
    Name::from_ascii(format!("{number}.{process}.{}.{DNS_SUFFIX}.", app.name)).ok()
}

fn external(query: &Query, app: &Members, name: &str) -> Answer {
    let found = app.external.iter().find(|it| it.name.as_str() == name);
    match found.map(|found| &found.target) {
        None => Answer::Missing,
        Some(ExternalTarget::Addresses(all)) => {
            let wanted = all.iter().filter(|_| wants(query, RecordType::A));
            Answer::Ours {
                answers: wanted
                    .map(|address| a(query.name().clone(), *address))
                    .collect(),
                additionals: vec![],
            }
        }
        Some(ExternalTarget::Hostname(host)) => {
            let Ok(target) = Name::from_ascii(format!("{host}.")) else {
                return Answer::Missing;
            };
            let data = RData::CNAME(CNAME(target.clone()));
            let alias = Record::from_rdata(query.name().clone(), TTL_SECS, data);
            Answer::Alias {
                alias: Box::new(alias),
                target,
            }
        }
    }
}

fn wants(query: &Query, kind: RecordType) -> bool {
    query.query_type() == kind || query.query_type() == RecordType::ANY
}

fn a(name: Name, address: Ipv4Addr) -> Record {
    Record::from_rdata(name, TTL_SECS, RData::A(A(address)))
}

#[cfg(test)]
mod tests;
