//! Terminals.

use fairway_api::pods::PodPhase;

use crate::machine::{Machine, within};

#[tokio::test]
async fn a_terminal_is_joined_resized_and_ends_with_the_exit_code() {
    let mut machine = Machine::start().await;
    let pod = machine.attached(
        true,
        "stty -echo; echo ready; read word; stty size; echo got $word; exit 7",
    );
    machine.plan(&[&pod]);
    let mut terminal = machine.terminal().await;
    within(terminal.expect("ready")).await;
    terminal
        .control(r#"{"kind":"resize","rows":33,"columns":121}"#)
        .await;
    terminal.type_in("hello\n").await;
    let (output, errors, last) = within(terminal.rest()).await;
    assert!(output.contains("33 121\r\ngot hello\r\n"), "{output:?}");
    assert_eq!(errors, "");
    assert_eq!(last, r#"{"kind":"exit","code":7}"#);
    let exit = machine.until_exited(&pod).await.last_exit.unwrap();
    assert_eq!((exit.code, exit.last_lines), (7, vec![]));
    let log = machine
        .until_logged(|log| log.iter().any(|line| line.contains("exited")))
        .await;
    assert!(
        !log.iter().any(|line| line.contains("got hello")),
        "sessions are not logged"
    );
    // What its terminal left behind does not keep it.
    machine.plan(&[]);
    machine.until_gone(&pod).await;
}

#[tokio::test]
async fn without_a_terminal_streams_are_apart_and_input_ends() {
    let mut machine = Machine::start().await;
    let pod = machine.attached(false, "cat; echo oops >&2; exit 3");
    machine.plan(&[&pod]);
    let mut terminal = machine.terminal().await;
    let much = "0123456789abcdef".repeat(64 * 1024);
    terminal.type_in(&much[..much.len() / 2]).await;
    terminal.type_in(&much[much.len() / 2..]).await;
    terminal.control(r#"{"kind":"end-of-input"}"#).await;
    let (output, errors, last) = within(terminal.rest()).await;
    assert!(
        output == much,
        "{} of {} bytes came back",
        output.len(),
        much.len()
    );
    assert_eq!(errors, "oops\n");
    assert_eq!(last, r#"{"kind":"exit","code":3}"#);
}

#[tokio::test]
async fn zero_bytes_on_a_terminal_do_not_hang_it() {
    let mut machine = Machine::start().await;
    let pod = machine.attached(true, "echo -ne '\\x00\\x01\\x02'; echo fine");
    machine.plan(&[&pod]);
    let (output, _, last) = within(machine.terminal().await.rest()).await;
    assert_eq!(output, "\0\u{1}\u{2}fine\r\n");
    assert_eq!(last, r#"{"kind":"exit","code":0}"#);
}

#[tokio::test]
async fn a_user_who_goes_away_takes_the_pod_along() {
    let mut machine = Machine::start().await;
    let pod = machine.attached(true, "echo ready; exec sleep 1000");
    machine.plan(&[&pod]);
    let mut terminal = machine.terminal().await;
    within(terminal.expect("ready")).await;
    drop(terminal);
    let exit = machine.until_exited(&pod).await.last_exit.unwrap();
    assert_eq!(exit.to_string(), "was stopped: the terminal was closed");
}

#[tokio::test]
async fn a_command_that_is_not_there_is_told_to_the_terminal() {
    let mut machine = Machine::start().await;
    let mut pod = machine.attached(true, "");
    pod.command = Some(vec!["rails".into(), "console".into()]);
    machine.plan(&[&pod]);
    let (output, _, last) = within(machine.terminal().await.rest()).await;
    assert!(output.contains("exec rails failed"), "{output:?}");
    assert_eq!(last, r#"{"kind":"exit","code":127}"#);
}

#[tokio::test]
async fn a_pod_that_cannot_be_started_is_told_to_the_terminal() {
    let mut machine = Machine::start().await;
    let mut pod = machine.attached(true, "exit 0");
    pod.stop.signal = "SIGNONSENSE".into();
    machine.plan(&[&pod]);
    let (_, _, last) = within(machine.terminal().await.rest()).await;
    assert_eq!(
        last,
        r#"{"kind":"failed","reason":"Invalid signal: SIGNONSENSE"}"#
    );
    let refused = |phase: &PodPhase| matches!(phase, PodPhase::Refused { .. });
    machine
        .until(&pod, "refused", |status| refused(&status.phase))
        .await;
}
