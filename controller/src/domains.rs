//! Claiming hostnames: who may have which.

use fairway_api::{
    apps::AppRef,
    domains::{DOMAINS_PER_APP_MAX, DomainKind},
    ids::{AppId, DomainId},
    names::{AppName, Hostname},
};

use crate::{
    auth::Caller,
    problem::{Answer, Problem},
    store::{
        Db,
        columns::now,
        domains::{self, DomainRow},
        events,
    },
};

/// Claims a hostname for an app. The caller commits and wakes the reconcile loop.
pub async fn claim(
    db: &mut Db,
    app: &AppRef,
    hostname: Hostname,
    base: &Hostname,
    caller: &Caller,
) -> Answer<DomainRow> {
    check(&hostname, base, &app.name)?;
    if domains::count(db, app.id).await? >= i64::from(DOMAINS_PER_APP_MAX) {
        return Err(Problem::invalid(format!(
            "An app can have at most {DOMAINS_PER_APP_MAX} domains."
        ))
        .hint("Remove one that is no longer used."));
    }
    let domain = DomainRow {
        id: DomainId::generate(),
        app: app.id,
        hostname,
        kind: DomainKind::Custom,
        created_at: now(),
    };
    domains::insert(db, &domain).await.map_err(|error| {
        if error.conflicts_on("domains.hostname") {
            // Not whose: that is nobody else's business.
            Problem::conflict(format!("{} is already in use.", domain.hostname))
                .hint("Remove it from the app that has it, or use another hostname.")
        } else {
            error.into()
        }
    })?;
    let message = format!("Domain {} was added.", domain.hostname);
    events::record(
        db,
        Some(app),
        caller.account.email.as_str(),
        "domain.added",
        &message,
    )
    .await?;
    Ok(domain)
}

/// Gives a hostname up. The caller commits and wakes the reconcile loop.
pub async fn release(db: &mut Db, app: &AppRef, which: &str, caller: &Caller) -> Answer<DomainRow> {
    let domain = find(db, app.id, which).await?;
    if domain.kind == DomainKind::BuiltIn {
        return Err(
            Problem::invalid(format!("{} comes with the app.", domain.hostname))
                .hint("It changes when the app is renamed and goes when it is destroyed."),
        );
    }
    domains::delete(db, domain.id).await?;
    let message = format!("Domain {} was removed.", domain.hostname);
    let actor = caller.account.email.as_str();
    events::record(db, Some(app), actor, "domain.removed", &message).await?;
    Ok(domain)
}

/// One of an app's domains by id or hostname, in any letter case.
pub async fn find(db: &mut Db, app: AppId, which: &str) -> Answer<DomainRow> {
    let which = which
        .parse()
        .map_or_else(|_| which.to_owned(), |name: Hostname| name.to_string());
    Ok(domains::find(db, app, &which).await?)
}

/// Names under the base domain belong to the app whose name they end in; the base domain itself is
/// nobody's.
fn check(hostname: &Hostname, base: &Hostname, app: &AppName) -> Answer<()> {
    if hostname == base {
        return Err(Problem::conflict(format!(
            "{hostname} belongs to Fairway itself."
        )));
    }
    let Some(under) = hostname
        .as_str()
        .strip_suffix(base.as_str())
        .and_then(|h| h.strip_suffix('.'))
    else {
        return if hostname.as_str().contains('.') {
            Ok(())
        } else {
            Err(
                Problem::invalid(format!("{hostname} is not a full hostname."))
                    .hint("For example: www.example.com"),
            )
        };
    };
    if under.rsplit('.').next() == Some(app.as_str()) {
        return Ok(());
    }
    Err(
        Problem::conflict(format!("{hostname} is already in use.")).hint(format!(
            "Of the names under {base}, this app can have those that end in {app}.{base}."
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names_under_the_base_domain_belong_to_their_app() {
        let table = [
            ("www.example.com", true),
            ("shop.apps.test", true),
            ("www.shop.apps.test", true),
            ("other.apps.test", false),
            ("shop.other.apps.test", false),
            ("workshop.apps.test", false),
            ("apps.test", false),
            ("notapps.test", true),
            ("localhost", false),
        ];
        for (hostname, allowed) in table {
            let (base, app) = ("apps.test".parse().unwrap(), "shop".parse().unwrap());
            let result = check(&hostname.parse().unwrap(), &base, &app);
            assert_eq!(result.is_ok(), allowed, "{hostname}: {result:?}");
        }
    }
}
