//! Every line of output arrives once, whatever happens on the way.

use fairway_api::logs::LOG_LINE_BYTES_MAX;

use crate::machine::Machine;

/// The numbers in the pod's own lines.
fn numbers(log: &[String]) -> Vec<u32> {
    log.iter()
        .filter_map(|line| line.strip_prefix("app[worker.1]: n ")?.parse().ok())
        .collect()
}

#[tokio::test]
async fn no_line_is_lost_or_repeated_over_restarts_and_outages() {
    let mut machine = Machine::start().await;
    let script =
        "i=1; while [ $i -le 400 ]; do echo n $i; i=$((i+1)); sleep 0.01; done; exec sleep 1000";
    let pod = machine.worker(script);
    machine.plan(&[&pod]);
    machine.until_logged(|log| numbers(log).len() > 50).await;
    machine.stop_agent().await;
    machine.start_agent().await;
    machine.until_logged(|log| numbers(log).len() > 150).await;
    machine.shared().away.send_replace(true);
    machine.stop_agent().await;
    machine.start_agent().await;
    machine.shared().away.send_replace(false);
    let log = machine
        .until_logged(|log| numbers(log).last() == Some(&400))
        .await;
    assert_eq!(numbers(&log), (1..=400).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_pod_says_last_arrives_though_it_is_removed_at_once() {
    let mut machine = Machine::start().await;
    let script = "trap 'i=1; while [ $i -le 2000 ]; do echo n $i; i=$((i+1)); done; exit' TERM; \
                  echo up; while :; do sleep 0.05; done";
    let pod = machine.worker(script);
    machine.plan(&[&pod]);
    machine
        .until_logged(|log| log.iter().any(|line| line.ends_with(": up")))
        .await;
    machine.plan(&[]);
    machine.until_gone(&pod).await;
    let log = machine
        .until_logged(|log| numbers(log).last() == Some(&2000))
        .await;
    assert_eq!(numbers(&log).len(), 2000);
}

#[tokio::test]
async fn long_lines_and_strange_bytes_are_cut_and_kept() {
    let mut machine = Machine::start().await;
    let script = "head -c 40000 /dev/zero | tr '\\0' a; echo; echo -e 'caf\\xc3\\xa9 \\xff \\x00 end' >&2; \
                  exec sleep 1000";
    let pod = machine.worker(script);
    machine.plan(&[&pod]);
    let log = machine
        .until_logged(|log| log.iter().any(|line| line.ends_with("end")))
        .await;
    assert!(
        log.iter()
            .any(|line| line == "app[worker.1]: café \u{fffd} \0 end"),
        "{log:#?}"
    );
    let log = machine
        .until_logged(|log| log.iter().map(|l| l.matches('a').count()).sum::<usize>() >= 40_000)
        .await;
    assert!(
        log.iter()
            .all(|line| line.len() <= LOG_LINE_BYTES_MAX + "app[worker.1]: ".len())
    );
}
