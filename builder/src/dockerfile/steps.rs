//! What the engine says while it builds, in our words. Pure.

use fairway_api::names::Digest;

use super::limits::Hit;

/// Lines of the engine's own book-keeping, which tell a user nothing.
const DROPPED: [&str; 6] = [
    " ---> ",
    "Removing intermediate container",
    "Successfully built",
    "Successfully tagged",
    "[Warning] One or more build-args",
    "sha256:",
];

/// Follows the output of a build.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// The rest of a line that has not ended yet.
    open: String,
    /// The step that runs: `Step 2/5 : RUN make`.
    step: String,
    /// The container that it runs in.
    container: Option<String>,
    /// What the engine keeps of the steps so far.
    images: Vec<String>,
}

/// The longest line that is waited for, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// The most images that are noted; a Dockerfile with more steps leaves the rest to its operator.
const IMAGES_MAX: usize = 500;
/// How short the engine writes an id.
const IMAGE_ID_DIGITS_MIN: usize = 12;

impl Steps {
    /// Takes a piece of output; gives the lines to show.
    pub(crate) fn push(&mut self, text: &str) -> Vec<String> {
        let mut shown = Vec::new();
        for c in text.chars() {
            let full = self.open.len() >= LINE_BYTES_MAX;
            if c == '\n' || full {
                let line = std::mem::take(&mut self.open);
                shown.extend(self.line(line));
            }
            if c != '\n' {
                self.open.push(c);
            }
        }
        shown
    }

    fn line(&mut self, line: String) -> Option<String> {
        if line.starts_with("Step ") && line.contains(" : ") {
            self.step.clone_from(&line);
            self.container = None;
            return Some(line);
        }
        if let Some(id) = line.strip_prefix(" ---> Running in ") {
            self.container = Some(id.trim().to_owned());
        }
        if let Some(id) = line.strip_prefix(" ---> ").map(str::trim)
            && is_image_id(id)
            && self.images.len() < IMAGES_MAX
        {
            self.images.push(id.to_owned());
        }
        let dropped = line.trim().is_empty() || DROPPED.iter().any(|start| line.starts_with(start));
        (!dropped).then(|| line.trim_end_matches('\r').to_owned())
    }

    /// The container of the step that runs.
    pub(crate) fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// The images of the steps, in their order, from the base image on; once.
    pub(crate) fn take_images(&mut self) -> Vec<String> {
        std::mem::take(&mut self.images)
    }

    /// The reason to tell, when a limit ended the step.
    pub(super) fn hit(&self, hit: Hit) -> String {
        format!("{} {hit}", self.place())
    }

    /// What failed.
    fn place(&self) -> String {
        match self.step.as_str() {
            "" => "the Dockerfile".to_owned(),
            step => format!("{step:?}"),
        }
    }

    /// The reason to tell, when the engine ended the build with these words.
    pub(crate) fn failure(&self, said: &str) -> String {
        let place = self.place();
        let lower = said.to_lowercase();
        let hint = if lower.contains("requires buildkit") || lower.contains("unknown flag: --mount")
        {
            "; this engine builds without BuildKit, so leave out RUN --mount and COPY --chmod"
        } else if lower.contains("pull access denied")
            || lower.contains("manifest unknown")
            || lower.contains("not found: manifest")
        {
            "; the base image is not on this machine and no registry gave it. \
             FROM fairway/run:bookworm is always there"
        } else if exit_code(said).is_some() {
            "; the output of the build says why"
        } else {
            ""
        };
        match exit_code(said) {
            Some(code) => format!("{place} exited with code {code}{hint}"),
            None => format!(
                "{place} failed: {}{hint}",
                said.trim().trim_end_matches('.')
            ),
        }
    }
}

/// `0123456789ab`, and not `Using cache` or `Running in 0123456789ab`.
fn is_image_id(text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() >= IMAGE_ID_DIGITS_MIN && text.bytes().all(hex)
}

/// The exit code in `The command '/bin/sh -c make' returned a non-zero code: 2`.
pub(super) fn exit_code(said: &str) -> Option<i64> {
    said.rsplit_once("returned a non-zero code: ")?
        .1
        .trim()
        .parse()
        .ok()
}

/// True when the step was ended by SIGKILL, which in a build is mostly the kernel's answer to want
/// of memory.
pub(crate) fn killed(said: &str) -> bool {
    exit_code(said) == Some(137)
}

/// The digest in `latest: digest: sha256:... size: 1234`, the last word of a push.
pub(crate) fn pushed_digest(status: &str) -> Option<Digest> {
    status
        .split_once("digest: ")?
        .1
        .split(' ')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_something_is_shown() {
        let mut steps = Steps::default();
        let mut shown = Vec::new();
        for text in [
            "Step 1/3 : FROM x\n",
            " ---> 0123456789ab\n",
            "Step 2/3 : ENV A=b\n ---> Using cache\n ---> ba9876543210\n",
            "Step 3/3 : RUN ma",
            "ke\n ---> Running in 0a1b2c\n",
            "compiling\r\n\nstill ",
            "compiling\n",
            "Removing intermediate container 0a1b2c\n",
        ] {
            shown.extend(steps.push(text));
        }
        let want = [
            "Step 1/3 : FROM x",
            "Step 2/3 : ENV A=b",
            "Step 3/3 : RUN make",
            "compiling",
            "still compiling",
        ];
        assert_eq!(shown, want);
        assert_eq!(steps.container(), Some("0a1b2c"));
        assert_eq!(steps.take_images(), ["0123456789ab", "ba9876543210"]);
    }

    #[test]
    fn failures_name_the_step_and_the_way_out() {
        let mut steps = Steps::default();
        assert_eq!(
            steps.failure("dockerfile parse error line 1: unknown instruction: FORM"),
            "the Dockerfile failed: dockerfile parse error line 1: unknown instruction: FORM"
        );
        steps.push("Step 2/3 : RUN make\n");
        let said = "The command '/bin/sh -c make' returned a non-zero code: 2";
        assert_eq!(
            steps.failure(said),
            "\"Step 2/3 : RUN make\" exited with code 2; the output of the build says why"
        );
        assert!(
            steps
                .hit(Hit::Memory { bytes: 512_000_000 })
                .contains("make\" ran out of memory: the limit for builds is 512 MB; make the")
        );
        assert!(!killed(said));
        assert!(killed("x returned a non-zero code: 137"));
        let denied = "pull access denied for nope, repository does not exist";
        assert!(steps.failure(denied).contains("FROM fairway/run:bookworm"));
    }

    #[test]
    fn the_digest_is_read_from_the_end_of_a_push() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let status = format!("latest: digest: {digest} size: 1234");
        assert_eq!(pushed_digest(&status).unwrap().as_str(), digest);
        assert_eq!(pushed_digest("Pushed"), None);
    }
}
