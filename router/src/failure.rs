//! Why a request got no answer from a pod, in fixed codes: for the access line, the error page and
//! the status.

use http::StatusCode;

/// One reason each. The codes are part of the interface: people search logs for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The request breaks HTTP or names no host.
    BadRequest,
    /// No app has this hostname and path.
    NoRoute,
    /// The router has no table yet.
    NoTable,
    /// The app is in maintenance.
    Maintenance,
    /// The app has no ready pod.
    NoPods,
    /// The app sleeps; whoever hears it waits for a pod.
    Asleep,
    /// The app sleeps, and too many requests wait for it already.
    WakeQueueFull,
    /// The app sleeps, and no pod was ready in time.
    WakeTimeout,
    /// No connection to a pod could be made.
    Refused,
    /// A pod did not take the connection in time.
    ConnectTimeout,
    /// The pod closed the connection before or during its answer.
    Reset,
    /// What the pod sent is not HTTP.
    BadResponse,
    /// The pod did not begin to answer in time.
    Timeout,
    /// The pod's answer stopped half-way for too long.
    Idle,
    /// The client stopped sending its body half-way for too long.
    ClientTimeout,
    /// The client went away before the answer was complete.
    ClientGone,
    /// The router was stopped and could not wait for the end any longer.
    Shutdown,
}

/// A client that left never sees a status; this is the one that nginx made customary in logs.
const CLIENT_CLOSED_REQUEST: u16 = 499;

impl Failure {
    /// The word in access lines and error bodies.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NoRoute => "no-route",
            Self::NoTable => "no-table",
            Self::Maintenance => "maintenance",
            Self::NoPods => "no-pods",
            Self::Asleep => "asleep",
            Self::WakeQueueFull => "wake-queue-full",
            Self::WakeTimeout => "wake-timeout",
            Self::Refused => "refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::Reset => "reset",
            Self::BadResponse => "bad-response",
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::ClientTimeout => "client-timeout",
            Self::ClientGone => "client-gone",
            Self::Shutdown => "shutdown",
        }
    }

    /// The status of the answer, if one can still be given.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoTable
            | Self::Maintenance
            | Self::NoPods
            | Self::Asleep
            | Self::WakeQueueFull
            | Self::WakeTimeout
            | Self::Shutdown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused | Self::Reset | Self::BadResponse => StatusCode::BAD_GATEWAY,
            Self::ConnectTimeout | Self::Timeout | Self::Idle => StatusCode::GATEWAY_TIMEOUT,
            Self::ClientTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ClientGone => {
                StatusCode::from_u16(CLIENT_CLOSED_REQUEST).unwrap_or(StatusCode::BAD_REQUEST)
            }
        }
    }

    /// The `desc` of the access line, for the app's developer.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::BadRequest => "The request is not valid HTTP",
            Self::NoRoute => "No app has this hostname",
            Self::NoTable => "The router has no routes yet",
            Self::Maintenance => "Maintenance mode is on",
            Self::NoPods => "No web process is ready",
            Self::Asleep => "The app sleeps",
            Self::WakeQueueFull => "The app sleeps and too many requests wait for it",
            Self::WakeTimeout => "The app sleeps and did not start in time",
            Self::Refused => "The process refused the connection",
            Self::ConnectTimeout => "The process did not take the connection in time",
            Self::Reset => "The process closed the connection before it answered in full",
            Self::BadResponse => "The process sent something that is not HTTP",
            Self::Timeout => "The process did not begin to answer in time",
            Self::Idle => "The answer stopped half-way for too long",
            Self::ClientTimeout => "The client stopped half-way through its request",
            Self::ClientGone => "The client went away before the answer was complete",
            Self::Shutdown => "The router was stopped before the end",
        }
    }

    /// Heading and text of the error page, for whoever sits before the browser.
    pub(crate) fn page(self) -> (&'static str, &'static str) {
        match self {
            Self::BadRequest => (
                "Bad request",
                "This request cannot be routed. It must name exactly one valid host.",
            ),
            Self::NoRoute => (
                "There is nothing here",
                "No app answers at this address. Check the hostname; if the app is yours, \
                 `app domains` lists the names it has.",
            ),
            Self::NoTable => (
                "Starting",
                "The router has just started and does not know its apps yet. Try again in a few \
                 seconds.",
            ),
            Self::Maintenance => (
                "Down for maintenance",
                "This app is being worked on and will be back soon. Please try again later.",
            ),
            Self::NoPods => (
                "The app is not running",
                "No web process is ready to answer. If the app is yours, `app ps` shows its \
                 processes and `app logs` what they said.",
            ),
            Self::Asleep | Self::WakeQueueFull | Self::WakeTimeout => (
                "The app is starting",
                "It was asleep and is not ready yet. Please try again in a moment; if the app is \
                 yours, `app ps` shows its processes and `app logs` what they said.",
            ),
            Self::Timeout | Self::ConnectTimeout | Self::Idle => (
                "The app did not answer in time",
                "It may be overloaded. Please try again; if the app is yours, `app logs` may say \
                 more.",
            ),
            Self::ClientTimeout => (
                "The request did not arrive in time",
                "Its body stopped half-way. Please try again.",
            ),
            Self::Refused | Self::Reset | Self::BadResponse | Self::ClientGone => (
                "The app failed to answer",
                "Please try again in a moment; if the app is yours, `app logs` may say more.",
            ),
            Self::Shutdown => (
                "Restarting",
                "The router is being restarted. Please try again.",
            ),
        }
    }
}
