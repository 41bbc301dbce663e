//! Phase 2: what the previous image of the app consists of.

use std::collections::BTreeMap;

use fairway_api::images::ImageRef;
use oci_spec::image::{ImageConfiguration, ImageManifest};

use super::{layer_tar::Packed, spec::ImageMetadata};
use crate::publish::Registry;

/// The label with [`ImageMetadata`].
pub(crate) const METADATA_LABEL: &str = "io.buildpacks.lifecycle.metadata";

/// The previous image; empty when there is none, or none that was made by buildpacks.
#[derive(Debug, Default)]
pub(crate) struct Previous {
    pub(crate) metadata: ImageMetadata,
    /// Its layers, by their digest before compression.
    pub(crate) layers: BTreeMap<String, Packed>,
}

/// Reads what is known of the previous image. Without it a build is only slower, so a registry
/// that does not have it any more is no failure.
pub(crate) async fn previous_image(registry: &Registry, image: Option<&ImageRef>) -> Previous {
    let Some(image) = image else {
        return Previous::default();
    };
    match registry.image(image).await {
        Ok((manifest, config)) => previous(&manifest, &config),
        Err(error) => {
            let error = anyhow::Error::new(error);
            tracing::warn!("the previous image cannot be read, so nothing is reused: {error:#}");
            Previous::default()
        }
    }
}

fn previous(manifest: &ImageManifest, config: &ImageConfiguration) -> Previous {
    let labels = config
        .config()
        .as_ref()
        .and_then(|config| config.labels().as_ref());
    let label = labels.and_then(|labels| labels.get(METADATA_LABEL));
    let metadata = label
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let diff_ids = config.rootfs().diff_ids();
    let layers = diff_ids
        .iter()
        .zip(manifest.layers())
        .filter_map(|(diff_id, layer)| {
            let packed = Packed {
                diff_id: diff_id.parse().ok()?,
                digest: layer.digest().to_string().parse().ok()?,
                size_bytes: layer.size(),
            };
            Some((diff_id.clone(), packed))
        });
    Previous {
        metadata,
        layers: layers.collect(),
    }
}
