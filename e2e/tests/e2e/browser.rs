//! A real browser under WebDriver, with a profile of its own, gone when dropped.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdout, Command, Stdio},
};

use anyhow::{Context, ensure};
use fairway_e2e::{Platform, eventually};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;
use tempfile::TempDir;

/// What a browser must not do by itself in a test, and what it needs to run without a screen.
const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// How wide and high the page is, in CSS pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Screen {
    Wide,
    Phone,
}

impl Screen {
    fn size(self) -> (u32, u32) {
        match self {
            Self::Wide => (1280, 900),
            Self::Phone => (390, 844),
        }
    }
}

/// One window on the dashboard of one platform.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) page: Client,
    base: String,
    // In this order: the browser writes into its profile until its driver has ended.
    _driver: Driver,
    _profile: TempDir,
}

impl Browser {
    pub(crate) async fn start(platform: &Platform, screen: Screen) -> anyhow::Result<Self> {
        let profile = tempfile::Builder::new()
            .prefix("fairway-chrome-")
            .tempdir()?;
        let driver = Driver::start()?;
        let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let (width, height) = screen.size();
        let options = json!({
            "args": arguments,
            // A window cannot be as narrow as a phone; an emulated screen can.
            "mobileEmulation": { "deviceMetrics": {
                "width": width, "height": height, "pixelRatio": 1.0,
                "mobile": matches!(screen, Screen::Phone), "touch": false,
            } },
        });
        let mut capabilities = fantoccini::wd::Capabilities::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        // The test answers questions itself.
        capabilities.insert("unhandledPromptBehavior".into(), json!("ignore"));
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .context("open a browser; is chromium installed?")?;
        Ok(Self {
            page,
            base: platform.url(),
            _driver: driver,
            _profile: profile,
        })
    }

    /// Logs in through the form, as the first account.
    pub(crate) async fn log_in(&self, platform: &Platform) -> anyhow::Result<()> {
        self.open("/login").await?;
        let email = platform.client().account().await?.email;
        self.fill("input[name=email]", email.as_str()).await?;
        self.fill("input[name=password]", platform.password().expose())
            .await?;
        self.click("main button").await?;
        self.path_is("/dashboard").await
    }

    pub(crate) async fn open(&self, path: &str) -> anyhow::Result<()> {
        Ok(self.page.goto(&format!("{}{path}", self.base)).await?)
    }

    pub(crate) async fn fill(&self, field: &str, text: &str) -> anyhow::Result<()> {
        let field = self.page.find(Locator::Css(field)).await?;
        Ok(field.send_keys(text).await?)
    }

    pub(crate) async fn click(&self, what: &str) -> anyhow::Result<()> {
        Ok(self.page.find(Locator::Css(what)).await?.click().await?)
    }

    /// Waits until the browser is at this path.
    pub(crate) async fn path_is(&self, path: &str) -> anyhow::Result<()> {
        let what = format!("the browser is at {path}");
        self.sees(&what, &format!("location.pathname === {path:?}"))
            .await
    }

    /// Waits until an expression of JavaScript is true on the page.
    pub(crate) async fn sees(&self, what: &str, expression: &str) -> anyhow::Result<()> {
        let script = format!("return Boolean({expression});");
        let seen = eventually(what, || async {
            // Between two pages there is nothing that could answer.
            let answer = self.page.execute(&script, Vec::new()).await;
            Ok(answer.ok().filter(|answer| answer == true))
        });
        match seen.await {
            Ok(_) => Ok(()),
            Err(error) => {
                let page = self.evaluate("location.href + '\\n' + document.body.innerText");
                Err(error.context(format!("the page was: {}", page.await?)))
            }
        }
    }

    /// What an expression of JavaScript is on the page.
    pub(crate) async fn evaluate(&self, expression: &str) -> anyhow::Result<serde_json::Value> {
        let script = format!("return {expression};");
        Ok(self.page.execute(&script, Vec::new()).await?)
    }
}

/// chromedriver on a free port.
#[derive(Debug)]
struct Driver {
    process: Child,
    port: u16,
    /// Kept open, since who writes into a closed pipe is ended.
    output: BufReader<ChildStdout>,
}

impl Driver {
    fn start() -> anyhow::Result<Self> {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start chromedriver, of Debian's package chromium-driver")?;
        let output = process.stdout.take().context("its output is piped")?;
        let mut driver = Self {
            process,
            port: 0,
            output: BufReader::new(output),
        };
        for line in driver.output.by_ref().lines() {
            // "ChromeDriver was started successfully on port 41234."
            if let Some((_, port)) = line?.split_once("successfully on port ") {
                driver.port = port.trim_end_matches('.').parse()?;
                break;
            }
        }
        ensure!(driver.port != 0, "chromedriver did not say its port");
        Ok(driver)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Its browser would outlive a driver that is only killed.
        let shutdown = format!("http://127.0.0.1:{}/shutdown", self.port);
        drop(
            Command::new("curl")
                .args(["--silent", "--noproxy", "*", "--max-time", "10", &shutdown])
                .output(),
        );
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
