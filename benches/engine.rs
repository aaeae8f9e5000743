//! What a run does before it does anything: reading the file, looking at all inputs, finding the results. Each beside the plain
//! work that nobody could leave out, so that the ratio tells what retune adds. `benches/peers.py` measures whole runs against
//! other tools.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use divan::Bencher;
use retune::config::Overrides;
use retune::engine::{Interrupt, Notice, Observer, Recipe, RunOptions, Start, Workspace, plan};
use retune::fingerprint::Digest;
use retune::store::{FileStates, Reading, Store};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [10, 100, 1000];
/// Files are also read that are longer than anybody runs.
const LENGTHS: [usize; 4] = [10, 100, 1000, 10_000];

struct Silent;

impl Observer for Silent {
    fn notice(&self, _: Notice) {}
}

/// A pipeline of `n` commands, each with two inputs of its own.
fn pipeline(folder: &Path, n: usize) -> PathBuf {
    let mut text = String::from("pipeline \"bench\"\n");
    for i in 0..n {
        fs::write(folder.join(format!("in{i}")), format!("{i}\n")).expect("it can be written");
        let other = (i + 1) % n;
        write!(text, "exec \"s{i}\" {{\n    run \"cat in{i} in{other} > o{i}\"\n    input \"in{i}\"\n    input \"in{other}\"\n    output \"o{i}\"\n}}\n")
            .expect("a string takes all");
    }
    let file = folder.join("p.kdl");
    fs::write(&file, text).expect("it can be written");
    file
}

/// A workspace in which all of a pipeline is done.
fn done(n: usize) -> (tempfile::TempDir, Recipe, Workspace) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = pipeline(folder.path(), n);
    let load = || Recipe::load(&file, &Overrides::default()).expect("it is right");
    let open = || Workspace::open(&file).expect("it can be opened");
    let start = Start::new(Arc::new(load()), Arc::new(open()), RunOptions { jobs: 2, ..RunOptions::default() }).expect("it can begin");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let finished = runtime.block_on(start.run(Arc::new(Silent), Interrupt::default())).expect("it ends");
    assert!(finished.errors.is_empty(), "{:?}", finished.errors);
    (folder, load(), open())
}

mod reading_the_file {
    use super::*;

    #[divan::bench(args = LENGTHS)]
    fn kdl_alone(bencher: Bencher, n: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = fs::read_to_string(pipeline(folder.path(), n)).expect("it is there");
        bencher.bench(|| text.parse::<kdl::KdlDocument>().expect("it is KDL"));
    }

    #[divan::bench(args = LENGTHS)]
    fn anew(bencher: Bencher, n: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = pipeline(folder.path(), n);
        bencher.bench(|| Recipe::check(&file, &Overrides::default()).expect("it is right"));
    }

    #[divan::bench(args = LENGTHS)]
    fn as_it_was(bencher: Bencher, n: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = pipeline(folder.path(), n);
        // It is kept where there is a place for it.
        fs::create_dir(folder.path().join(".retune")).expect("it can be made");
        Recipe::load(&file, &Overrides::default()).expect("it is right");
        bencher.bench(|| Recipe::load(&file, &Overrides::default()).expect("it is right"));
    }

    /// One stage with a matrix of as many instances.
    #[divan::bench(args = SIZES)]
    fn a_matrix(bencher: Bencher, n: usize) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let values = (0..n).map(|value| value.to_string()).collect::<Vec<_>>().join(" ");
        let text = format!(
            "pipeline \"bench\"\nexec \"s\" {{\n    matrix {{\n        v {values}\n    }}\n    run \"echo ${{param.v}} > o${{param.v}}\"\n    output \"o${{param.v}}\"\n}}\n"
        );
        let file = folder.path().join("p.kdl");
        fs::write(&file, text).expect("it can be written");
        bencher.bench(|| Recipe::check(&file, &Overrides::default()).expect("it is right"));
    }
}

mod nothing_to_do {
    use super::*;

    /// The states of all files that the pipeline reads or writes.
    #[divan::bench(args = SIZES)]
    fn looking_at_the_files_alone(bencher: Bencher, n: usize) {
        let (folder, ..) = done(n);
        let names = |i: usize| [format!("in{i}"), format!("o{i}")];
        let paths: Vec<PathBuf> = (0..n).flat_map(names).map(|name| folder.path().join(name)).collect();
        bencher.bench(|| paths.iter().map(|path| fs::metadata(path).expect("it is there").len()).sum::<u64>());
    }

    #[divan::bench(args = SIZES)]
    fn planning(bencher: Bencher, n: usize) {
        let (_folder, recipe, workspace) = done(n);
        bencher.bench(|| plan(&recipe, &workspace, &[]).expect("it can be planned"));
    }
}

mod hashing_a_file {
    use super::*;

    const BYTES: usize = 64 << 20;

    fn large() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("large");
        let bytes: Vec<u8> = (0..BYTES).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        fs::write(&path, bytes).expect("it can be written");
        (folder, path)
    }

    #[divan::bench]
    fn blake3_alone_on_one_core(bencher: Bencher) {
        let (_folder, path) = large();
        bencher.counter(divan::counter::BytesCount::new(BYTES)).bench(|| {
            let mut hasher = blake3::Hasher::new();
            hasher.update_reader(fs::File::open(&path).expect("it is there")).expect("it can be read");
            hasher.finalize()
        });
    }

    #[divan::bench]
    fn the_first_time(bencher: Bencher) {
        let (folder, _path) = large();
        let fresh = || FileStates::load(folder.path(), &folder.path().join("states"));
        bencher
            .counter(divan::counter::BytesCount::new(BYTES))
            .with_inputs(fresh)
            .bench_values(|files| files.digest("large", Reading::Bytes).expect("it can be read"));
    }
}

mod storing_small_files {
    use super::*;

    const FILES: usize = 1000;

    fn small(i: usize) -> Vec<u8> {
        format!("{{\"row\": {i}, \"text\": \"a short message of a customer\"}}\n").into_bytes()
    }

    #[divan::bench]
    fn writing_alone(bencher: Bencher) {
        let folder = || tempfile::tempdir().expect("a temporary folder");
        bencher.with_inputs(folder).bench_values(|folder| {
            (0..FILES).for_each(|i| fs::write(folder.path().join(i.to_string()), small(i)).expect("it can be written"));
            folder
        });
    }

    #[divan::bench]
    fn as_objects(bencher: Bencher) {
        let store = || {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let store = Store::open(folder.path()).expect("it can be opened");
            (folder, store)
        };
        bencher.with_inputs(store).bench_values(|(folder, store)| {
            let digests: Vec<Digest> = (0..FILES).map(|i| store.put_bytes(&small(i)).expect("it can be kept").digest()).collect();
            (folder, digests)
        });
    }
}
