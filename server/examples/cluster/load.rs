//! Users: apps are made, scaled, deployed anew, and machines die.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    str::FromStr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use fairway_api::{
    accounts::{NewAccount, NewToken},
    apps::{APPS_PER_ACCOUNT_MAX, NewApp},
    build_orders::{BuildResult, BuiltImage, BuiltProcess, ClaimBuild, InitialFormation, NewBuild},
    builds::PushedCommit,
    client::Client,
    config_vars::ConfigPatch,
    formation::{FormationBatch, FormationUpdate, Quantity},
    images::ImageRef,
    names::{AppName, BuilderName, Email, ProcessType},
    placement::Placement,
    secret::Secret,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    agents::{self, Agent, Pod, Running},
    controller::{ADMIN, PASSWORD, node, token},
    measured::{self, Cpu, Figures, Times, memory_mb},
};

/// How many users call the API at once.
const USERS: usize = 16;
/// Pods that an app has when it is made.
const PODS_AT_FIRST: u32 = 1;
/// How many scalings, one after another at random apps, are measured alone.
const SCALINGS: usize = 200;
/// By how many pods each.
const SCALED_BY: u32 = 5;
/// How long the cluster is watched doing nothing.
const IDLE: Duration = Duration::from_secs(20);

/// In how many zones the machines stand.
const ZONES: usize = 20;

/// What to measure with.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Machines and pods in all, as `1000:30000`; one after another
    #[arg(required = true)]
    sizes: Vec<Size>,
    /// Pods of each app
    #[arg(long, default_value_t = 50)]
    per_app: u32,
}

/// How large a cluster is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    nodes: usize,
    pods: usize,
}

impl FromStr for Size {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (nodes, pods) = text.split_once(':').context("write MACHINES:PODS")?;
        Ok(Self {
            nodes: nodes.parse()?,
            pods: pods.parse()?,
        })
    }
}

impl Load {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut all = Vec::new();
        for size in &self.sizes {
            all.push(self.measure_one(*size).await?);
            println!();
        }
        let names: Vec<String> = self
            .sizes
            .iter()
            .map(|size| format!("{} / {}", size.nodes, size.pods))
            .collect();
        measured::compare(&names, &all);
        Ok(())
    }

    async fn measure_one(&self, size: Size) -> anyhow::Result<Figures> {
        let data = tempfile::tempdir()?;
        let mut controller = Command::new(std::env::current_exe()?)
            .args(["controller", "--nodes", &size.nodes.to_string(), "--data"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()?;
        let outcome = self.measure(size, &mut controller).await;
        controller.kill()?;
        controller.wait()?;
        outcome
    }

    async fn measure(&self, size: Size, controller: &mut Child) -> anyhow::Result<Figures> {
        let stdout = controller
            .stdout
            .take()
            .context("the controller's output")?;
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address)?;
        let client = Client::new(address.trim().parse()?, None);
        let mut bench = Bench {
            pid: controller.id(),
            admin: log_in(&client, &ADMIN.parse()?).await?,
            builder: client.with_token(token("builder", "b1")),
            running: Arc::default(),
            figures: Figures::default(),
            client,
        };
        let stops = bench.join(size.nodes);
        // However it ends, the next size has the processors for itself.
        let guards = stops.iter().map(|stop| stop.clone().drop_guard());
        let _stop: Vec<DropGuard> = guards.collect();
        let count = size.pods.div_ceil(self.per_app as usize);
        println!(
            "{} machines, {} pods of {count} apps",
            size.nodes, size.pods
        );
        let apps = bench.make_apps(count).await?;
        bench.fill(&apps, self.per_app).await?;
        bench.idle().await;
        bench.scale_alone(&apps, self.per_app).await?;
        bench.deploy_everything(&apps).await?;
        bench.lose(&stops, "machine", &[0]).await;
        let zone: Vec<usize> = (1..size.nodes).step_by(ZONES).collect();
        bench.lose(&stops, "zone", &zone).await;
        Ok(bench.figures)
    }
}

struct Bench {
    pid: u32,
    client: Client,
    admin: Client,
    builder: Client,
    running: Arc<Running>,
    figures: Figures,
}

async fn log_in(client: &Client, email: &Email) -> anyhow::Result<Client> {
    let wanted = NewToken {
        description: None,
        expires_in: None,
    };
    let token = client
        .log_in(email, &Secret::new(PASSWORD), &wanted)
        .await?;
    let access = token.access_token.context("a token without its secret")?;
    Ok(client.with_token(access.token))
}

impl Bench {
    /// Starts the router and the agents; each stops when its token is cancelled.
    fn join(&self, nodes: usize) -> Vec<CancellationToken> {
        let end = CancellationToken::new();
        let router = agents::route(self.client.clone());
        tokio::spawn(end.clone().run_until_cancelled_owned(async move {
            if let Err(error) = router.await {
                eprintln!("the router: {error:#}");
            }
        }));
        let agents = (0..nodes).map(|number| {
            let zone = format!("z{}", number % ZONES);
            let agent = Agent::new(number, &zone, &self.client, &self.running);
            let stop = CancellationToken::new();
            tokio::spawn(agent.run(stop.clone()));
            stop
        });
        agents.chain([end]).collect()
    }

    async fn make_apps(&mut self, count: usize) -> anyhow::Result<Vec<AppName>> {
        let from = Instant::now();
        let apps: Vec<AppName> = (0..count)
            .map(|number| format!("app-{number}").parse())
            .collect::<Result<_, _>>()?;
        for (number, apps) in apps.chunks(APPS_PER_ACCOUNT_MAX as usize).enumerate() {
            let owner = self.account(number).await?;
            for app in apps {
                let new = NewApp {
                    name: Some(app.clone()),
                };
                owner.create_app(&new).await?;
                self.push(app).await?;
            }
        }
        self.running.until(|pods| pods.len() >= count).await;
        let secs = from.elapsed().as_secs_f64();
        println!("made and deployed in {secs:.1} s");
        Ok(apps)
    }

    /// A user of their own for as many apps as one may have.
    async fn account(&self, number: usize) -> anyhow::Result<Client> {
        let email: Email = format!("user-{number}@example.com").parse()?;
        let account = NewAccount {
            email: email.clone(),
            password: Secret::new(PASSWORD),
            role: None,
        };
        self.admin.create_account(&account).await?;
        log_in(&self.client, &email).await
    }

    /// What a builder does for a push.
    async fn push(&self, app: &AppName) -> anyhow::Result<()> {
        let user = self.admin.account().await?;
        let builder: BuilderName = "b1".parse()?;
        let queued = NewBuild {
            app: app.clone(),
            user: fairway_api::accounts::UserRef {
                id: user.id,
                email: user.email,
            },
            builder: builder.clone(),
            commit: PushedCommit {
                id: "ab".repeat(20).parse()?,
                branch: "main".parse()?,
                summary: String::new(),
                author: String::new(),
            },
        };
        self.builder.queue_build(&queued).await?;
        let claim = ClaimBuild {
            builder,
            in_hand: BTreeSet::new(),
        };
        let order = self
            .builder
            .claim_build(&claim)
            .await?
            .context("no build")?;
        let web: ProcessType = "web".parse()?;
        let image = BuiltImage {
            image: ImageRef {
                registry: order.registry.host.clone(),
                repository: order.repository.clone(),
                digest: format!("sha256:{}", "ab".repeat(32)).parse()?,
            },
            size_bytes: 1,
            built_with: "bench".into(),
            buildpacks: vec![],
            processes: [(
                web.clone(),
                BuiltProcess {
                    command_line: "serve".into(),
                    entrypoint: None,
                    command: Some(vec!["serve".into()]),
                    checks: None,
                    stop: None,
                },
            )]
            .into(),
            exposed_port: None,
            formation: [(
                web,
                InitialFormation {
                    quantity: PODS_AT_FIRST,
                    size: None,
                    placement: Placement::default(),
                },
            )]
            .into(),
            cron: [].into(),
            sidecars: Default::default(),
            strategy: None,
        };
        let result = BuildResult::Succeeded(image);
        self.builder.finish_build(order.id, &result).await?;
        Ok(())
    }

    /// Scales every app to its full count, all at once.
    async fn fill(&mut self, apps: &[AppName], count: u32) -> anyhow::Result<()> {
        let wanted = apps.len() * count as usize;
        let before = self.running.all().len();
        let (from, cpu) = (Instant::now(), Cpu::of(self.pid));
        let asked = self.for_each(apps, |app| self.scale(app, count));
        let (asked, ()) = tokio::join!(asked, self.running.until(|pods| pods.len() >= wanted));
        let secs = from.elapsed().as_secs_f64();
        let rate = (wanted - before) as f64 / secs;
        self.figures
            .add("request to running, all apps", "pods/s", rate);
        println!(
            "scaled all up:        {:.1} s, {:.0} pods/s from request to running; API {}; controller {:.0} % CPU",
            secs,
            rate,
            asked?.line(),
            cpu.percent()
        );
        Ok(())
    }

    async fn idle(&mut self) {
        // What was just done still settles: reports, routes.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let cpu = Cpu::of(self.pid);
        tokio::time::sleep(IDLE).await;
        let (percent, memory) = (cpu.percent(), memory_mb(self.pid));
        self.figures.add("steady, of a core", "%", percent);
        self.figures.add("steady, memory", "MB", memory as f64);
        println!("steady:               controller {percent:.1} % of a core, {memory} MB");
    }

    /// One scaling after another: the time from the request until the last of its pods runs.
    async fn scale_alone(&mut self, apps: &[AppName], count: u32) -> anyhow::Result<()> {
        let api = ApiProbe::start(self.admin.clone(), apps.to_vec());
        let (mut starts, mut asked) = (Times::default(), Times::default());
        for number in 0..SCALINGS {
            let app = &apps[number * 7919 % apps.len()];
            let to = count + SCALED_BY * u32::try_from(number / apps.len() + 1)?;
            let known: BTreeSet<_> = self.running.all().into_keys().collect();
            let from = Instant::now();
            self.scale(app, to).await?;
            asked.push(from.elapsed());
            let new = |pods: &BTreeMap<_, Pod>| {
                let new = pods
                    .iter()
                    .filter(|(id, pod)| pod.app == *app && !known.contains(id));
                new.map(|(_, pod)| pod.at).collect::<Vec<_>>()
            };
            self.running
                .until(|pods| new(pods).len() >= SCALED_BY as usize)
                .await;
            for at in new(&self.running.all()) {
                starts.push(at - from);
            }
        }
        println!("scale to running:     p50 / p99 / max {}", starts.line());
        println!("  its API calls:      p50 / p99 / max {}", asked.line());
        let others = api.stop();
        println!("  other API calls:    p50 / p99 / max {}", others.line());
        self.figures.add_times("pod start", &starts);
        self.figures.add_times("API", &others);
        Ok(())
    }

    /// A config change of every app: every pod is replaced.
    async fn deploy_everything(&mut self, apps: &[AppName]) -> anyhow::Result<()> {
        let old: BTreeSet<_> = self.running.all().into_keys().collect();
        let api = ApiProbe::start(self.admin.clone(), apps.to_vec());
        let (from, cpu) = (Instant::now(), Cpu::of(self.pid));
        let admin = &self.admin;
        let asked = self.for_each(apps, |app| async move {
            let patch: ConfigPatch = serde_json::from_str(r#"{"GREETING":"hello"}"#)?;
            admin.update_config_vars(app, &patch).await?;
            Ok(())
        });
        let replaced = self
            .running
            .until(|pods| pods.keys().all(|id| !old.contains(id)));
        let (asked, ()) = tokio::join!(asked, replaced);
        let secs = from.elapsed().as_secs_f64();
        let (rate, memory) = (old.len() as f64 / secs, memory_mb(self.pid));
        println!(
            "rollout of everything: {:.1} s, {:.0} pods/s; API {}; controller {:.0} % CPU, {} MB",
            secs,
            rate,
            asked?.line(),
            cpu.percent(),
            memory
        );
        let others = api.stop();
        println!("  other API calls:    p50 / p99 / max {}", others.line());
        self.figures.add("rollout of everything", "pods/s", rate);
        self.figures.add("rollout, memory", "MB", memory as f64);
        self.figures.add_times("rollout, API", &others);
        Ok(())
    }

    /// Power fails on these machines: from the first pod that is replaced elsewhere, which is the
    /// decision, to the last.
    async fn lose(&mut self, stops: &[CancellationToken], what: &str, machines: &[usize]) {
        let names: BTreeSet<_> = machines.iter().map(|number| node(*number)).collect();
        let all = self.running.all();
        let lost = all
            .values()
            .filter(|pod| names.contains(pod.node.as_str()))
            .count();
        let known: BTreeSet<_> = all.into_keys().collect();
        let from = Instant::now();
        machines.iter().for_each(|number| stops[*number].cancel());
        let new = |pods: &BTreeMap<_, Pod>| -> Vec<Instant> {
            let new = pods.iter().filter(|(id, _)| !known.contains(id));
            new.map(|(_, pod)| pod.at).collect()
        };
        self.running.until(|pods| new(pods).len() >= lost).await;
        let mut times = new(&self.running.all());
        times.sort_unstable();
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return;
        };
        let took = (*last - *first).as_secs_f64() * 1e3;
        println!(
            "lost a {what} ({} of the machines) with {lost} pods: first runs elsewhere after {:.1} s, last {took:.0} ms later",
            machines.len(),
            (*first - from).as_secs_f64(),
        );
        self.figures
            .add(&format!("lost {what}, pods"), "", lost as f64);
        self.figures.add(
            &format!("lost {what}, all elsewhere after the first"),
            "ms",
            took,
        );
    }

    async fn scale(&self, app: &AppName, count: u32) -> anyhow::Result<()> {
        let batch = FormationBatch {
            updates: vec![FormationUpdate {
                process_type: "web".parse()?,
                quantity: Some(Quantity::Exactly(count)),
                size: None,
            }],
        };
        self.admin.scale(app, &batch).await?;
        Ok(())
    }

    /// Does something to every app, a few at once; gives how long each took.
    async fn for_each<'a, F, Fut>(&self, apps: &'a [AppName], act: F) -> anyhow::Result<Times>
    where
        F: Fn(&'a AppName) -> Fut,
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let times = Mutex::new(Times::default());
        stream::iter(apps)
            .map(|app| {
                let (act, times) = (&act, &times);
                async move {
                    let from = Instant::now();
                    act(app).await?;
                    times.lock().unwrap().push(from.elapsed());
                    anyhow::Ok(())
                }
            })
            .buffer_unordered(USERS)
            .try_collect::<()>()
            .await?;
        Ok(times.into_inner().unwrap())
    }
}

/// Somebody who looks at apps all the time.
struct ApiProbe {
    stop: CancellationToken,
    times: Arc<Mutex<Times>>,
}

impl ApiProbe {
    fn start(client: Client, apps: Vec<AppName>) -> Self {
        let probe = Self {
            stop: CancellationToken::new(),
            times: Arc::default(),
        };
        let (stop, times) = (probe.stop.clone(), Arc::clone(&probe.times));
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            for app in apps.iter().cycle() {
                let from = Instant::now();
                let looked = tokio::try_join!(client.app(app), client.formation(app));
                if let Err(error) = looked {
                    eprintln!("the API: {error}");
                }
                times.lock().unwrap().push(from.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }));
        probe
    }

    fn stop(self) -> Times {
        self.stop.cancel();
        self.times.lock().unwrap().clone()
    }
}
