//! Phase 1: which buildpacks build this app.
//!
//! The `bin/detect` of all buildpacks of some groups run side by side, by one script in the build
//! container; what they wrote is then resolved here, group by group in the order's order.

use std::collections::BTreeMap;

use anyhow::Context as _;

use super::{
    Failed, Session,
    buildpacks::{Buildpack, Group},
    confined::Folder,
    environment::{Variables, apply_users, quote},
    plan::{self, Candidate, PlanEntry, Unresolved},
    spec::{BuildPlan, TOML_BYTES_MAX},
};
use crate::build::BuildFailure;

/// How many buildpacks detect at the same time.
const AT_ONCE_MAX: usize = 8;
/// How much of the output of a failing detection is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 2000;
/// Exit code of a `bin/detect` that does not apply.
const NOT_ME: i32 = 100;

/// The buildpacks that build, in order, and what they have to provide.
pub(crate) struct Detected {
    pub(crate) buildpacks: Vec<Buildpack>,
    /// Providers are indices into `buildpacks`.
    pub(crate) entries: Vec<PlanEntry>,
}

/// What one `bin/detect` said.
#[derive(Debug, Clone)]
struct Answer {
    code: i32,
    plan: BuildPlan,
    output: String,
}

impl Session<'_> {
    /// Finds the first group that builds this app.
    pub(super) async fn detect(&mut self, groups: &[Group]) -> Result<Detected, Failed> {
        let mut answers: BTreeMap<String, Answer> = BTreeMap::new();
        let mut reasons = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            self.ask(&groups[at..], group, &mut answers).await?;
            match choose(group, &answers) {
                Ok(detected) => return Ok(detected),
                Err(reason) => reasons.extend(reason),
            }
        }
        Err(self.nobody(groups, &answers, &reasons).into())
    }

    /// Asks the buildpacks of this group, and of those after it as many as fit, unless asked.
    async fn ask(
        &mut self,
        groups: &[Group],
        needed: &Group,
        answers: &mut BTreeMap<String, Answer>,
    ) -> Result<(), Failed> {
        let mut open: Vec<&Buildpack> = Vec::new();
        for (buildpack, _) in groups.iter().flat_map(|group| &group.members) {
            let known = answers.contains_key(&buildpack.id) || open.contains(&buildpack);
            let is_needed = needed.members.iter().any(|(member, _)| member == buildpack);
            if !known && (is_needed || open.len() < AT_ONCE_MAX) {
                open.push(buildpack);
            }
        }
        if !needed
            .members
            .iter()
            .any(|(buildpack, _)| open.contains(&buildpack))
        {
            return Ok(());
        }
        let mut script = "mkdir -p /tmp/detect && cd /workspace || exit 1\n".to_owned();
        for (at, buildpack) in open.iter().enumerate() {
            script.push_str(&command(
                at,
                buildpack,
                &self.variables_for_detect(buildpack),
            ));
        }
        script.push_str("wait\n");
        let ended = self.run(&script, true).await?;
        if ended.code != 0 {
            return Err(anyhow::anyhow!("detection ended with code {}", ended.code).into());
        }
        let tmp = Folder::open(&self.sandbox.slot().tmp()).context("read what was detected")?;
        let said = tmp
            .folder_if_any("detect")
            .context("read what was detected")?;
        let said = said.context("nothing was detected")?;
        for (at, buildpack) in open.into_iter().enumerate() {
            let answer = answer(&said, at)
                .map_err(|why| BuildFailure::new(format!("{}: {why}", buildpack.name)))?;
            answers.insert(buildpack.id.clone(), answer);
        }
        Ok(())
    }

    fn variables_for_detect(&self, buildpack: &Buildpack) -> Variables {
        let mut variables = self.base.clone();
        if !buildpack.clear_env {
            apply_users(&mut variables, &self.users);
        }
        variables.insert("CNB_BUILDPACK_DIR".into(), buildpack.dir.clone());
        variables
    }

    /// Says that no group builds this app, and why not.
    fn nobody(
        &self,
        groups: &[Group],
        answers: &BTreeMap<String, Answer>,
        reasons: &[String],
    ) -> BuildFailure {
        let output = self.lifecycle.output;
        let mut names: Vec<&str> = Vec::new();
        for (buildpack, _) in groups.iter().flat_map(|group| &group.members) {
            let Some(answer) = answers.get(&buildpack.id) else {
                continue;
            };
            if names.contains(&buildpack.name.as_str()) {
                continue;
            }
            names.push(&buildpack.name);
            let said = answer.output.trim();
            match (answer.code, said) {
                (0 | NOT_ME, "") => output.detail(format!("{}: no", buildpack.name)),
                (0 | NOT_ME, said) => output.detail(format!("{}: {said}", buildpack.name)),
                (code, said) => {
                    output.error(format!(
                        "{}: exited with code {code}\n{said}",
                        buildpack.name
                    ));
                }
            }
        }
        for reason in reasons {
            output.detail(reason);
        }
        BuildFailure::new(format!(
            "no buildpack builds this app; what was looked for is above. Tried: {}. Add the file \
             that your language needs, or a Dockerfile",
            names.join(", ")
        ))
    }
}

/// The lines that start one `bin/detect` in the background.
fn command(at: usize, buildpack: &Buildpack, variables: &Variables) -> String {
    let mut line = "(env -i".to_owned();
    let plan = format!("/tmp/detect/{at}.toml");
    let own = [("CNB_BUILD_PLAN_PATH", plan.as_str())];
    let all = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(own);
    for (name, value) in all {
        line.push(' ');
        line.push_str(&quote(&format!("{name}={value}")));
    }
    let program = quote(&format!("{}/bin/detect", buildpack.dir));
    line.push_str(&format!(
        " {program} /platform {plan} >/tmp/detect/{at}.out 2>&1; echo $? >/tmp/detect/{at}.code) &\n"
    ));
    line
}

fn answer(said: &Folder, at: usize) -> Result<Answer, String> {
    let read = |name: String, bytes_max| {
        said.read(name, bytes_max)
            .map_err(|error| format!("cannot read its answer: {error}"))
    };
    let code = read(format!("{at}.code"), 16)?.unwrap_or_default();
    let code = String::from_utf8_lossy(&code).trim().parse().unwrap_or(1);
    let output = read(format!("{at}.out"), TOML_BYTES_MAX)?.unwrap_or_default();
    let start = &output[..output.len().min(SHOWN_BYTES_MAX)];
    let output = String::from_utf8_lossy(start).into_owned();
    let plan = match read(format!("{at}.toml"), TOML_BYTES_MAX)? {
        Some(bytes) if code == 0 => toml::from_slice(&bytes)
            .map_err(|error| format!("its build plan is not valid: {error}"))?,
        _ => BuildPlan::default(),
    };
    Ok(Answer { code, plan, output })
}

/// Whether a group builds, by the answers of its members. An error names what is missing, if it is
/// more than a member that does not apply.
fn choose(group: &Group, answers: &BTreeMap<String, Answer>) -> Result<Detected, Option<String>> {
    let mut candidates = Vec::new();
    for (index, (buildpack, optional)) in group.members.iter().enumerate() {
        match answers.get(&buildpack.id) {
            Some(answer) if answer.code == 0 => candidates.push(Candidate {
                index,
                optional: *optional,
                alternatives: [answer.plan.first.clone()]
                    .into_iter()
                    .chain(answer.plan.or.iter().cloned())
                    .collect(),
            }),
            _ if *optional => {}
            _ => return Err(None),
        }
    }
    let name = |index: usize| group.members[index].0.name.as_str();
    let resolved = plan::resolve(&candidates).map_err(|why| match why {
        Unresolved::NotProvided { index, name: what } => Some(format!(
            "{} needs {what}, which no buildpack provides",
            name(index)
        )),
        Unresolved::NotRequired { index, name: what } => Some(format!(
            "{} provides {what}, which nothing needs",
            name(index)
        )),
        Unresolved::NobodyLeft => None,
    })?;
    let buildpacks: Vec<Buildpack> = resolved
        .indices
        .iter()
        .map(|&index| group.members[index].0.clone())
        .collect();
    let place = |index: &usize| resolved.indices.iter().position(|there| there == index);
    let entries = resolved.entries.iter().map(|entry| PlanEntry {
        providers: entry.providers.iter().filter_map(place).collect(),
        requires: entry.requires.clone(),
    });
    Ok(Detected {
        entries: entries.collect(),
        buildpacks,
    })
}
