//! Stack images as files: made once per machine and kept.
//!
//! ```text
//! DIR/KEY-run/layer.tar.gz    the root file system, compressed
//! DIR/KEY-run/layer.json      its digests and size; written last, so its presence means "complete"
//! DIR/KEY-run.lock            held while the image is made
//! ```

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, bail};
use fairway_api::names::Digest;
use flate2::{Compression, write::GzEncoder};
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{ChildStderr, ChildStdout, Command},
    time::Instant,
};

use super::{Progress, StackImage, recipe::Recipe};
use crate::{
    lifecycle::digest::{self, DigestWriter},
    publish::{BlobFile, MANIFEST_TYPE},
};

/// How many last lines of a failed mmdebstrap the error repeats.
const ERROR_LINES_MAX: usize = 12;
/// The type of a layer in a manifest.
pub(crate) const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The type of a configuration in a manifest.
pub(crate) const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
/// The date of the images, which is that of the newest file in them.
const CREATED: &str = "2023-06-10T00:00:00Z";
/// How much is copied at a time, in bytes.
const COPY_BYTES: usize = 1024 * 1024;

/// The folder of finished images.
pub(crate) struct StackFiles {
    dir: PathBuf,
}

/// What `layer.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct LayerRecord {
    diff_id: Digest,
    digest: Digest,
    size_bytes: u64,
}

impl StackFiles {
    /// Opens the folder, and makes it when it is not there.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(dir)
            .with_context(|| format!("make the folder for stack images, {}", dir.display()))?;
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The image of this recipe; made now if it was never made on this machine.
    pub(crate) async fn image(
        &self,
        recipe: &Recipe,
        progress: Progress<'_>,
    ) -> anyhow::Result<StackImage> {
        let dir = self
            .dir
            .join(format!("{}-{}", recipe.key(), recipe.role.name()));
        if let Some(record) = finished(&dir) {
            return image(recipe, &dir, record);
        }
        let lock = self.lock(&dir.with_extension("lock")).await?;
        // Another process may have made it while this one waited.
        let record = match finished(&dir) {
            Some(record) => record,
            None => make(recipe, &dir, progress).await.with_context(|| {
                format!(
                    "make the {} image from Debian's packages",
                    recipe.role.name()
                )
            })?,
        };
        drop(lock);
        image(recipe, &dir, record)
    }

    /// Waits until no other process makes an image here.
    async fn lock(&self, path: &Path) -> anyhow::Result<File> {
        let path = path.to_owned();
        let locked = tokio::task::spawn_blocking(move || {
            let file = File::create(&path)?;
            file.lock()?;
            Ok::<_, std::io::Error>(file)
        });
        locked.await?.context("lock the folder of stack images")
    }
}

fn finished(dir: &Path) -> Option<LayerRecord> {
    let record: LayerRecord =
        serde_json::from_slice(&fs::read(dir.join("layer.json")).ok()?).ok()?;
    let size = fs::metadata(dir.join("layer.tar.gz")).ok()?.len();
    (size == record.size_bytes).then_some(record)
}

async fn make(recipe: &Recipe, dir: &Path, progress: Progress<'_>) -> anyhow::Result<LayerRecord> {
    let started = Instant::now();
    let name = recipe.role.name();
    progress(&format!(
        "Making the {name} image from Debian {} packages (once per machine, one to three minutes)",
        recipe.suite
    ));
    let scratch = dir.join("scratch");
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
    }
    fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    let mut command = Command::new("mmdebstrap");
    if rustix::process::geteuid().is_root() {
        // Where the next try cleans up after one that was killed. Without root, mmdebstrap works as
        // a user of a namespace, who may not get this far.
        command.env("TMPDIR", &scratch);
    }
    let mut child = command
        .args(recipe.arguments())
        .env("SOURCE_DATE_EPOCH", Recipe::source_date_epoch())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start mmdebstrap; it is in the Debian package of that name")?;
    let stdout = child.stdout.take().context("mmdebstrap has no output")?;
    let stderr = child
        .stderr
        .take()
        .context("mmdebstrap has no error output")?;
    let path = dir.join("layer.tar.gz");
    let packed = tokio::task::spawn_blocking(move || pack(stdout, &path));
    let last_lines = follow(stderr, name, started, progress).await;
    let status = child.wait().await.context("wait for mmdebstrap")?;
    let record = packed.await??;
    if !status.success() {
        bail!("mmdebstrap failed ({status}):\n{}", last_lines.join("\n"));
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("remove {}", scratch.display()))?;
    let bytes = serde_json::to_vec_pretty(&record)?;
    let unfinished = dir.join("layer.json.new");
    fs::write(&unfinished, bytes)?;
    fs::rename(&unfinished, dir.join("layer.json"))?;
    progress(&format!(
        "Made the {name} image: {:.0} MB compressed, in {:.0} s",
        record.size_bytes as f64 / 1e6,
        started.elapsed().as_secs_f64()
    ));
    Ok(record)
}

/// Compresses what mmdebstrap writes, and takes the digests on the way.
fn pack(stdout: ChildStdout, path: &Path) -> anyhow::Result<LayerRecord> {
    let mut tar = File::from(stdout.into_owned_fd()?);
    let file = File::create(path).with_context(|| format!("make {}", path.display()))?;
    let gzip = GzEncoder::new(DigestWriter::new(file), Compression::fast());
    let mut plain = DigestWriter::new(gzip);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match std::io::Read::read(&mut tar, &mut buffer).context("read from mmdebstrap")? {
            0 => break,
            count => plain
                .write_all(&buffer[..count])
                .with_context(|| format!("write {}", path.display()))?,
        }
    }
    let (gzip, diff_id, _) = plain.finish();
    let compressed = gzip
        .finish()
        .with_context(|| format!("write {}", path.display()))?;
    let (file, digest, size_bytes) = compressed.finish();
    file.sync_all()
        .with_context(|| format!("write {}", path.display()))?;
    Ok(LayerRecord {
        diff_id,
        digest,
        size_bytes,
    })
}

/// Passes on what mmdebstrap says it does, and keeps its last lines.
async fn follow(
    stderr: ChildStderr,
    name: &str,
    started: Instant,
    progress: Progress<'_>,
) -> Vec<String> {
    let mut lines = BufReader::new(stderr).lines();
    let mut last = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(step) = step(&line) {
            progress(&format!(
                "{name} image: {step} ({:.0} s)",
                started.elapsed().as_secs_f64()
            ));
        }
        if last.len() == ERROR_LINES_MAX {
            last.remove(0);
        }
        last.push(line);
    }
    last
}

/// The steps worth telling, among all that mmdebstrap says.
fn step(line: &str) -> Option<&str> {
    let step = line.strip_prefix("I: ")?.trim_end_matches('.');
    let told = [
        "downloading packages",
        "installing essential",
        "installing remaining",
        "creating tarball",
    ];
    told.iter()
        .any(|start| step.starts_with(start))
        .then_some(step)
}

/// The image whose only layer is in `dir`. Equal layers give equal bytes.
fn image(recipe: &Recipe, dir: &Path, record: LayerRecord) -> anyhow::Result<StackImage> {
    let mut labels = serde_json::json!({
        "io.buildpacks.stack.id": recipe.stack_id(),
        "io.buildpacks.base.distro.name": "debian",
        "io.buildpacks.base.distro.version": "12",
        "dev.fairway.stack": recipe.key(),
    });
    let user = super::recipe::USER_ID;
    labels["io.buildpacks.stack.maintainer"] = "Fairway".into();
    let config = serde_json::json!({
        "created": CREATED,
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": format!("{user}:{user}"),
            "Env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "LANG=C.UTF-8",
                format!("CNB_USER_ID={user}"),
                format!("CNB_GROUP_ID={user}"),
                format!("CNB_STACK_ID={}", recipe.stack_id()),
            ],
            "Cmd": ["/bin/bash"],
            "Labels": labels,
        },
        "rootfs": { "type": "layers", "diff_ids": [record.diff_id] },
        "history": [{ "created_by": format!("mmdebstrap {}", recipe.suite) }],
    });
    let config_bytes = serde_json::to_vec(&config)?;
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": CONFIG_TYPE,
            "digest": digest::of_bytes(&config_bytes),
            "size": config_bytes.len(),
        },
        "layers": [{
            "mediaType": LAYER_TYPE,
            "digest": record.digest,
            "size": record.size_bytes,
        }],
    });
    let manifest_bytes = serde_json::to_vec(&manifest)?;
    Ok(StackImage {
        role: recipe.role,
        layers: vec![BlobFile {
            path: dir.join("layer.tar.gz"),
            digest: record.digest,
            size_bytes: record.size_bytes,
        }],
        config: ImageConfiguration::from_reader(&config_bytes[..])?,
        config_bytes,
        manifest_bytes,
        tag: format!("{}:{}", recipe.role.repository(), recipe.suite),
    })
}

/// This machine's architecture in the words of OCI images.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
