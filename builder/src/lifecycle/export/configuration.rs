//! The configuration of an image: the run image's, with our layers and how to start them. Pure.

use oci_spec::image::ImageConfiguration;
use serde_json::json;

use super::{CREATED, ImageLayer};
use crate::{
    lifecycle::{
        analyze::METADATA_LABEL,
        build::Built,
        digest,
        launch::{APP_DIR, LAUNCHER, Launch},
        spec::{ImageMetadata, RunImageMetadata},
    },
    stack::Stack,
};

/// What an image remembers of the run image under it.
pub(super) fn run_image(stack: &Stack) -> RunImageMetadata {
    RunImageMetadata {
        top_layer: stack
            .run
            .config
            .rootfs()
            .diff_ids()
            .last()
            .cloned()
            .unwrap_or_default(),
        reference: format!(
            "{}@{}",
            stack.run.role.repository(),
            digest::of_bytes(&stack.run.manifest_bytes)
        ),
    }
}

/// The image's configuration: the run image's, with our layers and how to start them.
pub(super) fn configuration(
    stack: &Stack,
    layers: &[ImageLayer],
    metadata: &ImageMetadata,
    built: &[Built],
    launch: &Launch,
) -> anyhow::Result<Vec<u8>> {
    let base: &ImageConfiguration = &stack.run.config;
    // Through a value, whose keys are sorted, so that equal images have equal bytes.
    let mut config = serde_json::to_value(base)?;
    config["created"] = CREATED.into();
    config["config"]["WorkingDir"] = APP_DIR.into();
    config["config"]["Entrypoint"] = json!([LAUNCHER]);
    config["config"]["Cmd"] = match &launch.default {
        Some(default) => json!([default]),
        None => json!([]),
    };
    let env = config["config"]["Env"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ours = [
        json!("CNB_LAYERS_DIR=/layers"),
        json!(format!("CNB_APP_DIR={APP_DIR}")),
    ];
    config["config"]["Env"] = env.into_iter().chain(ours).collect();
    let labels = &mut config["config"]["Labels"];
    for label in built.iter().flat_map(|one| &one.launch.labels) {
        labels[&label.key] = label.value.as_str().into();
    }
    labels[METADATA_LABEL] = serde_json::to_string(metadata)?.into();
    labels["io.buildpacks.build.metadata"] = build_metadata(built, launch).to_string().into();
    labels["io.buildpacks.stack.id"] = stack.id.as_str().into();
    let diff_ids = config["rootfs"]["diff_ids"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ours = layers.iter().map(|layer| json!(layer.packed.diff_id));
    config["rootfs"]["diff_ids"] = diff_ids.into_iter().chain(ours).collect();
    let history = config["history"].as_array().cloned().unwrap_or_default();
    let ours = layers
        .iter()
        .map(|layer| json!({ "created": CREATED, "created_by": layer.what }));
    config["history"] = history.into_iter().chain(ours).collect();
    Ok(serde_json::to_vec(&config)?)
}

/// The label `io.buildpacks.build.metadata`.
fn build_metadata(built: &[Built], launch: &Launch) -> serde_json::Value {
    json!({
        "buildpacks": built.iter().map(|one| json!({
            "id": one.buildpack.id,
            "version": one.buildpack.version,
            "homepage": one.buildpack.homepage,
        })).collect::<Vec<_>>(),
        "processes": launch.processes.iter().map(|process| json!({
            "type": process.process_type,
            "command": process.command_line,
            "direct": true,
        })).collect::<Vec<_>>(),
        "launcher": { "version": env!("CARGO_PKG_VERSION") },
    })
}
