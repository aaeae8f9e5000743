//! The files of examples that go into a training.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use crate::store::Store;

use super::super::{Given, StageError};

/// Opens one of them, by the name of the input.
pub fn open((workspace, store): (&Path, &Store), inputs: &BTreeMap<String, Given>, name: &str) -> Result<Box<dyn Read>, StageError> {
    let artifact = match inputs.get(name) {
        Some(Given::Artifact { artifact, .. }) => *artifact,
        Some(Given::Part(files)) if files.len() == 1 => files[0].1,
        Some(Given::Files(files)) if files.len() == 1 => {
            let place = workspace.join(&files[0].0);
            let file = File::open(&place).map_err(|source| StageError::Io { doing: "read", path: place, source })?;
            return Ok(Box::new(file));
        }
        _ => return Err(StageError::NoInput { name: name.to_owned() }),
    };
    match store.place(artifact).map(File::open) {
        Some(Ok(file)) => Ok(Box::new(file)),
        _ => Ok(Box::new(Cursor::new(store.read(artifact)?))),
    }
}
