//! Decides how a source tree is built. Pure: names of the root's entries in, strategy out.

/// How a source tree becomes an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// By the instructions of the `Dockerfile` at the root.
    Dockerfile,
    /// By the buildpacks that detect it.
    Buildpacks,
}

/// A tree that cannot be built at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoStrategy {
    /// There is nothing in it.
    #[error("the pushed commit has no files; commit some and push again")]
    Empty,
}

/// Chooses by what stands at the root of the tree. A `Dockerfile` wins, since nobody has one by
/// accident; only that exact name counts, as for `docker build`.
pub(crate) fn choose<'a>(root: impl IntoIterator<Item = &'a str>) -> Result<Strategy, NoStrategy> {
    let mut strategy = Err(NoStrategy::Empty);
    for name in root {
        if name == "Dockerfile" {
            return Ok(Strategy::Dockerfile);
        }
        strategy = Ok(Strategy::Buildpacks);
    }
    strategy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_wins_and_an_empty_tree_is_refused() {
        assert_eq!(choose(["app.py", "Dockerfile"]), Ok(Strategy::Dockerfile));
        assert_eq!(
            choose(["requirements.txt", "Procfile"]),
            Ok(Strategy::Buildpacks)
        );
        assert_eq!(
            choose(["Dockerfile.dev", "dockerfile"]),
            Ok(Strategy::Buildpacks)
        );
        assert_eq!(choose([]), Err(NoStrategy::Empty));
    }
}
