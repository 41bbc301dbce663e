//! The dashboard in a real browser: what a person clicks, and what moves by itself.

use anyhow::ensure;
use fairway_e2e::{Platform, Repository, eventually};

use crate::{
    OnShared,
    browser::{Browser, Screen},
    sample,
};

pub(crate) const TESTS: &[(&str, OnShared)] = &[
    ("dashboard_from_login_to_rollback", from_login_to_rollback),
    ("dashboard_fits_a_phone", fits_a_phone),
];

fn from_login_to_rollback(platform: &Platform) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let browser = Browser::start(platform, Screen::Wide).await?;
        browser.log_in(platform).await?;
        deploy(platform, &browser).await?;
        log(platform, &browser).await?;
        config_var(&browser).await?;
        page_is(platform, "/env/GREETING", "two\nlines").await?;
        roll_back(&browser).await?;
        page_is(platform, "/env/GREETING", "unset").await
    })
}

/// A new app, and its first pod on a page that is not loaded again.
async fn deploy(platform: &Platform, browser: &Browser) -> anyhow::Result<()> {
    browser.fill("input[name=name]", "clicked").await?;
    browser.click("main button").await?;
    browser.path_is("/dashboard/apps/clicked").await?;
    browser
        .sees(
            "an app without processes",
            "document.body.innerText.includes('first push')",
        )
        .await?;
    browser.evaluate("window.sameDocument = true").await?;

    let repository = Repository::new(&platform.token())?;
    let remote = format!("{}/clicked.git", platform.url());
    repository.git(&["remote", "add", "fairway", &remote])?;
    sample::docker_app(&repository, "clicked")?;
    repository.commit("first")?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);

    browser
        .sees(
            "web.1 is up on the page that was open before the push",
            "window.sameDocument && \
             document.querySelector('[data-pod=\"web.1\"] .badge')?.textContent === 'up'",
        )
        .await
}

/// A line of the past, then one that comes while the page is open.
async fn log(platform: &Platform, browser: &Browser) -> anyhow::Result<()> {
    browser.open("/dashboard/apps/clicked/logs").await?;
    let line = |text: &str| {
        format!("document.querySelector('.terminal').textContent.includes('web.1 {text}')")
    };
    browser.sees("the log's past", &line("listening")).await?;
    ensure!(browser.evaluate(&line("page /needle")).await? == false);
    ensure!(platform.get("clicked", "/needle")?.0 == 200);
    browser
        .sees("a line that came later", &line("page /needle"))
        .await
}

async fn config_var(browser: &Browser) -> anyhow::Result<()> {
    browser.open("/dashboard/apps/clicked/config").await?;
    browser.fill("label input[name=name]", "GREETING").await?;
    browser
        .fill("label textarea[name=value]", "two\nlines")
        .await?;
    browser.click("button.primary").await?;
    browser
        .sees(
            "the var is listed, its value hidden",
            "document.querySelector('table').innerText.includes('GREETING') && \
             !document.querySelector('details').open",
        )
        .await
}

async fn roll_back(browser: &Browser) -> anyhow::Result<()> {
    browser.open("/dashboard/apps/clicked/releases").await?;
    let live = |version: u32| {
        format!(
            "document.querySelector('[data-release=\"{version}\"] .badge')?.textContent === 'live'"
        )
    };
    browser.sees("the config var's release", &live(2)).await?;
    browser.click("#return-1").await?;
    let question = browser.page.get_alert_text().await?;
    ensure!(question.contains("v1"), "{question}");
    browser.page.accept_alert().await?;
    browser.sees("the rollback's release", &live(3)).await
}

/// Waits until the app answers with `text`.
async fn page_is(platform: &Platform, path: &str, text: &str) -> anyhow::Result<()> {
    eventually(&format!("{path} says {text:?}"), || async {
        let page = platform.get("clicked", path)?;
        Ok((page == (200, text.into())).then_some(()))
    })
    .await
}

/// No page is wider than the screen, even with the longest of everything.
fn fits_a_phone(platform: &Platform) -> anyhow::Result<()> {
    const APP: &str = "an-app-whose-name-is-very-long";
    let repository = platform.create_app(APP)?;
    sample::docker_app(&repository, "phone")?;
    repository.commit(&"long".repeat(60))?;
    let pushed = repository.push(&["fairway", "main"])?;
    ensure!(pushed.ok, "{}", pushed.output);
    let long = "x".repeat(200);
    platform.app_ok(&["config:set", &format!("LONG_{long:.80}={long}"), "-a", APP])?;
    let domain = format!("{long:.60}.{long:.60}.example");
    platform.app_ok(&["domains:add", &domain, "-a", APP])?;
    ensure!(platform.get(APP, &format!("/{long}"))?.0 == 200);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let build = platform.client().builds(&APP.parse()?).await?.remove(0).id;
        let app = format!("/dashboard/apps/{APP}");
        let browser = Browser::start(platform, Screen::Phone).await?;
        browser.open("/login").await?;
        fits(&browser, "/login").await?;
        browser.log_in(platform).await?;
        let mut pages = vec!["/dashboard".to_owned(), app.clone(), "/dashboard/no".into()];
        for tab in ["logs", "releases", "builds", "config", "domains"] {
            pages.push(format!("{app}/{tab}"));
        }
        pages.push(format!("{app}/builds/{build}"));
        for page in pages {
            browser.open(&page).await?;
            fits(&browser, &page).await?;
        }
        Ok(())
    })
}

async fn fits(browser: &Browser, page: &str) -> anyhow::Result<()> {
    browser
        .sees(
            "all streamed text is there",
            "[...document.querySelectorAll('.terminal')].every((log) => log.childElementCount > 0)",
        )
        .await?;
    let opened = "document.querySelectorAll('details').forEach((d) => { d.open = true; })";
    browser.evaluate(opened).await?;
    let styled = browser.evaluate("document.styleSheets[0].cssRules.length > 0");
    ensure!(styled.await? == true, "{page} has no style");
    let screen = browser.evaluate("document.documentElement.clientWidth");
    ensure!(screen.await? == 390, "the screen is no phone's");
    let wide = browser
        .evaluate("document.documentElement.scrollWidth")
        .await?;
    ensure!(wide.as_u64() <= Some(390), "{page} is {wide} wide");
    Ok(())
}
