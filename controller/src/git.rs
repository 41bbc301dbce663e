//! Who may fetch from and push to an app's repository.

use fairway_api::{
    build_orders::{GitAccess, GitAuthorize, GitCredential, GitGrant},
    error::ErrorId,
    ids::AppId,
};

use crate::{
    apps,
    auth::{self, Caller, Presented},
    problem::{Answer, Problem},
    state::AppState,
    store::{self, StoreError, columns::now, events, keys},
};

/// Answers a builder that has a git client waiting.
pub async fn authorize(state: &AppState, ask: GitAuthorize) -> Answer<GitGrant> {
    let caller = who(state, &ask.credential).await?;
    let found = store::apps::find(&mut *state.store.read().await?, ask.app.as_str()).await;
    let (app, created) = match found {
        Ok(app) if caller.may_use(&app) => (app, false),
        // Whose it is, or that it is, is nobody else's business; that the name is free neither.
        Ok(_) => return Err(no_such_app(state, &ask)),
        Err(StoreError::NotFound { .. })
            if state.config.create_on_push && ask.access == GitAccess::Write =>
        {
            let mut tx = state.store.write().await?;
            let app = apps::create(state, &mut tx, &caller.user(), Some(ask.app)).await?;
            tx.commit().await?;
            state.wake.app(app.id);
            (app, true)
        }
        Err(StoreError::NotFound { .. }) => return Err(no_such_app(state, &ask)),
        Err(error) => return Err(error.into()),
    };
    Ok(GitGrant {
        user: caller.user(),
        app: app.app(),
        deploy_branch: app.deploy_branch,
        repository_bytes_max: state.config.repository_bytes_max,
        created,
    })
}

/// Removes an app that was made for a push that stored nothing, unless somebody has used it since.
pub async fn give_up(state: &AppState, id: AppId) -> Answer<()> {
    let mut tx = state.store.write().await?;
    let app = match store::apps::get(&mut tx, id).await {
        Ok(app) => app,
        Err(StoreError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let untouched = app.last_release_version == 0 && app.config_version == 1;
    if !untouched || !store::builds::ids(&mut tx, id).await?.is_empty() {
        return Ok(());
    }
    let message = format!(
        "App {} was destroyed: the push that made it stored nothing.",
        app.name
    );
    apps::destroy(&mut tx, &app.app(), events::ACTOR_PLATFORM, &message).await?;
    tx.commit().await?;
    apps::forget(state, id, Vec::new()).await;
    Ok(())
}

async fn who(state: &AppState, credential: &GitCredential) -> Answer<Caller> {
    match credential {
        GitCredential::Key { fingerprint } => {
            let owner = keys::owner(&mut *state.store.read().await?, fingerprint).await?;
            let account = owner.ok_or_else(|| {
                Problem::new(ErrorId::Unauthorized, "This SSH key belongs to no account.")
                    .hint("Add it with `app keys:add`.")
            })?;
            Ok(Caller {
                account,
                token: None,
            })
        }
        GitCredential::Basic { username, password } => {
            let presented = Presented::Basic {
                username: username.clone(),
                password: password.clone(),
            };
            if let Some(caller) = auth::caller(&state.store, presented.token(), now()).await? {
                return Ok(caller);
            }
            let refused = || {
                Problem::new(ErrorId::Unauthorized, "Invalid credentials provided.")
                    .hint("Give an API token as password (`app login` makes one).")
            };
            let email = username.parse().map_err(|_| refused())?;
            let account = state.logins.check(&state.store, &email, password).await?;
            Ok(Caller {
                account,
                token: None,
            })
        }
    }
}

fn no_such_app(state: &AppState, ask: &GitAuthorize) -> Problem {
    let name = &ask.app;
    let problem = Problem::not_found(&format!("app ({name})"));
    let push = ask.access == GitAccess::Write && !state.config.create_on_push;
    if push {
        problem.hint(format!(
            "Create it with `app create {name}`, or check the remote's URL."
        ))
    } else {
        problem.hint("Check the name, and that you are logged in as its owner.")
    }
}
