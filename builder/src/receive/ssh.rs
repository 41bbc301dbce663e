//! Git over SSH: public keys only, and nothing but git behind them. The user name says nothing;
//! who someone is follows from the key, and what the key may do is asked once the command has
//! named an app.

mod host_key;

use std::{
    borrow::Cow,
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use bytes::Bytes;
use fairway_api::build_orders::GitCredential;
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, MethodKind, MethodSet,
    keys::HashAlg,
    server::{Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    Receiver,
    command::parse_command,
    pack::{Exchange, Mode, Said},
};

/// The most connections at once; above it new ones are closed at once.
const CONNECTIONS_MAX: usize = 500;
/// How long a client may take to log in.
const LOGIN_WAIT_MAX: Duration = Duration::from_secs(30);
/// How many keys a client may offer. An agent holds a handful; OpenSSH's server stops at six.
const AUTH_ATTEMPTS_MAX: usize = 20;
/// The most channels that one connection may have open.
const CHANNELS_MAX: usize = 16;
/// How often a silent client is asked whether it is there, and how often it may fail to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVES_MISSED_MAX: usize = 4;
/// How much a client may send before we have taken it, in bytes. It bounds the speed on a long
/// line: 2 MiB allow 160 Mbit/s at 100 ms.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// The longest `GIT_PROTOCOL` that is passed on, in bytes.
const PROTOCOL_BYTES_MAX: usize = 100;
/// How long commands, and then the connection itself, may take to end when the builder stops.
const STOP_WAIT_MAX: Duration = Duration::from_secs(4);
/// The exit code of git for what it cannot do.
const EXIT_FATAL: u32 = 128;
/// The number of standard error in SSH's extended data.
const STDERR: u32 = 1;

/// A server that listens.
pub(crate) struct SshServer {
    listener: TcpListener,
    config: Arc<russh::server::Config>,
}

impl SshServer {
    /// Listens, with the host key in `data`, which is made at the first start.
    pub(crate) async fn bind(listen: SocketAddr, data: &Path) -> anyhow::Result<Self> {
        let key = host_key::load_or_make(&data.join("ssh_host_ed25519_key"))?;
        let config = russh::server::Config {
            server_id: russh::SshId::Standard(Cow::Borrowed("SSH-2.0-Fairway")),
            // The second lets nobody in; see `auth_keyboard_interactive`.
            methods: MethodSet::from(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive][..]),
            // There is no password to guess, so nothing is won by making clients wait.
            auth_rejection_time: Duration::ZERO,
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![key],
            window_size: WINDOW_BYTES,
            max_auth_attempts: AUTH_ATTEMPTS_MAX,
            inactivity_timeout: None,
            keepalive_interval: Some(KEEPALIVE_INTERVAL),
            keepalive_max: KEEPALIVES_MISSED_MAX,
            nodelay: true,
            ..russh::server::Config::default()
        };
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("listen on {listen} for git over SSH"))?;
        Ok(Self {
            listener,
            config: Arc::new(config),
        })
    }

    /// Where it listens.
    pub(crate) fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("ask for the SSH port")
    }

    /// Serves until the builder stops.
    pub(crate) async fn serve(self, receiver: Arc<Receiver>) -> anyhow::Result<()> {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = receiver.shutdown.cancelled() => return Ok(()),
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                // The client left already, or this process is out of file descriptors for now.
                Err(error) => {
                    tracing::warn!("cannot accept an SSH connection: {error:#}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(%from, "too many SSH connections, one was closed");
                continue;
            };
            let (config, receiver) = (Arc::clone(&self.config), Arc::clone(&receiver));
            let tasks = receiver.tasks.clone();
            tasks.spawn(async move {
                if let Err(error) = connection(config, receiver, stream, from.ip()).await {
                    tracing::debug!(%from, "an SSH connection ended badly: {error:#}");
                }
                drop(place);
            });
        }
    }
}

async fn connection(
    config: Arc<russh::server::Config>,
    receiver: Arc<Receiver>,
    stream: TcpStream,
    from: IpAddr,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let shutdown = receiver.shutdown.clone();
    let logged_in = Arc::new(AtomicBool::new(false));
    let commands = TaskTracker::new();
    let connection = Connection {
        receiver,
        from,
        fingerprint: None,
        known: None,
        unknown: Vec::new(),
        told: false,
        logged_in: Arc::clone(&logged_in),
        commands: commands.clone(),
        channels: HashMap::new(),
    };
    let greeting = russh::server::run_stream(config, stream, connection);
    let mut session = timeout(LOGIN_WAIT_MAX, greeting).await.context("greet")??;
    let handle = session.handle();
    let close = |why: &'static str| {
        let reason = russh::Disconnect::ByApplication;
        let handle = handle.clone();
        async move { drop(handle.disconnect(reason, why.into(), String::new()).await) }
    };
    tokio::select! {
        ended = timeout(LOGIN_WAIT_MAX, &mut session) => {
            if let Ok(ended) = ended {
                return ended;
            }
            if !logged_in.load(Ordering::Relaxed) {
                close("logging in took too long").await;
            }
        }
        () = shutdown.cancelled() => {}
    }
    tokio::select! {
        ended = &mut session => return ended,
        () = shutdown.cancelled() => {}
    }
    // Whoever pushes gets to hear through its hook that we stop; whoever fetches starts again.
    commands.close();
    drop(timeout(STOP_WAIT_MAX, commands.wait()).await);
    close("Fairway is stopping").await;
    drop(timeout(STOP_WAIT_MAX, session).await);
    Ok(())
}

/// One client, as the protocol calls back.
struct Connection {
    receiver: Arc<Receiver>,
    from: IpAddr,
    fingerprint: Option<String>,
    /// The key that was offered last and that somebody has registered.
    known: Option<String>,
    /// Keys that were offered and that nobody has registered.
    unknown: Vec<String>,
    /// The client was told what to do about them.
    told: bool,
    logged_in: Arc<AtomicBool>,
    /// What runs for this client.
    commands: TaskTracker,
    channels: HashMap<ChannelId, Waiting>,
}

/// A channel that has not been told yet what it is for.
struct Waiting {
    channel: Channel<Msg>,
    protocol: Option<String>,
}

impl russh::server::Handler for Connection {
    type Error = anyhow::Error;

    /// An agent offers one key after the other, and stops at the first that is taken: it has to be
    /// one that somebody registered.
    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        let fingerprint = offer.public_key.fingerprint(HashAlg::Sha256).to_string();
        if self.known.as_ref() == Some(&fingerprint)
            || self.receiver.knows_key(&fingerprint, self.from).await
        {
            self.known = Some(fingerprint);
            return Ok(Auth::Accept);
        }
        self.unknown.push(fingerprint);
        Ok(Auth::reject())
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.fingerprint = Some(key.public_key.fingerprint(HashAlg::Sha256).to_string());
        self.logged_in.store(true, Ordering::Relaxed);
        Ok(Auth::Accept)
    }

    /// Lets nobody in. It is what SSH offers to tell someone without a registered key what to do:
    /// instructions, and no question.
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<russh::server::Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        if response.is_some() || std::mem::replace(&mut self.told, true) {
            // OpenSSH asks three times, and an empty list lets it begin again with everything. Keys
            // it has none left of.
            return Ok(Auth::Reject {
                proceed_with_methods: Some(MethodSet::from(&[MethodKind::PublicKey][..])),
                partial_success: false,
            });
        }
        let which = match self.unknown.as_slice() {
            [] => "Fairway lets you in by a public key, and none was offered.".to_owned(),
            [key] => format!("Fairway does not know your key {key}."),
            keys => format!(
                "Fairway does not know any of your keys:\n{}",
                keys.join("\n")
            ),
        };
        Ok(Auth::Partial {
            name: "".into(),
            instructions: format!("{which}\nRegister it: app keys:add").into(),
            prompts: Cow::Borrowed(&[]),
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.channels.len() < CHANNELS_MAX {
            self.channels.insert(
                channel.id(),
                Waiting {
                    channel,
                    protocol: None,
                },
            );
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.remove(&channel);
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let plain =
            value.len() <= PROTOCOL_BYTES_MAX && value.bytes().all(|b| b.is_ascii_graphic());
        match self.channels.get_mut(&channel) {
            Some(waiting) if name == "GIT_PROTOCOL" && plain => {
                waiting.protocol = Some(value.to_owned());
                session.channel_success(channel)?;
            }
            _ => session.channel_failure(channel)?,
        }
        Ok(())
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.run(channel, None, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.run(channel, Some(command.to_vec()), session)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(russh::Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // There is no terminal, but OpenSSH would hide our greeting behind a complaint of its own.
        session.channel_success(channel)?;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)?;
        Ok(())
    }
}

impl Connection {
    /// Starts what the client asked for, in a task of its own; `None` is a shell.
    fn run(
        &mut self,
        channel: ChannelId,
        command: Option<Vec<u8>>,
        session: &mut Session,
    ) -> anyhow::Result<()> {
        let Some(waiting) = self.channels.remove(&channel) else {
            session.channel_failure(channel)?;
            return Ok(());
        };
        session.channel_success(channel)?;
        let client = Client {
            receiver: Arc::clone(&self.receiver),
            from: self.from,
            fingerprint: self.fingerprint.clone().unwrap_or_default(),
            protocol: waiting.protocol,
        };
        let (from_client, to_client) = waiting.channel.split();
        self.commands.spawn(async move {
            let code = match client.open(command).await {
                Ok(exchange) => relay(exchange, from_client, &to_client).await,
                Err((code, text)) => {
                    // Terminals want a return before a line end, and git does not mind one.
                    let text = format!("{}\r\n", text.replace('\n', "\r\n"));
                    drop(to_client.extended_data_bytes(STDERR, text).await);
                    code
                }
            };
            // All three fail only when the client has gone.
            drop(to_client.exit_status(code).await);
            drop(to_client.eof().await);
            drop(to_client.close().await);
        });
        Ok(())
    }
}

/// Who asks, on one channel.
struct Client {
    receiver: Arc<Receiver>,
    from: IpAddr,
    fingerprint: String,
    protocol: Option<String>,
}

impl Client {
    /// Starts git, or says why not, with an exit code.
    async fn open(&self, command: Option<Vec<u8>>) -> Result<Exchange, (u32, String)> {
        let Some(command) = command else {
            let text = "Hello! Your key is fine, but Fairway has no shell here.\n\
                        To deploy: git push fairway main. For a shell in your app: app run bash";
            return Err((1, text.into()));
        };
        let (service, app) =
            parse_command(&command).map_err(|error| (EXIT_FATAL, format!("fairway: {error}")))?;
        let credential = GitCredential::Key {
            fingerprint: self.fingerprint.clone(),
        };
        let refused = |refusal: super::Refusal| (EXIT_FATAL, format!("fairway: {refusal}"));
        let access = self
            .receiver
            .authorize(credential, app, service, Some(self.from))
            .await;
        let access = access.map_err(refused)?;
        let opened = self
            .receiver
            .open(access, Mode::Duplex, self.protocol.as_deref())
            .await;
        opened.map_err(refused)
    }
}

/// Joins the channel and git until git has ended; gives its exit code.
async fn relay(
    exchange: Exchange,
    from_client: ChannelReadHalf,
    to_client: &ChannelWriteHalf<Msg>,
) -> u32 {
    let Exchange { input, mut output } = exchange;
    let feed = tokio::spawn(feed(from_client, input));
    let mut code = EXIT_FATAL;
    while let Some(said) = output.recv().await {
        let sent = match said {
            Said::Out(bytes) => to_client.data_bytes(bytes).await,
            Said::Err(bytes) => to_client.extended_data_bytes(STDERR, bytes).await,
            Said::Exit(status) => {
                code = status
                    .and_then(|code| u32::try_from(code).ok())
                    .unwrap_or(EXIT_FATAL);
                break;
            }
        };
        if sent.is_err() {
            break;
        }
    }
    feed.abort();
    code
}

/// Carries the client's bytes to git until the client has no more, or is gone.
async fn feed(mut from_client: ChannelReadHalf, input: mpsc::Sender<Bytes>) {
    let mut input = Some(input);
    // The channel is read to its end, since other messages come on it as well and would pile up.
    while let Some(message) = from_client.wait().await {
        match message {
            ChannelMsg::Data { data } => {
                if let Some(to) = &input
                    && to.send(data).await.is_err()
                {
                    input = None;
                }
            }
            ChannelMsg::Eof => input = None,
            _ => {}
        }
    }
}
