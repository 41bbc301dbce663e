//! Visitors of apps who never pause, while machines are cut off, killed and drained. Every request
//! has a number, is sent once and is written down, so that one that is lost shows.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

mod verdict;

use verdict::{Outcome, Seen};

/// Visitors of each app at each router.
const VISITORS: usize = 2;
/// Pause between two requests of one visitor.
const PACE: Duration = Duration::from_millis(15);
/// Every so manieth request takes its pod a while.
const SLOW_EACH: u64 = 40;
/// How long a visitor waits: a router tries three pods for three seconds each.
const PATIENCE: Duration = Duration::from_secs(12);
/// Answers of each app by each router that say that all is well.
const ENOUGH: usize = 20;
/// How long these may take.
const ENOUGH_MAX: Duration = Duration::from_secs(60);

/// Visitors at work; they go home when it is dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    visitors: Vec<JoinHandle<()>>,
    routers: Vec<SocketAddr>,
    apps: Vec<String>,
}

/// A time in which requests may be lost, at one router or at all.
#[derive(Debug, Clone, Copy)]
struct Excuse {
    from: Instant,
    until: Option<Instant>,
    at: Option<SocketAddr>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    next: AtomicU64,
    seen: Mutex<Vec<Seen>>,
    excuses: Mutex<Vec<Excuse>>,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn excuses(&self) -> MutexGuard<'_, Vec<Excuse>> {
        self.excuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Sends visitors to apps, each by its built-in name, through routers.
    pub fn begin(routers: &[SocketAddr], apps: &[&str]) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            next: AtomicU64::new(1),
            seen: Mutex::default(),
            excuses: Mutex::default(),
        });
        let places = apps
            .iter()
            .flat_map(|app| routers.iter().map(move |at| (*app, *at)));
        let visitors = places.flat_map(|place| [place; VISITORS]);
        let visitors = visitors.map(|(app, router)| {
            let (shared, app) = (Arc::clone(&shared), app.to_owned());
            thread::spawn(move || visit(&shared, router, &app))
        });
        Self {
            visitors: visitors.collect(),
            shared,
            routers: routers.to_vec(),
            apps: apps.iter().map(|&app| app.to_owned()).collect(),
        }
    }

    /// From now on requests may be lost, until [`Load::over`].
    pub fn excuse(&self) {
        self.note_excuse(None);
    }

    /// The same for requests through one router.
    pub fn excuse_at(&self, router: SocketAddr) {
        self.note_excuse(Some(router));
    }

    fn note_excuse(&self, at: Option<SocketAddr>) {
        self.shared.excuses().push(Excuse {
            from: Instant::now(),
            until: None,
            at,
        });
    }

    /// The reasons why requests may be lost are gone; those that were under way still may.
    pub fn over(&self) {
        for excuse in self.shared.excuses().iter_mut() {
            excuse.until.get_or_insert_with(Instant::now);
        }
    }

    /// Waits for enough answers to requests that begin now.
    ///
    /// # Errors
    /// When they do not come, or when anything was ever lost without excuse or answered wrongly.
    pub fn flows(&self) -> anyhow::Result<()> {
        self.flows_at(&self.routers)
    }

    /// The same for requests through some of the routers.
    ///
    /// # Errors
    /// As [`Load::flows`].
    pub fn flows_at(&self, routers: &[SocketAddr]) -> anyhow::Result<()> {
        let began = Instant::now();
        self.until("all apps answer", |seen| {
            let later = seen.iter().filter(|it| it.began > began);
            let good = later.filter(|it| matches!(it.outcome, Outcome::Answered(_)));
            let mut counts: BTreeMap<(&str, SocketAddr), usize> = BTreeMap::new();
            for it in good {
                *counts.entry((&it.app, it.router)).or_default() += 1;
            }
            let enough = |app: &String, at: &SocketAddr| {
                counts
                    .get(&(app.as_str(), *at))
                    .is_some_and(|it| *it >= ENOUGH)
            };
            let mut apps = self.apps.iter();
            apps.all(|app| routers.iter().all(|at| enough(app, at)))
        })?;
        self.judge()
    }

    /// Waits until a pod of this subnet answers a request of an app that begins now.
    ///
    /// # Errors
    /// When none does.
    pub fn until_from(&self, app: &str, subnet: [u8; 3]) -> anyhow::Result<()> {
        let began = Instant::now();
        self.until("the machine's pods answer", |seen| {
            let mut later = seen.iter().filter(|it| it.app == app && it.began > began);
            later.any(|it| it.is_from(subnet))
        })
    }

    fn until(&self, what: &str, look: impl Fn(&[Seen]) -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        while !look(&self.shared.seen()) {
            if started.elapsed() > ENOUGH_MAX {
                self.judge()?;
                bail!("waited {ENOUGH_MAX:?} in vain: {what}");
            }
            pause();
        }
        Ok(())
    }

    /// That no pod of this subnet answered a request that began after `since`.
    ///
    /// # Errors
    /// When one did.
    pub fn none_from(&self, subnet: [u8; 3], since: Instant) -> anyhow::Result<()> {
        let seen = self.shared.seen();
        let mut later = seen.iter().filter(|it| it.began > since);
        match later.find(|it| it.is_from(subnet)) {
            Some(answered) => bail!("a pod that was replaced still serves: {answered:?}"),
            None => Ok(()),
        }
    }

    /// That every request so far was answered, and rightly, but for those with an excuse.
    ///
    /// # Errors
    /// Names those that were not.
    pub fn judge(&self) -> anyhow::Result<()> {
        let excuses = self.shared.excuses().clone();
        verdict::judge(&self.shared.seen(), |it| {
            excuses.iter().any(|excuse| {
                it.ended >= excuse.from
                    && excuse.until.is_none_or(|until| it.began <= until)
                    && excuse.at.is_none_or(|at| it.router == at)
            })
        })
    }

    /// How many requests there were.
    pub fn count(&self) -> usize {
        self.shared.seen().len()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for visitor in self.visitors.drain(..) {
            drop(visitor.join());
        }
    }
}

/// One visitor: asks and posts in turn. What is posted cannot be sent twice by any router.
fn visit(shared: &Shared, router: SocketAddr, app: &str) {
    while !shared.stop.load(Ordering::Relaxed) {
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let path = if id.is_multiple_of(SLOW_EACH) {
            format!("/slow/{id}")
        } else {
            format!("/{id}")
        };
        let began = Instant::now();
        let outcome = match ask(router, app, &path, id % 2 == 1) {
            Ok((200, body)) => verdict::read(app, &path, &body),
            Ok((status, body)) => Outcome::Lost(format!("{status} {body:.80}")),
            Err(error) => Outcome::Lost(format!("{error:#}")),
        };
        shared.seen().push(Seen {
            id,
            app: app.to_owned(),
            router,
            began,
            ended: Instant::now(),
            outcome,
        });
        pause();
    }
}

fn ask(router: SocketAddr, app: &str, path: &str, post: bool) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&router, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let (method, body) = if post { ("POST", "body") } else { ("GET", "") };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {app}.localhost\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).context("send")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("read")?;
    let (head, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        (name.eq_ignore_ascii_case("content-length")).then(|| value.trim().parse::<usize>())
    });
    if let Some(length) = length {
        ensure!(body.len() == length?, "half an answer: {body:?}");
    }
    Ok((status, body.to_owned()))
}

/// The answer of an address on the pod network, as its machine's subnet.
pub(crate) fn subnet_of(address: Ipv4Addr) -> [u8; 3] {
    let [a, b, c, _] = address.octets();
    [a, b, c]
}

#[expect(
    clippy::disallowed_methods,
    reason = "a visitor's pace, and a pause between two looks at a condition"
)]
fn pause() {
    thread::sleep(PACE);
}
