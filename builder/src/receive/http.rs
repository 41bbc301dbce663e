//! Git over HTTP: the smart protocol of gitprotocol-http(5), versions 0 to 2, as routes that the
//! server merges into its listener. It carries bytes between the request and git, and nothing
//! else; bodies are streamed both ways.

mod gzip;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, RawQuery, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use fairway_api::{
    build_orders::{GitAccess, GitCredential},
    error::ErrorId,
    secret::Secret,
};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::gzip::Gunzip;
use super::{
    Access, Receiver, Refusal,
    command::{Service, parse_repository},
    pack::{Exchange, Mode, Said},
};

/// The longest `Git-Protocol` header that is passed on, in bytes.
const PROTOCOL_BYTES_MAX: usize = 100;
/// How much of git's complaint about a request is logged and answered, in bytes.
const COMPLAINT_BYTES_MAX: usize = 2_000;

/// The routes, without a fallback: other parts live on the same listener.
pub(crate) fn router(receiver: Arc<Receiver>) -> Router {
    Router::new()
        .route("/{repository}/info/refs", get(info_refs))
        .route("/{repository}/git-upload-pack", post(upload_pack))
        .route("/{repository}/git-receive-pack", post(receive_pack))
        .with_state(receiver)
}

/// An answer that is not git's. Git shows plain text to its user, each line behind `remote:`.
struct Problem(StatusCode, String);

async fn info_refs(
    State(receiver): State<Arc<Receiver>>,
    Path(repository): Path<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let service = parse_service(query.as_deref().unwrap_or_default())?;
    let protocol = protocol(request.headers())?;
    let access = authorize(&receiver, &repository, service, Caller::of(&request)).await?;
    let exchange = receiver
        .open(access, Mode::Advertise, protocol.as_deref())
        .await?;
    // Version 2 leaves this line out; older clients need it to know that the answer is a smart one.
    let version_2 = protocol.is_some_and(|protocol| protocol.split(':').any(|p| p == "version=2"));
    let preface = if version_2 && service == Service::UploadPack {
        Bytes::new()
    } else {
        let line = format!("# service={}\n", service.name());
        Bytes::from(format!("{:04x}{line}0000", line.len() + 4))
    };
    let Exchange { input, output } = exchange;
    drop(input);
    answer(
        &format!("application/x-{}-advertisement", service.name()),
        preface,
        output,
    )
    .await
}

async fn upload_pack(
    State(receiver): State<Arc<Receiver>>,
    Path(repository): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    call(receiver, repository, Service::UploadPack, request).await
}

async fn receive_pack(
    State(receiver): State<Arc<Receiver>>,
    Path(repository): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    call(receiver, repository, Service::ReceivePack, request).await
}

async fn call(
    receiver: Arc<Receiver>,
    repository: String,
    service: Service,
    request: Request,
) -> Result<Response, Problem> {
    let access = authorize(&receiver, &repository, service, Caller::of(&request)).await?;
    let wanted = format!("application/x-{}-request", service.name());
    let given = request
        .headers()
        .get(header::CONTENT_TYPE)
        .map(HeaderValue::as_bytes);
    if given != Some(wanted.as_bytes()) {
        let text = format!("This address takes {wanted} from a git client and nothing else.");
        return Err(Problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let gunzip = decoding(request.headers())?;
    let protocol = protocol(request.headers())?;
    let exchange = receiver
        .open(access, Mode::Stateless, protocol.as_deref())
        .await?;
    let Exchange { input, output } = exchange;
    // On its own, so that it goes on while the answer is awaited, and ends with the request.
    tokio::spawn(feed(request.into_body(), gunzip, input));
    answer(
        &format!("application/x-{}-result", service.name()),
        Bytes::new(),
        output,
    )
    .await
}

/// Carries the body of a request to git. A body that breaks off ends git's input early, which git
/// takes for what it is.
async fn feed(body: Body, mut gunzip: Option<Gunzip>, input: mpsc::Sender<Bytes>) {
    let mut body = body.into_data_stream();
    while let Some(chunk) = body.next().await {
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(error) => {
                tracing::debug!("the body of a git request broke off: {error:#}");
                return;
            }
        };
        let Some(gunzip) = &mut gunzip else {
            if input.send(chunk).await.is_err() {
                return;
            }
            continue;
        };
        for part in gunzip.slices(&chunk) {
            match gunzip.push(part) {
                Ok(plain) if plain.is_empty() => {}
                Ok(plain) => {
                    if input.send(plain).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!("the body of a git request is not gzip: {error:#}");
                    return;
                }
            }
        }
    }
}

/// Turns what git says into an answer. The first bytes are awaited, so that a git that fails
/// without a word becomes an error and not an empty success.
async fn answer(
    content_type: &str,
    preface: Bytes,
    mut output: mpsc::Receiver<Said>,
) -> Result<Response, Problem> {
    let mut complaint = Vec::new();
    let first = loop {
        match output.recv().await {
            Some(Said::Out(bytes)) => break bytes,
            Some(Said::Err(text)) if complaint.len() < COMPLAINT_BYTES_MAX => {
                complaint.extend_from_slice(&text);
            }
            Some(Said::Err(_)) => {}
            // A push of nothing has nothing to answer.
            Some(Said::Exit(Some(0))) => break Bytes::new(),
            Some(Said::Exit(_)) | None => return Err(cut_off(&complaint)),
        }
    };
    let rest = ReceiverStream::new(output).filter_map(async |said| match said {
        Said::Out(bytes) => Some(Ok::<_, std::convert::Infallible>(bytes)),
        Said::Err(text) => {
            tracing::debug!("git says: {}", String::from_utf8_lossy(&text).trim_end());
            None
        }
        Said::Exit(_) => None,
    });
    let start = futures_util::stream::iter([Ok(preface), Ok(first)]);
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    Ok((headers, Body::from_stream(start.chain(Box::pin(rest)))).into_response())
}

fn cut_off(complaint: &[u8]) -> Problem {
    let complaint = String::from_utf8_lossy(complaint);
    tracing::debug!("git refused a request: {}", complaint.trim_end());
    let text = "The request is not what git sends, or it was cut off on the way; try again.";
    Problem(StatusCode::BAD_REQUEST, text.into())
}

async fn authorize(
    receiver: &Receiver,
    repository: &str,
    service: Service,
    caller: Caller,
) -> Result<Access, Problem> {
    let Some(credential) = caller.credential else {
        let text = match service.access() {
            GitAccess::Read => "To fetch, log in with any user name and an API token as password.",
            GitAccess::Write => "To push, log in with any user name and an API token as password.",
        };
        return Err(Problem(
            StatusCode::UNAUTHORIZED,
            format!("{text}\nGet one: app login"),
        ));
    };
    let app = parse_repository(repository)
        .map_err(|error| Problem(StatusCode::NOT_FOUND, error.to_string()))?;
    Ok(receiver
        .authorize(credential, app, service, caller.from)
        .await?)
}

/// Who sent a request, as far as the request says.
struct Caller {
    credential: Option<GitCredential>,
    from: Option<IpAddr>,
}

impl Caller {
    fn of(request: &Request) -> Self {
        let from = request.extensions().get::<ConnectInfo<SocketAddr>>();
        Self {
            credential: parse_basic(request.headers()),
            from: from.map(|from| from.0.ip()),
        }
    }
}

/// User name and password of an `Authorization: Basic` header. An empty password is none: git
/// sends one before it has asked its user.
fn parse_basic(headers: &HeaderMap) -> Option<GitCredential> {
    let header = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, value) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(value.trim()).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    // A token in the place of the user name, with nothing behind it, is as common.
    let password = if password.is_empty() {
        username
    } else {
        password
    };
    (!password.is_empty()).then(|| GitCredential::Basic {
        username: username.to_owned(),
        password: Secret::new(password),
    })
}

fn parse_service(query: &str) -> Result<Service, Problem> {
    let mut parameters = url::form_urlencoded::parse(query.as_bytes());
    let Some((_, name)) = parameters.find(|(name, _)| name == "service") else {
        let text = "The dumb HTTP protocol is not served; use git 1.6.6 or newer.";
        return Err(Problem(StatusCode::FORBIDDEN, text.into()));
    };
    Service::parse(&name).ok_or_else(|| {
        let text = "The service must be git-upload-pack or git-receive-pack.";
        Problem(StatusCode::FORBIDDEN, text.into())
    })
}

fn decoding(headers: &HeaderMap) -> Result<Option<Gunzip>, Problem> {
    match headers
        .get(header::CONTENT_ENCODING)
        .map(HeaderValue::as_bytes)
    {
        None | Some(b"identity") => Ok(None),
        Some(b"gzip" | b"x-gzip") => Ok(Some(Gunzip::new())),
        Some(_) => {
            let text = "The body may be encoded with gzip and with nothing else.";
            Err(Problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.into()))
        }
    }
}

fn protocol(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("git-protocol") else {
        return Ok(None);
    };
    let value = value
        .to_str()
        .ok()
        .filter(|value| value.len() <= PROTOCOL_BYTES_MAX);
    let refused = || {
        Problem(
            StatusCode::BAD_REQUEST,
            "Git-Protocol cannot be read.".into(),
        )
    };
    value
        .map(|value| Some(value.to_owned()))
        .ok_or_else(refused)
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = StatusCode::from_u16(refusal.id.status());
        Self(
            status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            refusal.text,
        )
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        let mut response = (status, plain, format!("{text}\n")).into_response();
        if status.as_u16() == ErrorId::Unauthorized.status() {
            let challenge = HeaderValue::from_static("Basic realm=\"Fairway\", charset=\"UTF-8\"");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests;
