//! `nodes`, its verbs, and `node:token`.

mod show;

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use clap::{Args, Subcommand};
use fairway_api::{
    client::Client,
    machines::{NewNodeToken, Node, NodeIntent, NodePatch},
    names::{LabelKey, LabelValue, NodeName},
    placement::Taint,
};
use tokio::time::{Instant, sleep};

use crate::{
    failure::Failure,
    output::{pairs, table, time},
    session::Session,
    span::Span,
};

/// Pause between two looks at a machine that drains.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(name = "nodes", visible_alias = "nodes:list")]
    List(ListArgs),
    #[command(name = "nodes:info")]
    Info(NodeArgs),
    #[command(name = "nodes:cordon")]
    Cordon(CordonArgs),
    #[command(name = "nodes:uncordon")]
    Uncordon(UncordonArgs),
    #[command(name = "nodes:drain")]
    Drain(DrainArgs),
    #[command(name = "nodes:remove")]
    Remove(RemoveArgs),
    #[command(name = "nodes:label")]
    Label(LabelArgs),
    #[command(name = "nodes:taint")]
    Taint(TaintArgs),
    #[command(name = "node:token")]
    Token(TokenArgs),
}

/// List the machines of the cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes
  fairway nodes --json | jq -r '.[] | select(.state == \"lost\").name'")]
pub(super) struct ListArgs {}

/// Show a machine and its pods
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes:info db-1")]
pub(super) struct NodeArgs {
    /// The machine
    name: NodeName,
}

/// Let a machine keep its pods and take no new ones
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes:cordon db-1")]
pub(super) struct CordonArgs {
    /// The machine
    name: NodeName,
}

/// Let a machine take pods again
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes:uncordon db-1")]
pub(super) struct UncordonArgs {
    /// The machine
    name: NodeName,
}

/// Move a machine's pods to other machines, and wait until it is empty
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes:drain db-1
  fairway nodes:drain db-1 --no-wait
Each pod serves until the one that replaces it is up. One-off pods run to their end.
Afterwards: fairway nodes:uncordon db-1, or fairway nodes:remove db-1")]
pub(super) struct DrainArgs {
    /// The machine
    name: NodeName,
    /// Return at once
    #[arg(long)]
    no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "15m")]
    timeout: Span,
}

/// Take a machine out of the cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes:drain db-1 && fairway nodes:remove db-1
  fairway nodes:remove db-1          (a lost machine: its pods are replaced)
  fairway nodes:remove db-1 --force  (cuts off what runs there)
To bring the machine back, let it join with a new token: fairway node token")]
pub(super) struct RemoveArgs {
    /// The machine
    name: NodeName,
    /// Although it lives and has pods
    #[arg(long)]
    force: bool,
}

/// Set and remove labels of a machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes:label db-1 zone=eu-1 disk=ssd
  fairway nodes:label db-1 disk-")]
pub(super) struct LabelArgs {
    /// The machine
    name: NodeName,
    /// KEY=VALUE sets a label, KEY- removes it
    #[arg(required = true, value_name = "LABEL")]
    labels: Vec<LabelChange>,
}

/// Keep pods away from a machine unless they tolerate it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway nodes:taint gpu-1 gpu=yes:no-schedule
  fairway nodes:taint gpu-1 gpu-
Effects: no-schedule (no new pods), prefer-no-schedule (the last choice), no-execute (pods leave)")]
pub(super) struct TaintArgs {
    /// The machine
    name: NodeName,
    /// KEY=VALUE:EFFECT sets a taint, KEY- removes all of this key
    #[arg(required = true, value_name = "TAINT")]
    taints: Vec<TaintChange>,
}

/// Print the one command with which a machine joins the cluster
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  fairway node token
  fairway node token --ttl 10m
The command holds a secret that lets one machine join, once.")]
pub(super) struct TokenArgs {
    /// How long it can be used
    #[arg(long, value_name = "TIME", default_value = "1h")]
    ttl: Span,
}

/// `KEY=VALUE` or `KEY-`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LabelChange(LabelKey, Option<LabelValue>);

impl FromStr for LabelChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) => key
                .parse()
                .and_then(|key| Ok(Self(key, Some(value.parse()?)))),
            (None, Some(key)) => key.parse().map(|key| Self(key, None)),
            (None, None) => return Err("write KEY=VALUE, or KEY- to remove a label".into()),
        };
        parsed.map_err(|error| error.to_string())
    }
}

/// `KEY=VALUE:EFFECT` or `KEY-`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum TaintChange {
    Set(Taint),
    Remove(LabelKey),
}

impl FromStr for TaintChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix('-') {
            Some(key) => key
                .parse()
                .map(Self::Remove)
                .map_err(|it: fairway_api::names::InvalidName| it.to_string()),
            None => text
                .parse()
                .map(Self::Set)
                .map_err(|it: fairway_api::placement::InvalidTaint| it.to_string()),
        }
    }
}

impl Command {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client()?;
        match self {
            Self::List(ListArgs {}) => list(session, &client).await,
            Self::Info(args) => info(session, &client, &args.name).await,
            Self::Cordon(CordonArgs { name }) => {
                ask(
                    session,
                    &client,
                    &name,
                    NodeIntent::Cordoned,
                    "takes no new pods",
                )
                .await
            }
            Self::Uncordon(UncordonArgs { name }) => {
                ask(session, &client, &name, NodeIntent::Ready, "takes pods").await
            }
            Self::Drain(args) => drain(session, &client, &args).await,
            Self::Remove(args) => remove(session, &client, &args).await,
            Self::Label(args) => label(session, &client, args).await,
            Self::Taint(args) => taint(session, &client, args).await,
            Self::Token(args) => token(session, &client, &args).await,
        }
    }
}

async fn list(session: &Session, client: &Client) -> Result<(), Failure> {
    let nodes = client.nodes().await?;
    session.output.data(&nodes, |nodes| {
        let header = [
            "NAME", "STATE", "ZONE", "KIND", "PODS", "CPU", "MEMORY", "DISK", "ADDRESS", "VERSION",
            "NOTE",
        ];
        table(header, nodes.iter().map(show::row))
    })
}

async fn info(session: &Session, client: &Client, name: &NodeName) -> Result<(), Failure> {
    let node = client.node(name).await?;
    if session.output.json {
        return session.output.data(&node, |_| String::new());
    }
    let pods = client.node_pods(name).await?;
    let mut text = pairs(show::details(&node));
    let rows = pods.iter().map(|pod| {
        [
            pod.app.name.to_string(),
            pod.name.clone(),
            format!("v{}", pod.release),
            pod.size.to_string(),
            pod.state.to_string(),
            time(pod.created_at),
        ]
    });
    let pods = table(["APP", "POD", "RELEASE", "SIZE", "STATE", "SINCE"], rows);
    if !pods.is_empty() {
        text.push('\n');
        text.push_str(&pods);
    }
    session.output.text(&text)
}

async fn ask(
    session: &Session,
    client: &Client,
    name: &NodeName,
    intent: NodeIntent,
    what: &str,
) -> Result<(), Failure> {
    let patch = NodePatch {
        intent: Some(intent),
        ..NodePatch::default()
    };
    let node = client.update_node(name, &patch).await?;
    session.output.talk(format!("{name} {what}."));
    session.output.answer(&node)
}

async fn drain(session: &Session, client: &Client, args: &DrainArgs) -> Result<(), Failure> {
    let name = &args.name;
    let patch = NodePatch {
        intent: Some(NodeIntent::Draining),
        ..NodePatch::default()
    };
    let mut node: Node = client.update_node(name, &patch).await?;
    let deadline = Instant::now() + args.timeout.0;
    let mut told = None;
    while node.pods > 0 && !args.no_wait {
        if told != Some(node.pods) {
            session
                .output
                .talk(format!("{name} has {} pods left.", node.pods));
            told = Some(node.pods);
        }
        if Instant::now() >= deadline {
            return Err(still_there(client, name).await?);
        }
        sleep(LOOK_EVERY).await;
        node = client.node(name).await?;
    }
    let done = if node.pods == 0 {
        "is empty"
    } else {
        "is being drained"
    };
    session.output.talk(format!("{name} {done}."));
    session.output.answer(&node)
}

/// What to say of the pods that did not leave in time.
async fn still_there(client: &Client, name: &NodeName) -> Result<Failure, Failure> {
    let pods = client.node_pods(name).await?;
    let pods: Vec<_> = pods
        .iter()
        .map(|pod| format!("{} {} ({})", pod.app.name, pod.name, pod.state))
        .collect();
    let message = format!("{name} still has {} pods:\n{}", pods.len(), pods.join("\n"));
    Ok(Failure::failed(message).with_hint(
        "It goes on being drained. Pods stay where no other machine has room for the pods that \
         replace them (app ps says why), and one-off pods until they end.",
    ))
}

async fn remove(session: &Session, client: &Client, args: &RemoveArgs) -> Result<(), Failure> {
    let node = client.remove_node(&args.name, args.force).await?;
    let name = &node.name;
    session
        .output
        .talk(format!("Removed {name} from the cluster."));
    session.output.answer(&node)
}

async fn label(session: &Session, client: &Client, args: LabelArgs) -> Result<(), Failure> {
    let labels = args
        .labels
        .into_iter()
        .map(|LabelChange(key, value)| (key, value));
    let patch = NodePatch {
        labels: labels.collect::<BTreeMap<_, _>>(),
        ..NodePatch::default()
    };
    let node = client.update_node(&args.name, &patch).await?;
    session
        .output
        .talk(format!("Labels of {}: {}", node.name, show::labels(&node)));
    session.output.answer(&node)
}

async fn taint(session: &Session, client: &Client, args: TaintArgs) -> Result<(), Failure> {
    let mut patch = NodePatch::default();
    for change in args.taints {
        match change {
            TaintChange::Set(taint) => patch.taints.push(taint),
            TaintChange::Remove(key) => patch.untaint.push(key),
        }
    }
    let node = client.update_node(&args.name, &patch).await?;
    session
        .output
        .talk(format!("Taints of {}: {}", node.name, show::taints(&node)));
    session.output.answer(&node)
}

async fn token(session: &Session, client: &Client, args: &TokenArgs) -> Result<(), Failure> {
    let new = NewNodeToken {
        ttl_secs: Some(args.ttl.0.as_secs()),
    };
    let token = client.create_node_token(&new).await?;
    session.output.talk(format!(
        "Run this as root on the machine that is to join, before {}:",
        time(token.expires_at)
    ));
    session.output.data(&token, |token| {
        format!(
            "fairway node join {} --token {}",
            token.address,
            token.token.expose()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_labels_and_taints_are_read_or_explained() {
        for (text, secs) in [("90s", 90), ("10m", 600), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_secs(), secs);
        }
        for text in [
            "",
            "h",
            "1",
            "1w",
            "-1h",
            "99999999999999999999s",
            "9999999999999999999d",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        let label = |text: &str| text.parse::<LabelChange>();
        assert_eq!(
            label("a=b"),
            Ok(LabelChange(
                "a".parse().unwrap(),
                Some("b".parse().unwrap())
            ))
        );
        assert_eq!(label("a-"), Ok(LabelChange("a".parse().unwrap(), None)));
        for text in ["a", "=b", "a=b c", "-"] {
            assert!(label(text).is_err(), "{text}");
        }
        let taint = |text: &str| text.parse::<TaintChange>();
        assert_eq!(taint("a-"), Ok(TaintChange::Remove("a".parse().unwrap())));
        assert!(matches!(taint("a=b:no-execute"), Ok(TaintChange::Set(_))));
        assert!(taint("a=b").unwrap_err().contains("EFFECT"));
    }
}
