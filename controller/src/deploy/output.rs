//! What a pusher reads after the build: the release and how it went, in the grammar of pushes
//! (`-----> ` headers, seven-space details, ` !     ` errors). Pure.

use fairway_api::build_orders::BuiltImage;
use fairway_scheduler::snapshot::Failure;

use super::spec::has_release_phase;

/// From the end of the build, whose last words were the process types, to the start of the new
/// pods.
pub fn launching(image: &BuiltImage, version: u64) -> String {
    let mut text = format!(
        "\n-----> Compressing...\n       Done: {}\n\
         -----> Launching...\n",
        megabytes(image.size_bytes)
    );
    if has_release_phase(image) {
        text += &format!(
            "       Release command declared: v{version} goes live once it has succeeded\n"
        );
    }
    text
}

/// The release command ended well; what it printed last.
pub fn release_phase(lines: &[String]) -> String {
    let mut text = "-----> Release command succeeded\n".to_owned();
    for line in lines {
        text += &format!("       {line}\n");
    }
    text
}

/// A few more of the new pods serve.
pub fn rolling(replaced: u32, pods: u32) -> String {
    match replaced {
        0 => "-----> Rolling out...\n".into(),
        _ => format!("       {replaced} of {pods} pods replaced\n"),
    }
}

/// The old pods come back.
pub fn rolling_back(version: u64, why: &str) -> String {
    format!(" !     v{version} is rolled back: {why}\n")
}

/// A share of the requests goes to the release.
pub fn canary(version: u64, percent: u8, secs: u32, is_first: bool) -> String {
    let span = fairway_api::deployments::span(secs);
    let mut text =
        format!("-----> Canary: {percent}% of the requests go to v{version} for {span}\n");
    if is_first {
        text += "       The branch moves when all do. You may disconnect, the deployment goes on:\n       \
                 `app deploy` shows where it stands, and deploy:promote or deploy:abort ends it.\n";
    }
    text
}

/// The canary is over and did well.
pub fn promoting(version: u64) -> String {
    format!("-----> Starting all of v{version}...\n")
}

/// Somebody stopped the deployment for a while.
pub fn paused(by: &str) -> String {
    format!("-----> Paused by {by}: `app deploy:resume` goes on, `app deploy:abort` goes back\n")
}

/// And lets it go on.
pub fn resumed() -> String {
    "-----> Resumed\n".into()
}

/// The release is live.
pub fn released(version: u64, url: &str) -> String {
    format!(
        "       Released v{version}\n       {url} deployed to Fairway\n\n\
         Verifying deploy... done.\n"
    )
}

/// The release failed; what ran before it runs on.
pub fn failed(version: u64, failure: &Failure, serving: Option<u64>) -> String {
    let mut text = format!(" !     Release v{version} failed: {}\n", failure.reason);
    if !failure.lines.is_empty() {
        text += " !\n";
        for line in &failure.lines {
            text += &format!(" !       {line}\n");
        }
    }
    let serving = match serving {
        Some(serving) => format!("v{serving} keeps running, nothing of it was changed."),
        None => "The app has no earlier release that could run.".into(),
    };
    text + &format!(
        " !\n !     {serving}\n !     Fix the cause and push again; `app logs` shows all of the \
         output.\n"
    )
}

/// Another release took this one's place before it began.
pub fn superseded(version: u64, by: u64) -> String {
    format!(
        " !     Release v{version} was not started: v{by}, which is newer, took its place\n \
         !     Push again if this commit is still to be deployed.\n"
    )
}

/// Bytes as Heroku prints the size of a slug: `12.3M`.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) / (1024 * 1024);
    format!("{}.{}M", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests;
