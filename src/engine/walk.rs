//! The files below a folder of the workspace.

use std::ffi::OsStr;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::stage::StageError;

/// The files below `start` that are `wanted`, as paths relative to `root` with `/`, sorted. Links are followed; git's folder and
/// our own are passed over.
///
/// # Errors
/// When a folder cannot be read, a name is not UTF-8, or a link leads back to a folder above it.
pub fn files(root: &Path, start: &Path, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<Vec<String>, StageError> {
    let mut above = Vec::new();
    if let Ok(real) = fs::canonicalize(start) {
        above.push(real);
    }
    let mut files = below(root, start, wanted, &above)?;
    files.sort_unstable();
    Ok(files)
}

/// `above` holds the folders that lead here, without links, so that one that leads back is known.
fn below(root: &Path, folder: &Path, wanted: &(dyn Fn(&str) -> bool + Sync), above: &[PathBuf]) -> Result<Vec<String>, StageError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| StageError::Io { doing: "list", path, source }
    };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let (name, place) = (entry.file_name(), entry.path());
        if passed_over(&name) {
            continue;
        }
        let mut kind = entry.file_type().map_err(failed(&place))?;
        if kind.is_symlink() {
            kind = fs::metadata(&place).map_err(failed(&place))?.file_type();
            if kind.is_dir() {
                let real = fs::canonicalize(&place).map_err(failed(&place))?;
                if above.iter().any(|folder| folder.starts_with(&real)) {
                    let source = std::io::Error::other("a link leads back to a folder above it");
                    return Err(StageError::Io { doing: "list", path: place, source });
                }
            }
        }
        take(root, place, kind, wanted, &mut files, &mut folders)?;
    }
    let inside = |place: &PathBuf| {
        let mut above = above.to_vec();
        above.extend(fs::canonicalize(place));
        below(root, place, wanted, &above)
    };
    let inner: Vec<Vec<String>> = folders.par_iter().map(inside).collect::<Result<_, _>>()?;
    files.extend(inner.into_iter().flatten());
    Ok(files)
}

fn take(
    root: &Path,
    place: PathBuf,
    kind: FileType,
    wanted: &(dyn Fn(&str) -> bool + Sync),
    files: &mut Vec<String>,
    folders: &mut Vec<PathBuf>,
) -> Result<(), StageError> {
    if kind.is_dir() {
        folders.push(place);
    } else if kind.is_file() {
        let path = place.strip_prefix(root).unwrap_or(&place);
        let Some(path) = path.to_str() else {
            let source = std::io::Error::other("its name is not UTF-8");
            return Err(StageError::Io { doing: "use", path: place, source });
        };
        if wanted(path) {
            files.push(path.to_owned());
        }
    }
    Ok(())
}

fn passed_over(name: &OsStr) -> bool {
    matches!(name.to_str(), Some(".git" | ".retune"))
}
