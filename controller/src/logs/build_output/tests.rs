use fairway_api::ids::BuildId;
use futures_util::{StreamExt, TryStreamExt};

use super::{BuildOutputs, CHUNK_BYTES_MAX, HEAD_BYTES_MAX, TAIL_BYTES_MAX};

const BUILD: BuildId = BuildId::from_u128(1);

async fn whole(outputs: &BuildOutputs, offset: u64) -> String {
    let chunks: Vec<_> = outputs.read(BUILD, offset).try_collect().await.unwrap();
    String::from_utf8(chunks.concat()).unwrap()
}

#[tokio::test]
async fn followers_get_everything_from_where_they_like_until_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = BuildOutputs::open(dir.path()).unwrap();
    let early = outputs.follow(BUILD, 0).unwrap();
    outputs.append(BUILD, "one\n").await.unwrap();
    let late = outputs.follow(BUILD, 2).unwrap();
    let beyond = outputs.follow(BUILD, 100).unwrap();
    let big = "x".repeat(3 * CHUNK_BYTES_MAX as usize);
    outputs.append(BUILD, big.clone()).await.unwrap();
    outputs.close(BUILD);
    outputs.close(BUILD);
    for (follower, expected) in [
        (early.boxed(), format!("one\n{big}")),
        (late.boxed(), format!("e\n{big}")),
    ] {
        let chunks: Vec<_> = follower.try_collect().await.unwrap();
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk.len() <= CHUNK_BYTES_MAX as usize)
        );
        assert!(chunks.concat() == expected.as_bytes());
    }
    let chunks: Vec<_> = beyond.try_collect().await.unwrap();
    assert_eq!(chunks.concat().len(), 4 + big.len() - 100);
}

#[tokio::test]
async fn a_follower_waits_for_what_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = BuildOutputs::open(dir.path()).unwrap();
    let mut follower = Box::pin(outputs.follow(BUILD, 0).unwrap());
    for text in ["one", "two", "three"] {
        let (got, written) = tokio::join!(follower.next(), outputs.append(BUILD, text));
        written.unwrap();
        assert_eq!(got.unwrap().unwrap(), text);
    }
    outputs.close(BUILD);
    assert!(follower.next().await.is_none());
}

#[tokio::test]
async fn an_output_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = BuildOutputs::open(dir.path()).unwrap();
    outputs.append(BUILD, "one\n").await.unwrap();
    drop(outputs);
    let outputs = BuildOutputs::open(dir.path()).unwrap();
    outputs.append(BUILD, "two\n").await.unwrap();
    outputs.close(BUILD);
    assert_eq!(whole(&outputs, 0).await, "one\ntwo\n");
}

#[tokio::test]
async fn of_an_output_that_is_too_long_beginning_and_end_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = BuildOutputs::open(dir.path()).unwrap();
    outputs.append(BUILD, "the beginning\n").await.unwrap();
    let chunk = "x".repeat(1024 * 1024);
    for _ in 0..20 {
        outputs.append(BUILD, chunk.clone()).await.unwrap();
    }
    outputs.append(BUILD, "\nthe end\n").await.unwrap();
    outputs.close(BUILD);
    let text = whole(&outputs, 0).await;
    assert!(text.len() < HEAD_BYTES_MAX as usize + TAIL_BYTES_MAX + 1024);
    assert!(text.starts_with("the beginning\n") && text.ends_with("\nthe end\n"));
    let cut = 20 * chunk.len() + 23 - HEAD_BYTES_MAX as usize - TAIL_BYTES_MAX;
    assert!(text.contains(&format!(" !     {cut} bytes were cut here.\n")));
}

#[tokio::test]
async fn a_forgotten_output_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let outputs = BuildOutputs::open(dir.path()).unwrap();
    outputs.append(BUILD, "one\n").await.unwrap();
    outputs.forget(BUILD).await;
    outputs.forget(BUILD).await;
    assert_eq!(whole(&outputs, 0).await, "");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
