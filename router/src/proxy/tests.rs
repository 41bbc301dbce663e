use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{CLIENT_BODY_IDLE, RESPONSE_HEAD_TIMEOUT, within_limits};
use crate::{
    failure::Failure,
    upload::{Progress, Stage},
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_begin_to_answer_times_out() {
    let begun = Instant::now();
    let never = std::future::pending::<()>();
    assert_eq!(within_limits(never, None).await, Err(Failure::Timeout));
    assert_eq!(begun.elapsed().as_secs(), RESPONSE_HEAD_TIMEOUT.as_secs());
    let late = sleep(RESPONSE_HEAD_TIMEOUT - SECOND);
    assert_eq!(within_limits(late, None).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn the_wait_begins_when_the_upload_has_ended() {
    let upload = Progress::begin();
    let uploading = async {
        for _ in 0..10 {
            upload.note(Stage::Client);
            sleep(20 * SECOND).await;
        }
        upload.note(Stage::Ended);
    };
    let begun = Instant::now();
    let never = std::future::pending::<()>();
    let (end, ()) = tokio::join!(within_limits(never, Some(&upload)), uploading);
    assert_eq!(end, Err(Failure::Timeout));
    // The wait for the client was already set when its upload ended, and is not cut short.
    let late = begun.elapsed() - 200 * SECOND;
    assert!(
        late >= RESPONSE_HEAD_TIMEOUT && late <= CLIENT_BODY_IDLE,
        "{late:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_holds_up_an_upload_is_named() {
    for (stage, limit, failure) in [
        (Stage::Client, CLIENT_BODY_IDLE, Failure::ClientTimeout),
        (Stage::Pod, RESPONSE_HEAD_TIMEOUT, Failure::Timeout),
    ] {
        let upload = Progress::begin();
        upload.note(stage);
        let begun = Instant::now();
        let never = std::future::pending::<()>();
        assert_eq!(within_limits(never, Some(&upload)).await, Err(failure));
        assert_eq!(begun.elapsed().as_secs(), limit.as_secs());
    }
}
