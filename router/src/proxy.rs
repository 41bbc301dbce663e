//! One request from its head to its answer: check, route, rewrite, send, pass the answer on.
//!
//! A closed pipeline: no hooks. It must not hold a table across an `.await` (each try asks for the
//! newest, see [`crate::drain`]) and must not read bodies into memory.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use fairway_api::ids::PodId;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header, request};
use http_body_util::Full;
use hyper::{body::Incoming, client::conn::TrySendError, upgrade::OnUpgrade};
use tokio::time::{Instant, timeout_at};

use crate::{
    access::{End, Record},
    affinity,
    balance::Random,
    drain::{Choice, InFlight},
    failure::Failure,
    headers::{self, Peer},
    pages,
    pool::{Lease, Reuse},
    relay::{Answer, Open, Relay},
    table::normalise_host,
    traffic::Meter,
    tunnel,
    upload::{Progress, Stage, Upload},
    worker::Worker,
};

/// How often a request is sent in all. With a retry on another pod and one more for a connection
/// that died meanwhile, what still fails is not bad luck.
const TRIES_MAX: u32 = 3;
/// How long a pod may think before it begins to answer, as on Heroku. It counts from the end of the
/// request's body, or from the last piece of it that the pod took.
const RESPONSE_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a request waits for the first pod of an app that sleeps: what a start usually takes and
/// what clients and load balancers before us commonly wait.
const WAKE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest pause of a client in the middle of its body, as on Heroku.
const CLIENT_BODY_IDLE: Duration = Duration::from_secs(55);

/// What a pod answered, and what stays with the answer until its end.
struct Sent {
    response: Response<Incoming>,
    lease: Lease,
    in_flight: InFlight,
    /// For the client's next requests.
    cookie: Option<HeaderValue>,
}

/// A try that brought no answer.
enum Miss {
    /// The pod saw nothing of the request, or may see it twice: here it is for another try. Boxed,
    /// since it is large and rare.
    Again {
        request: Box<Request<Upload>>,
        failure: Failure,
    },
    Final(Failure),
}

impl Miss {
    /// True for what is the pod's fault, and not the client's or that of a kept connection which
    /// ended at the wrong moment.
    fn is_the_pods(&self) -> bool {
        matches!(
            self,
            Self::Final(Failure::Reset | Failure::Timeout | Failure::BadResponse)
        )
    }
}

/// Answers one request. Never fails: what goes wrong becomes an error page.
pub(crate) async fn answer(
    worker: Arc<Worker>,
    peer: Arc<Peer>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let started = std::time::Instant::now();
    let (mut head, body) = request.into_parts();
    let request_id = headers::request_id(&head.headers);
    let accept = head.headers.get(header::ACCEPT).cloned();
    let refuse = |failure| page(failure, &request_id, accept.as_ref());
    let host = match headers::host(&head) {
        Ok(host) => host,
        Err(failure) => return refuse(failure),
    };
    let name = host
        .to_str()
        .ok()
        .and_then(normalise_host)
        .unwrap_or_default();
    let route = Route {
        worker: &worker,
        name,
        uri: head.uri.clone(),
        asked: affinity::asked(&head.headers),
    };
    let (app, meter, first) = match route.choose(&[]) {
        Choice {
            app: Some((app, meter)),
            pod,
        } => (app, meter, pod),
        Choice { pod, .. } => return refuse(pod.err().unwrap_or(Failure::NoRoute)),
    };
    let upgrade = headers::upgrade(&head);
    let switch = head
        .extensions
        .remove::<OnUpgrade>()
        .filter(|_| upgrade.is_some());
    let forwarded_for = headers::for_pod(&mut head, &host, &request_id, &peer, upgrade.as_ref());
    let mut record = Record {
        log: worker.access.clone(),
        app,
        method: head.method.clone(),
        uri: route.uri.clone(),
        host: host.clone(),
        request_id: request_id.clone(),
        forwarded_for,
        scheme: peer.scheme,
        started,
        endpoint: None,
        connect: Duration::ZERO,
        status: 0,
        bytes: 0,
        end: End::Open,
        open: meter.begin(started),
    };
    let (upload, progress) = Upload::new(body);
    let request = for_pod(head, upload);
    let sent = match route.awake(first, &meter, &mut record).await {
        Ok(first) => send(&route, first, request, progress.as_deref(), &mut record).await,
        Err(failure) => Err(failure),
    };
    match sent {
        Ok(sent) => pass_on(&worker, sent, switch, progress, record).unwrap_or_else(refuse),
        Err(failure) => {
            let response = refuse(failure);
            record.open.failed(response.status().is_server_error());
            record.status = response.status().as_u16();
            record.bytes = http_body::Body::size_hint(response.body()).lower();
            record.end = End::Failed(failure);
            response
        }
    }
}

/// Where a request goes, to be asked again for every try.
struct Route<'a> {
    worker: &'a Worker,
    name: Cow<'a, str>,
    uri: Uri,
    /// The word of the pod that answered the client before.
    asked: Option<String>,
}

impl Route<'_> {
    fn choose(&self, tried: &[PodId]) -> Choice {
        let random: u64 = rand::random();
        let random = Random {
            side: rand::random(),
            pods: ((random >> 32) as u32, random as u32),
        };
        let place = (&*self.name, self.uri.path());
        self.worker
            .tables
            .choose(place, self.asked.as_deref(), tried, random)
    }

    /// A pod, if the app sleeps: its first one, waited for as one of those that wake it.
    async fn awake(
        &self,
        first: Result<InFlight, Failure>,
        meter: &Arc<Meter>,
        record: &mut Record,
    ) -> Result<InFlight, Failure> {
        if !matches!(first, Err(Failure::Asleep)) {
            return first;
        }
        let mut swaps = self.worker.tables.swaps();
        let _place = meter.hold().ok_or(Failure::WakeQueueFull)?;
        let until = Instant::now() + WAKE_TIMEOUT;
        loop {
            swaps.borrow_and_update();
            match self.choose(&[]).pod {
                Err(Failure::Asleep) => {}
                other => {
                    record.open.waited();
                    return other;
                }
            }
            if timeout_at(until, swaps.changed()).await.is_err() {
                return Err(Failure::WakeTimeout);
            }
        }
    }
}

/// The request as the pod gets it: HTTP/1.1, path only, a body that is announced.
fn for_pod(mut head: request::Parts, upload: Upload) -> Request<Upload> {
    head.version = http::Version::HTTP_11;
    if head.uri.authority().is_some() {
        let path = head.uri.path_and_query().cloned();
        head.uri = path.map_or_else(Uri::default, Uri::from);
    }
    if !upload.is_none() && !head.headers.contains_key(header::CONTENT_LENGTH) {
        // hyper would take a GET without it for one without a body.
        head.headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    Request::from_parts(head, upload)
}

/// Tries pods until one answers, as long as trying again is safe.
async fn send(
    route: &Route<'_>,
    mut in_flight: InFlight,
    mut request: Request<Upload>,
    progress: Option<&Progress>,
    record: &mut Record,
) -> Result<Sent, Failure> {
    let retryable = request.body().is_none() && is_idempotent(request.method());
    let mut reuse = if retryable {
        Reuse::Retryable
    } else {
        Reuse::Once
    };
    let mut tried: Vec<PodId> = Vec::new();
    let mut tries = 0;
    loop {
        tries += 1;
        let endpoint = in_flight.endpoint();
        record.endpoint = Some(endpoint.clone());
        let tried_at = std::time::Instant::now();
        let leased = route.worker.pool.lease(endpoint, reuse).await;
        let miss = match leased {
            Ok(lease) => {
                record.connect = lease.connect;
                match exchange(lease, request, retryable, progress).await {
                    Ok((response, lease)) => {
                        if let Some(counts) = &endpoint.counts {
                            let is_error = response.status().is_server_error();
                            counts.answered(tried_at.elapsed(), is_error);
                        }
                        let asked = route.asked.as_deref();
                        let cookie = affinity::cookie(endpoint, asked, record.scheme);
                        return Ok(Sent {
                            cookie,
                            response,
                            lease,
                            in_flight,
                        });
                    }
                    Err(miss) => {
                        if let (Some(counts), true) = (&endpoint.counts, miss.is_the_pods()) {
                            counts.failed();
                        }
                        reuse = Reuse::Never;
                        miss
                    }
                }
            }
            Err(failure) => {
                if let Some(counts) = &endpoint.counts {
                    counts.failed();
                }
                endpoint.load.eject(route.worker.tables.now_ms());
                tried.push(endpoint.pod);
                Miss::Again {
                    request: Box::new(request),
                    failure,
                }
            }
        };
        let failure;
        (request, failure) = match miss {
            Miss::Again { request, failure } if tries < TRIES_MAX => (*request, failure),
            Miss::Again { failure, .. } | Miss::Final(failure) => return Err(failure),
        };
        drop(in_flight);
        in_flight = match route.choose(&tried).pod {
            Ok(next) => next,
            // No pod is left to try: the last one's failure says more.
            Err(Failure::NoPods | Failure::Asleep) => return Err(failure),
            Err(other) => return Err(other),
        };
    }
}

/// Sends the request over one connection and waits for the head of the answer.
async fn exchange(
    mut lease: Lease,
    request: Request<Upload>,
    retryable: bool,
    progress: Option<&Progress>,
) -> Result<(Response<Incoming>, Lease), Miss> {
    // A kept connection may die at the very moment it is used. To send a request again its head is
    // needed again, and hyper has consumed it by then.
    let spare = (retryable && lease.reused).then(|| copy_head(&request));
    let answer = lease.sender.try_send_request(request);
    match within_limits(answer, progress).await {
        Ok(Ok(response)) => Ok((response, lease)),
        Ok(Err(mut error)) => {
            let failure = judge(&error, progress);
            match error.take_message().or(spare) {
                Some(request) if failure != Failure::BadResponse => Err(Miss::Again {
                    request: Box::new(request),
                    failure,
                }),
                _ => Err(Miss::Final(failure)),
            }
        }
        Err(failure) => Err(Miss::Final(failure)),
    }
}

/// Waits for the head of an answer, but not for ever, and knows whom it is waiting for.
async fn within_limits<T>(
    answer: impl Future<Output = T>,
    progress: Option<&Progress>,
) -> Result<T, Failure> {
    let mut answer = std::pin::pin!(answer);
    let begun = Instant::now();
    let mut until = begun + RESPONSE_HEAD_TIMEOUT;
    loop {
        if let Ok(answer) = timeout_at(until, &mut answer).await {
            return Ok(answer);
        }
        let Some(upload) = progress else {
            return Err(Failure::Timeout);
        };
        let (limit, failure) = match upload.stage() {
            Stage::Client => (CLIENT_BODY_IDLE, Failure::ClientTimeout),
            Stage::Pod | Stage::Ended => (RESPONSE_HEAD_TIMEOUT, Failure::Timeout),
            Stage::Broken => return Err(Failure::ClientGone),
            Stage::Malformed => return Err(Failure::BadRequest),
        };
        until = upload.moved().max(begun) + limit;
        if until <= Instant::now() {
            return Err(failure);
        }
    }
}

/// What an error on a pod's connection means.
fn judge<B>(error: &TrySendError<B>, progress: Option<&Progress>) -> Failure {
    match progress.map(Progress::stage) {
        Some(Stage::Broken) => Failure::ClientGone,
        Some(Stage::Malformed) => Failure::BadRequest,
        _ if error.error().is_parse() => Failure::BadResponse,
        _ => Failure::Reset,
    }
}

/// Methods that may be sent twice without doing a thing twice (RFC 9110, 9.2.2).
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

fn copy_head(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::none());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Makes the pod's answer the client's, as a body or as a tunnel.
fn pass_on(
    worker: &Arc<Worker>,
    sent: Sent,
    switch: Option<OnUpgrade>,
    upload: Option<Arc<Progress>>,
    mut record: Record,
) -> Result<Response<Answer>, Failure> {
    let Sent {
        mut response,
        lease,
        in_flight,
        cookie,
    } = sent;
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    record.status = response.status().as_u16();
    record.open.answered(response.status().is_server_error());
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = switch else {
            record.status = 0;
            record.end = End::Failed(Failure::BadResponse);
            return Err(Failure::BadResponse);
        };
        let pod = hyper::upgrade::on(&mut response);
        let place = worker.tunnel_place();
        let carry = tunnel::carry(client, pod, in_flight, record);
        worker.spawn(async move {
            carry.await;
            drop(place);
        });
        let (mut head, _) = response.into_parts();
        headers::for_client(&mut head);
        return Ok(Response::from_parts(head, Answer::Page(Full::default())));
    }
    let (mut head, body) = response.into_parts();
    headers::for_client(&mut head);
    let open = Open {
        worker: worker.clone(),
        lease,
        in_flight,
        record,
        upload,
    };
    Ok(Response::from_parts(
        head,
        Answer::Relay(Box::new(Relay::new(body, open))),
    ))
}

fn page(failure: Failure, id: &HeaderValue, accept: Option<&HeaderValue>) -> Response<Answer> {
    pages::page(failure, id, accept).map(|body: Bytes| Answer::Page(Full::new(body)))
}

#[cfg(test)]
mod tests;
