//! The data of the pipelines in `pipelines/` is what its generator writes.

#[path = "../examples/pipeline_data/brand.rs"]
mod brand;
#[path = "../examples/pipeline_data/dirt.rs"]
mod dirt;
#[path = "../examples/pipeline_data/legal.rs"]
mod legal;
#[path = "../examples/pipeline_data/medical.rs"]
mod medical;
#[path = "../examples/pipeline_data/support.rs"]
mod support;
#[path = "../examples/pipeline_data/tutor.rs"]
mod tutor;

use std::io;
use std::path::Path;

fn is_as_generated(name: &str, write: fn(&Path) -> io::Result<()>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path()).expect("it can be written");
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/data").join(name);
    let names = |folder: &Path| {
        let mut names: Vec<_> = std::fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it can be read").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), names(&kept));
    let mut bytes = 0;
    for file in names(&kept) {
        let [made, known] = [folder.path(), &kept].map(|folder| std::fs::read(folder.join(&file)).expect("it is there"));
        assert!(made == known, "{name}/{} is stale: `just pipeline-data`", file.display());
        bytes += made.len();
    }
    assert!(bytes > 150_000, "{name} has {bytes} bytes");
}

#[test]
fn support() {
    is_as_generated("support", support::write);
}

#[test]
fn medical() {
    is_as_generated("medical", medical::write);
}

#[test]
fn legal() {
    is_as_generated("legal", legal::write);
}

#[test]
fn tutor() {
    is_as_generated("tutor", tutor::write);
}

#[test]
fn brand() {
    is_as_generated("brand", brand::write);
}
