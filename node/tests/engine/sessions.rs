//! Sessions with pods that run: commands, connections, and that nothing of them is left.

use std::{collections::BTreeMap, time::Instant};

use axum::extract::ws::Message;
use fairway_api::{
    ids::AttachId,
    pods::PodSpec,
    sessions::{SESSION_VARIABLE, SessionOrder, SessionWork},
};

use crate::{
    controller::Terminal,
    machine::{Machine, docker, within},
};

/// As long as anything may wait for a signal: nothing ends by itself.
const FOR_EVER: &str = "while :; do sleep 1000; done";

/// Opens a session and waits for the agent's end.
async fn open(machine: &Machine, pod: &PodSpec, work: SessionWork) -> Terminal {
    open_in(machine, pod, None, work).await
}

/// The same with one container of several.
pub(crate) async fn open_in(
    machine: &Machine,
    pod: &PodSpec,
    container: Option<&str>,
    work: SessionWork,
) -> Terminal {
    let order = SessionOrder {
        id: AttachId::generate(),
        pod: pod.id,
        pod_name: pod.name.clone(),
        container: container.map(Into::into),
        work,
    };
    machine
        .shared()
        .sessions
        .send_modify(|waiting| waiting.push(order));
    machine.terminal().await
}

pub(crate) fn exec(tty: bool, words: &[&str]) -> SessionWork {
    SessionWork::Exec {
        command: words.iter().map(|&word| word.to_owned()).collect(),
        tty,
        env: BTreeMap::from([(SESSION_VARIABLE.to_owned(), "x".to_owned())]),
    }
}

/// What runs in the pod's container, as the engine sees it.
fn processes(machine: &Machine) -> String {
    docker(&["top", &machine.containers()[0], "-eo", "pid,args"])
}

#[tokio::test]
async fn a_command_has_its_own_streams_and_exit_code() {
    let mut machine = Machine::start().await;
    let pod = machine.worker(FOR_EVER);
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;

    let began = Instant::now();
    let terminal = open(
        &machine,
        &pod,
        exec(false, &["sh", "-c", "echo oops >&2; exit 3"]),
    )
    .await;
    let opened = began.elapsed();
    let (_, errors, last) = within(terminal.rest()).await;
    assert_eq!(
        (errors.as_str(), last.as_str()),
        ("oops\n", r#"{"kind":"exit","code":3}"#)
    );
    assert!(
        opened.as_millis() < 1_000,
        "the agent came after {opened:?}"
    );

    // Every byte there is comes back, and the end of input ends it.
    let mut terminal = open(&machine, &pod, exec(false, &["cat"])).await;
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let frame = [b"\0", &bytes[..]].concat();
    terminal
        .0
        .send(Message::Binary(frame.into()))
        .await
        .unwrap();
    terminal.control(r#"{"kind":"end-of-input"}"#).await;
    let mut back = vec![];
    let last = loop {
        match within(terminal.0.recv()).await.unwrap().unwrap() {
            Message::Binary(piece) if piece[0] == 1 => back.extend_from_slice(&piece[1..]),
            Message::Text(text) => break text.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert!(
        back == bytes,
        "{} of {} bytes came back",
        back.len(),
        bytes.len()
    );
    assert_eq!(last, r#"{"kind":"exit","code":0}"#);

    let mut terminal = open(&machine, &pod, exec(true, &["sh"])).await;
    terminal
        .control(r#"{"kind":"resize","rows":33,"columns":121}"#)
        .await;
    terminal
        .type_in("stty size; echo $FAIRWAY_SESSION; exit 7\n")
        .await;
    let (output, _, last) = within(terminal.rest()).await;
    assert!(output.contains("33 121\r\nx\r\n"), "{output:?}");
    assert_eq!(last, r#"{"kind":"exit","code":7}"#);

    let terminal = open(&machine, &pod, exec(false, &["no-such-program"])).await;
    let (output, errors, last) = within(terminal.rest()).await;
    let told = format!("{output}{errors}{last}");
    assert!(
        told.contains("no-such-program") && told.contains("not found"),
        "{told}"
    );
}

#[tokio::test]
async fn nothing_of_a_command_outlives_its_person() {
    let mut machine = Machine::start().await;
    let pod = machine.worker(FOR_EVER);
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    // In the background, in a process group of its own, deaf to a closing terminal.
    let script = "trap '' HUP; (trap '' HUP; exec sleep 4242) & set -m; sleep 4242 & \
                  echo ready; sleep 4242";
    for tty in [false, true] {
        let mut terminal = open(&machine, &pod, exec(tty, &["sh", "-c", script])).await;
        within(terminal.expect("ready")).await;
        assert_eq!(processes(&machine).matches("sleep 4242").count(), 3);
        drop(terminal);
        let gone = |machine: &Machine| !processes(machine).contains("sleep 4242");
        machine
            .until_engine("ended the processes of a session", gone)
            .await;
    }
    assert!(
        processes(&machine).contains("sleep 1000"),
        "the pod itself goes on"
    );
}

#[tokio::test]
async fn the_end_of_an_agent_ends_its_sessions_also_when_it_was_killed() {
    let mut machine = Machine::start().await;
    let pod = machine.worker(FOR_EVER);
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let mut terminal = open(
        &machine,
        &pod,
        exec(true, &["sh", "-c", "echo ready; sleep 4242"]),
    )
    .await;
    within(terminal.expect("ready")).await;
    machine.stop_agent().await;
    assert!(!processes(&machine).contains("sleep 4242"));

    // What an agent leaves behind that had no time for that, and what is none of its business.
    let container = machine.containers()[0].clone();
    let variable = format!("{SESSION_VARIABLE}=x");
    docker(&[
        "exec", "--detach", "--env", &variable, &container, "sleep", "4242",
    ]);
    docker(&["exec", "--detach", &container, "sleep", "4343"]);
    assert!(processes(&machine).contains("sleep 4242"));
    machine.start_agent().await;
    let gone = |machine: &Machine| !processes(machine).contains("sleep 4242");
    machine
        .until_engine("ended what was left behind", gone)
        .await;
    assert!(processes(&machine).contains("sleep 4343"));
}

#[tokio::test]
async fn a_connection_carries_both_ways_and_half_closes() {
    let mut machine = Machine::start().await;
    let pod = machine.worker(&format!("nc -ll -p 7007 -e cat & {FOR_EVER}"));
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let connect = |port| SessionWork::Connect { port };
    // The server may need a moment; a refusal says what to look for.
    let first = loop {
        let mut terminal = open(&machine, &pod, connect(7007)).await;
        terminal.type_in("first\n").await;
        match within(terminal.0.recv()).await.unwrap().unwrap() {
            Message::Binary(bytes) => break (terminal, bytes),
            Message::Text(text) => assert!(text.contains("port 7007"), "{text}"),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(&first.1[..], b"\x01first\n");
    // A second one beside the first, which stays open.
    let mut second = open(&machine, &pod, connect(7007)).await;
    let much = "0123456789abcdef".repeat(20_000);
    second.type_in(&much).await;
    second.control(r#"{"kind":"end-of-input"}"#).await;
    let (output, _, last) = within(second.rest()).await;
    assert!(output == much, "{} of {} bytes", output.len(), much.len());
    assert_eq!(last, r#"{"kind":"end-of-output"}"#);
    drop(first);

    let (_, _, told) = within(open(&machine, &pod, connect(9)).await.rest()).await;
    assert!(
        told.contains("cannot connect to port 9 of worker.1"),
        "{told}"
    );
}

#[tokio::test]
async fn what_listens_on_the_pods_own_loopback_is_reached() {
    let mut machine = Machine::start().await;
    let pod = machine.worker("exec httpd -f -h /www -p 127.0.0.1:7008");
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let request = "GET /index.html HTTP/1.0\r\n\r\n";
    let told = loop {
        let mut terminal = open(&machine, &pod, SessionWork::Connect { port: 7008 }).await;
        terminal.type_in(request).await;
        match within(terminal.0.recv()).await.unwrap().unwrap() {
            Message::Binary(bytes) => break String::from_utf8_lossy(&bytes).into_owned(),
            // The server may need a moment.
            Message::Text(text) => assert!(text.contains("nothing there listens"), "{text}"),
            other => panic!("{other:?}"),
        }
    };
    assert!(told.contains("200 OK"), "{told}");
}

#[tokio::test]
async fn only_pods_of_this_machine_are_reached_and_their_end_is_told() {
    let mut machine = Machine::start().await;
    let pod = machine.worker(FOR_EVER);
    let stranger = machine.worker(FOR_EVER);
    machine.plan(&[&pod]);
    machine.until_ready(&pod).await;
    let (_, _, told) = within(open(&machine, &stranger, exec(false, &["ls"])).await.rest()).await;
    assert_eq!(
        told,
        r#"{"kind":"failed","reason":"worker.1 is not on this machine"}"#
    );

    let watch = open(&machine, &pod, SessionWork::Watch).await;
    let mut command = open(
        &machine,
        &pod,
        exec(false, &["sh", "-c", "echo ready; sleep 4242"]),
    )
    .await;
    within(command.expect("ready")).await;
    docker(&["kill", &machine.containers()[0]]);
    let (_, _, told) = within(watch.rest()).await;
    assert_eq!(
        told,
        r#"{"kind":"failed","reason":"worker.1 was killed by SIGKILL"}"#
    );
    let (_, _, told) = within(command.rest()).await;
    assert_eq!(told, r#"{"kind":"exit","code":137}"#);
}
