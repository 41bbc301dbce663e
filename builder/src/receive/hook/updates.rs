//! What a push asks for, and what to make of it. Pure.

use fairway_api::names::{BranchName, CommitId};

use crate::receive::repositories::DEPLOY_BRANCHES_DEFAULT;

/// The most refs that one push may change. A mirror push of a big repository has some thousands.
const REF_UPDATES_MAX: usize = 10_000;
/// How many ref names a note lists.
const NAMES_LISTED_MAX: usize = 5;

/// One line of what git tells its pre-receive hook. `None` stands for git's zero id: the ref was
/// not there, or is to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefUpdate {
    pub(crate) old: Option<CommitId>,
    pub(crate) new: Option<CommitId>,
    pub(crate) name: String,
}

/// Which branches deploy.
#[derive(Debug, Clone)]
pub(crate) struct DeployBranches {
    /// The app's own choice; without it [`DEPLOY_BRANCHES_DEFAULT`].
    pub(crate) chosen: Option<BranchName>,
    /// Those of [`DEPLOY_BRANCHES_DEFAULT`] that the repository has before the push.
    pub(crate) existing: Vec<&'static str>,
}

/// What to do about a push.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// No ref moves.
    Refuse { reason: String },
    /// All refs move; `deploy` first has to succeed.
    Accept {
        deploy: Option<Deploy>,
        notes: Vec<String>,
    },
}

/// The update that deploys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deploy {
    pub(crate) branch: BranchName,
    pub(crate) old: Option<CommitId>,
    pub(crate) new: CommitId,
}

/// Reads the hook's input: `<old> SP <new> SP <ref> LF` per ref.
pub(crate) fn parse_updates(input: &str) -> Result<Vec<RefUpdate>, String> {
    let updates: Vec<RefUpdate> = input
        .lines()
        .map(|line| parse_update(line).ok_or_else(|| format!("git sent {line:?} to its hook")))
        .collect::<Result<_, _>>()?;
    if updates.len() > REF_UPDATES_MAX {
        return Err(format!(
            "the push changes {} refs, more than {REF_UPDATES_MAX}: push them in parts",
            updates.len()
        ));
    }
    Ok(updates)
}

fn parse_update(line: &str) -> Option<RefUpdate> {
    let (old, rest) = line.split_once(' ')?;
    let (new, name) = rest.split_once(' ')?;
    Some(RefUpdate {
        old: parse_id(old)?,
        new: parse_id(new)?,
        name: name.to_owned(),
    })
}

fn parse_id(text: &str) -> Option<Option<CommitId>> {
    let id: CommitId = text.parse().ok()?;
    Some((!text.bytes().all(|byte| byte == b'0')).then_some(id))
}

/// Decides about a push.
pub(crate) fn decide(updates: &[RefUpdate], branches: &DeployBranches) -> Decision {
    if let Some(reason) = updates
        .iter()
        .find_map(|update| refuse(update, updates, branches))
    {
        return Decision::Refuse { reason };
    }
    let deploys: Vec<Deploy> = updates
        .iter()
        .filter_map(|u| deploy_of(u, branches))
        .collect();
    // Only `main` and `master` together can be two: `main` is the one that is meant to last.
    let deploy = deploys
        .iter()
        .find(|deploy| deploy.branch.as_str() == "main");
    let deploy = deploy.or(deploys.first()).cloned();
    let mut notes = Vec::new();
    if let (Some(deploy), [_, _, ..]) = (&deploy, deploys.as_slice()) {
        notes.push(format!(
            "Deploying {}; the other branch is stored only",
            deploy.branch
        ));
    }
    notes.extend(stored_note(updates, branches, deploy.is_some()));
    Decision::Accept { deploy, notes }
}

/// Says no to the loss of the branch that deploys: the next push could not tell what runs.
fn refuse(update: &RefUpdate, all: &[RefUpdate], branches: &DeployBranches) -> Option<String> {
    let branch = branch_of(update)?;
    if update.new.is_some() || !branches.deploys(branch) {
        return None;
    }
    let other_stays = branches.chosen.is_none()
        && DEPLOY_BRANCHES_DEFAULT
            .iter()
            .filter(|other| **other != branch)
            .any(|other| {
                let update = all.iter().find(|update| branch_of(update) == Some(other));
                update.map_or(branches.existing.contains(other), |update| {
                    update.new.is_some()
                })
            });
    (!other_stays).then(|| {
        format!(
            "{branch} is the branch that deploys and cannot be deleted.\nTo deploy another \
             branch, choose it first: app deploy:branch NAME; to remove the app: app destroy"
        )
    })
}

fn deploy_of(update: &RefUpdate, branches: &DeployBranches) -> Option<Deploy> {
    let branch = branch_of(update)?;
    let new = update.new.clone()?;
    if !branches.deploys(branch) {
        return None;
    }
    Some(Deploy {
        branch: branch.parse().ok()?,
        old: update.old.clone(),
        new,
    })
}

/// Tells which refs were only stored, so that nobody waits for a deploy that does not come.
fn stored_note(
    updates: &[RefUpdate],
    branches: &DeployBranches,
    deploying: bool,
) -> Option<String> {
    let stored: Vec<&str> = updates
        .iter()
        .filter(|update| update.new.is_some())
        .filter(|update| branch_of(update).is_none_or(|branch| !branches.deploys(branch)))
        .map(|update| {
            update
                .name
                .strip_prefix("refs/heads/")
                .unwrap_or(&update.name)
        })
        .map(|name| name.strip_prefix("refs/tags/").unwrap_or(name))
        .collect();
    if stored.is_empty() {
        return None;
    }
    let mut note = stored[..stored.len().min(NAMES_LISTED_MAX)].join(", ");
    if let more @ 1.. = stored.len().saturating_sub(NAMES_LISTED_MAX) {
        note.push_str(&format!(" and {more} more"));
    }
    note.push_str(" stored, not deployed");
    if !deploying {
        note.push_str(&format!(": push to {} to deploy", branches.named()));
    }
    Some(note)
}

fn branch_of(update: &RefUpdate) -> Option<&str> {
    update.name.strip_prefix("refs/heads/")
}

impl DeployBranches {
    fn deploys(&self, branch: &str) -> bool {
        match &self.chosen {
            Some(chosen) => chosen.as_str() == branch,
            None => DEPLOY_BRANCHES_DEFAULT.contains(&branch),
        }
    }

    fn named(&self) -> &str {
        self.chosen
            .as_ref()
            .map_or(DEPLOY_BRANCHES_DEFAULT[0], BranchName::as_str)
    }
}

#[cfg(test)]
mod tests;
