//! What was measured, as users see it.

use fairway_api::{
    metrics::{MetricsPoint, PodMetrics, TypeMetrics},
    sizes::Resources,
};
use fairway_scheduler::{autoscale::Use, snapshot::PodIntent};
use tokio::time::Instant;

use super::Metrics;
use crate::{
    autoscale, formation,
    problem::Answer,
    store::{
        Db,
        apps::AppRow,
        pods::{self, PodRow},
    },
};

/// An app's process types.
pub async fn shown(db: &mut Db, app: &AppRow, metrics: &Metrics) -> Answer<Vec<TypeMetrics>> {
    let formation = formation::list(db, app).await?;
    let pods = pods::of_app(db, app.id).await?;
    let sidecars = formation::sidecars(db, app).await?;
    let now = Instant::now();
    let of_type = |row: fairway_api::formation::Formation| {
        let is_ours =
            |pod: &&PodRow| pod.process_type == row.process_type && pod.intent == PodIntent::Wanted;
        let up: Vec<&PodRow> = (pods.iter())
            .filter(is_ours)
            .filter(|pod| autoscale::is_up(pod))
            .collect();
        let beside = sidecars.resources(Some(&row.process_type));
        let used: Vec<Use> = (up.iter())
            .filter_map(|pod| autoscale::usage(metrics, pod, beside))
            .collect();
        let web = row.process_type.is_web();
        let requests = web.then(|| metrics.requests(app.id, now)).flatten();
        let history = if web { metrics.history(app.id) } else { vec![] };
        TypeMetrics {
            quantity: row.quantity,
            up: u32::try_from(up.len()).unwrap_or(u32::MAX),
            cpu_percent: mean(used.iter().map(|used| used.cpu)),
            memory_percent: mean(used.iter().map(|used| used.memory)),
            rps: requests.map(|it| rounded(it.rps)),
            errors: web
                .then(|| metrics.errors(app.id, now))
                .flatten()
                .map(rounded),
            p95_ms: requests.and_then(|it| it.p95_ms).map(rounded),
            open: requests.map(|it| rounded(it.open)),
            pods: pods
                .iter()
                .filter(is_ours)
                .map(|pod| of_pod(pod, beside, metrics))
                .collect(),
            history: history.into_iter().map(point).collect(),
            process_type: row.process_type,
        }
    };
    Ok(formation.into_iter().map(of_type).collect())
}

fn of_pod(pod: &PodRow, beside: Resources, metrics: &Metrics) -> PodMetrics {
    let used = autoscale::usage(metrics, pod, beside);
    PodMetrics {
        name: pod.name.clone(),
        cpu_percent: used.map(|used| rounded(used.cpu)),
        memory_bytes: metrics.used(pod.id).map(|(_, bytes)| bytes as u64),
        memory_percent: used.map(|used| rounded(used.memory)),
    }
}

fn point(point: super::Point) -> MetricsPoint {
    MetricsPoint {
        rps: point.rps,
        p95_ms: point.p95_ms,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u32), |(sum, count), it| (sum + it, count + 1));
    (count > 0).then(|| rounded(sum / f64::from(count)))
}

/// To hundredths: more would only look exact.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
