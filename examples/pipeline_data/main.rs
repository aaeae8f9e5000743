//! Writes the data of the pipelines in `pipelines/`: `cargo run --example pipeline_data`. The same seeds give the same files. Every
//! person, number, address, patient, company and product in it is made up.

mod brand;
mod dirt;
mod legal;
mod medical;
mod support;
mod tutor;

use std::io;
use std::path::{Path, PathBuf};

/// A data set: its folder, and what writes it.
type Set = (&'static str, fn(&Path) -> io::Result<()>);

const SETS: [Set; 5] = [("support", support::write), ("medical", medical::write), ("legal", legal::write), ("tutor", tutor::write), ("brand", brand::write)];

fn main() -> io::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines/data"), PathBuf::from);
    for (name, write) in SETS {
        std::fs::create_dir_all(folder.join(name))?;
        write(&folder.join(name))?;
    }
    Ok(())
}
