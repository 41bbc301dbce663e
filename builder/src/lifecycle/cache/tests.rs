use super::*;

/// A cache with the layers `venv` and `pip` of the buildpack `py`, and an empty build folder.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(scene.build().join("py/venv")).unwrap();
        fs::create_dir_all(scene.build().join("py/pip")).unwrap();
        fs::write(scene.build().join("py/venv/a"), "a").unwrap();
        fs::write(scene.build().join("py/pip/b"), "b").unwrap();
        let mut layers = BTreeMap::new();
        for name in ["venv", "pip"] {
            let folder = Folder::open(&scene.build().join("py").join(name)).unwrap();
            let state = layer_tar::state(&folder).unwrap();
            let toml = LayerToml::default();
            let (fingerprint, disk_bytes) = (state.fingerprint, state.disk_bytes);
            layers.insert(
                name.to_owned(),
                CachedLayer {
                    toml,
                    fingerprint,
                    disk_bytes,
                    packed: None,
                },
            );
        }
        let buildpack = CachedBuildpack {
            version: "1".into(),
            layers,
            store: None,
        };
        let buildpacks = BTreeMap::from([("py".to_owned(), buildpack)]);
        let record = CacheRecord {
            stack: "s".into(),
            buildpacks,
        };
        scene.open("s").take_back(&scene.build(), record).unwrap();
        scene
    }

    fn build(&self) -> PathBuf {
        self.dir.path().join("build")
    }

    fn cache(&self) -> PathBuf {
        self.dir.path().join("cache")
    }

    fn open(&self, stack: &str) -> Cache {
        Cache::open(self.cache(), stack).unwrap()
    }

    fn lend(&self, version: &str) -> Cache {
        let mut cache = self.open("s");
        fs::create_dir_all(self.build().join("py")).unwrap();
        cache
            .lend(&self.build(), &[("py".to_owned(), version.to_owned())])
            .unwrap();
        cache
    }
}

fn names(record: &CacheRecord) -> Vec<&str> {
    record.layers().map(|(_, name, _)| name).collect()
}

#[test]
fn layers_go_to_the_build_and_back() {
    let scene = Scene::new();
    let mut cache = scene.lend("1");
    assert_eq!(
        fs::read_to_string(scene.build().join("py/venv/a")).unwrap(),
        "a"
    );
    assert!(!scene.cache().join("layers/py/venv").exists());
    let record = cache.untouched(&scene.build());
    cache.take_back(&scene.build(), record).unwrap();
    assert_eq!(names(&scene.open("s").record), ["pip", "venv"]);
    assert!(scene.cache().join("layers/py/venv/a").exists());
}

#[test]
fn what_was_made_otherwise_is_not_lent() {
    let scene = Scene::new();
    assert!(names(&scene.lend("2").record).is_empty());
    let scene = Scene::new();
    assert!(names(&scene.open("other stack").record).is_empty());
}

#[test]
fn a_build_that_failed_gives_back_what_it_did_not_touch() {
    let scene = Scene::new();
    let mut cache = scene.lend("1");
    fs::write(scene.build().join("py/venv/new"), "x").unwrap();
    let record = cache.untouched(&scene.build());
    cache.take_back(&scene.build(), record).unwrap();
    assert_eq!(names(&scene.open("s").record), ["pip"]);
    assert!(!scene.cache().join("layers/py/venv").exists());
}

#[test]
fn a_builder_that_died_recovers_the_same() {
    let scene = Scene::new();
    drop(scene.lend("1"));
    fs::remove_file(scene.build().join("py/pip/b")).unwrap();
    Cache::recover(scene.cache(), &scene.build()).unwrap();
    assert_eq!(names(&scene.open("s").record), ["venv"]);

    // Also without its folders.
    let scene = Scene::new();
    drop(scene.lend("1"));
    assert!(names(&scene.open("s").record).is_empty());
}

#[test]
fn a_link_in_place_of_a_layer_is_not_taken() {
    let scene = Scene::new();
    let mut cache = scene.lend("1");
    let record = cache.record.clone();
    fs::remove_dir_all(scene.build().join("py/venv")).unwrap();
    std::os::unix::fs::symlink("/etc", scene.build().join("py/venv")).unwrap();
    cache.take_back(&scene.build(), record).unwrap();
    assert_eq!(names(&cache.record), ["pip"]);
}

#[test]
fn the_largest_layers_go_first_when_all_is_too_much() {
    let scene = Scene::new();
    let mut record = scene.open("s").record;
    record
        .buildpacks
        .get_mut("py")
        .unwrap()
        .layers
        .get_mut("pip")
        .unwrap()
        .disk_bytes = 900;
    record
        .buildpacks
        .get_mut("py")
        .unwrap()
        .layers
        .get_mut("venv")
        .unwrap()
        .disk_bytes = 200;
    assert_eq!(record.clone().fit(2000), Vec::<String>::new());
    assert_eq!(record.clone().fit(500), ["py/pip"]);
    assert_eq!(record.fit(100), ["py/pip", "py/venv"]);
}
