//! Asks queues how long they are, for the process types whose count follows one. What they answered
//! stays in memory; a queue that does not answer is not known, and what is not known never takes pods
//! away.

mod answer;
mod reach;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use anyhow::Context as _;
use fairway_api::{
    autoscale::Queue,
    config_vars::ConfigVars,
    ids::AppId,
    names::{AppName, ProcessType},
    network::Subnet,
    secret::Secret,
};
use fairway_scheduler::autoscale::Waiting;
use futures_util::{StreamExt as _, stream};
use reqwest::{
    Client, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect,
};
use tokio::{
    net::lookup_host,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use url::{Host as UrlHost, Url};

use self::{answer::NoNumber, reach::Host};
use super::look::is_up;
use crate::{
    config_vars,
    state::AppState,
    store::{
        Db,
        apps::{self, AppRow},
        autoscale::{self, AutoscaleRow},
        network, pods,
    },
};

/// How often each queue is asked, in seconds: twice per window over which other things are averaged.
const EVERY_SECS: u64 = 8;
/// How many are asked at a time.
const AT_ONCE: usize = 16;
/// How long an answer may take, in seconds, with looking up the name and connecting.
const ANSWER_SECS: u64 = 5;
/// The largest answer, in bytes: the metrics of a large system.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// How long a length counts, in seconds: one answer that does not come is no reason to stand still.
const FRESH_SECS: u64 = 30;
/// How many addresses of a name are tried.
const ADDRESSES_MAX: usize = 4;

type Key = (AppId, ProcessType);

/// What queues answered last.
#[derive(Debug, Default)]
pub struct Lengths(Mutex<BTreeMap<Key, Asked>>);

#[derive(Debug, Default)]
struct Asked {
    length: Option<(Instant, f64)>,
    /// Why the last try failed, if it did.
    failure: Option<String>,
}

/// Why a queue's length is not known; a clause for the app's people, without addresses.
#[derive(Debug, thiserror::Error)]
enum NotKnown {
    #[error("its URL names another app's inside, which only that app's own policy may")]
    Foreign,
    #[error("no process of its type is up")]
    NobodyUp,
    #[error("its name leads to no address")]
    NoAddress,
    #[error("its name leads to an address that is not public")]
    NotPublic,
    #[error("the config var {0}, which a header is to have its value from, is not set")]
    NoConfigVar(String),
    #[error("the config var {0} cannot be the value of a header")]
    BadHeader(String),
    #[error("it did not answer within {ANSWER_SECS} s")]
    Slow,
    #[error("it cannot be reached, or its connection broke")]
    Unreachable(#[source] reqwest::Error),
    #[error("it answered {0}")]
    Refused(StatusCode),
    #[error("its answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("{0}")]
    NoNumber(NoNumber),
}

/// Everything that asking takes, read from the database before.
struct Question {
    key: Key,
    queue: Queue,
    headers: HeaderMap,
    /// Of the app's own pods, if it is they who are asked.
    own: Option<Vec<IpAddr>>,
}

impl Lengths {
    /// For one process type.
    pub(super) fn of(&self, app: AppId, process_type: &ProcessType, now: Instant) -> Waiting {
        let lengths = self.lock();
        let asked = lengths.get(&(app, process_type.clone()));
        let Some(asked) = asked else {
            return Waiting::Unknown("it was not asked yet".into());
        };
        let fresh = Duration::from_secs(FRESH_SECS);
        match (asked.length, &asked.failure) {
            (Some((at, length)), _) if now - at <= fresh => Waiting::Jobs(length),
            (_, Some(why)) => Waiting::Unknown(why.clone()),
            _ => Waiting::Unknown("it was not asked lately".into()),
        }
    }

    fn note(&self, key: Key, answer: Result<f64, NotKnown>, now: Instant) {
        let mut lengths = self.lock();
        let asked = lengths.entry(key).or_default();
        match answer {
            Ok(length) => {
                asked.length = Some((now, length));
                asked.failure = None;
            }
            Err(why) => asked.failure = Some(why.to_string()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Asked>> {
        self.0
            .lock()
            .expect("no code panics while it holds this lock")
    }
}

/// Asks until `shutdown`.
pub(crate) async fn run(state: &AppState, shutdown: &CancellationToken) {
    let mut timer = interval(Duration::from_secs(EVERY_SECS));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let asking = async {
        loop {
            timer.tick().await;
            if let Err(error) = all(state).await {
                tracing::error!("cannot ask queues: {error:#}");
            }
        }
    };
    shutdown.run_until_cancelled(asking).await;
}

async fn all(state: &AppState) -> anyhow::Result<()> {
    let mut tx = state.store.read().await.context("open the database")?;
    let policies = autoscale::all(&mut tx).await.context("read the policies")?;
    let with_queue: Vec<AutoscaleRow> = policies
        .into_iter()
        .filter(|row| row.policy.queue.is_some())
        .collect();
    let key = |row: &AutoscaleRow| (row.app, row.process_type.clone());
    let keys: BTreeSet<Key> = with_queue.iter().map(key).collect();
    state.queues.lock().retain(|key, _| keys.contains(key));
    let mut questions = Vec::new();
    for row in with_queue {
        let key = (row.app, row.process_type.clone());
        match question(state, &mut tx, row).await? {
            Ok(question) => questions.push(question),
            Err(why) => state.queues.note(key, Err(why), Instant::now()),
        }
    }
    drop(tx);
    let asked = stream::iter(questions).for_each_concurrent(AT_ONCE, async |question| {
        let limit = Duration::from_secs(ANSWER_SECS);
        let answer = timeout(limit, ask(&question)).await;
        let answer = answer.unwrap_or(Err(NotKnown::Slow));
        if let Err(NotKnown::Unreachable(error)) = &answer {
            tracing::debug!("cannot ask a queue: {error}");
        }
        state.queues.note(question.key, answer, Instant::now());
    });
    asked.await;
    Ok(())
}

/// Reads what asking takes.
async fn question(
    state: &AppState,
    db: &mut Db,
    row: AutoscaleRow,
) -> anyhow::Result<Result<Question, NotKnown>> {
    let key = (row.app, row.process_type);
    let Some(queue) = row.policy.queue else {
        return Ok(Err(NotKnown::NoAddress));
    };
    let app = apps::get(db, row.app).await.context("read an app")?;
    let headers = match queue.headers.is_empty() {
        true => Ok(HeaderMap::new()),
        false => {
            let vars = config_vars::load(&state.secrets, db, app.id, app.config_version);
            let vars = vars.await.context("open an app's config vars")?;
            headers(&queue, &vars)
        }
    };
    let own = own(db, &app, &queue.url).await?;
    Ok(headers.and_then(|headers| {
        Ok(Question {
            key,
            headers,
            own: own?,
            queue,
        })
    }))
}

/// The addresses of the pods that a URL names; `None` if it leads outside.
async fn own(
    db: &mut Db,
    app: &AppRow,
    url: &Url,
) -> anyhow::Result<Result<Option<Vec<IpAddr>>, NotKnown>> {
    let Some(process_type) = named(url, &app.name) else {
        return Ok(Err(NotKnown::Foreign));
    };
    let Host::Own(process_type) = process_type else {
        return Ok(Ok(None));
    };
    let network = network::pods(db).await.context("read the pod network")?;
    let network = network.map(|row| row.pods);
    let pods = pods::of_app(db, app.id).await.context("read the pods")?;
    let up = pods.iter().filter(|pod| {
        pod.process_type == process_type && Some(pod.release) == app.current_release && is_up(pod)
    });
    let addresses = up.filter_map(|pod| pod.status.as_ref()?.address);
    // What a machine reports is held against the network that it was given.
    let addresses: Vec<IpAddr> = addresses.filter(|it| is_pods(*it, network)).collect();
    Ok(match addresses.is_empty() {
        true => Err(NotKnown::NobodyUp),
        false => Ok(Some(addresses)),
    })
}

fn is_pods(address: IpAddr, network: Option<Subnet>) -> bool {
    match (address, network) {
        (IpAddr::V4(address), Some(network)) => network.contains(address),
        _ => false,
    }
}

fn named(url: &Url, app: &AppName) -> Option<Host> {
    match url.host()? {
        UrlHost::Domain(name) => reach::host(name, app),
        UrlHost::Ipv4(_) | UrlHost::Ipv6(_) => Some(Host::Public),
    }
}

fn headers(queue: &Queue, vars: &ConfigVars) -> Result<HeaderMap, NotKnown> {
    let mut headers = HeaderMap::new();
    for (name, var) in &queue.headers {
        let value: Option<&Secret> = vars.get(var);
        let value = value.ok_or_else(|| NotKnown::NoConfigVar(var.to_string()))?;
        let bad = || NotKnown::BadHeader(var.to_string());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

async fn ask(question: &Question) -> Result<f64, NotKnown> {
    let url = &question.queue.url;
    let client = client(url, &addresses(question).await?)?;
    let request = client.get(url.clone()).headers(question.headers.clone());
    let mut response = request.send().await.map_err(NotKnown::Unreachable)?;
    if !response.status().is_success() {
        return Err(NotKnown::Refused(response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(NotKnown::Unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(NotKnown::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let body = String::from_utf8_lossy(&body);
    answer::read(&body, question.queue.value.as_deref()).map_err(NotKnown::NoNumber)
}

/// Where the request may go: each address is one that the app may ask.
async fn addresses(question: &Question) -> Result<Vec<SocketAddr>, NotKnown> {
    let url = &question.queue.url;
    let port = url.port_or_known_default().ok_or(NotKnown::NoAddress)?;
    if let Some(own) = &question.own {
        let own = own.iter().map(|address| SocketAddr::new(*address, port));
        return Ok(own.take(ADDRESSES_MAX).collect());
    }
    let found: Vec<SocketAddr> = match url.host().ok_or(NotKnown::NoAddress)? {
        UrlHost::Ipv4(address) => vec![(address, port).into()],
        UrlHost::Ipv6(address) => vec![(address, port).into()],
        UrlHost::Domain(name) => {
            let found = lookup_host((name, port)).await;
            found.map_err(|_| NotKnown::NoAddress)?.collect()
        }
    };
    let public = |it: &SocketAddr| reach::is_public(it.ip()) && !is_this_machines(it.ip());
    match found.iter().all(public) {
        _ if found.is_empty() => Err(NotKnown::NoAddress),
        true => Ok(found.into_iter().take(ADDRESSES_MAX).collect()),
        false => Err(NotKnown::NotPublic),
    }
}

/// A machine reaches its own public address from behind its firewall.
fn is_this_machines(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// A client for one question: it connects to these addresses and to nothing else.
fn client(url: &Url, addresses: &[SocketAddr]) -> Result<Client, NotKnown> {
    // The same provider as everywhere; later calls are refused, which is fine.
    drop(rustls::crypto::ring::default_provider().install_default());
    let builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .user_agent("fairway-autoscaler");
    let builder = match url.host() {
        Some(UrlHost::Domain(name)) => builder.resolve_to_addrs(name, addresses),
        // An address needs no looking up, and was held against the rules.
        _ => builder,
    };
    builder.build().map_err(NotKnown::Unreachable)
}

#[cfg(test)]
mod tests;
