//! Large files hashed by memory map, a window at a time: what is mapped counts as memory of ours, and must not grow with the file.

#![expect(unsafe_code, reason = "memory maps cannot be had without it")]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::MmapOptions;

/// What is mapped at once, in bytes; a whole number of pages on every machine.
const WINDOW: u64 = 64 << 20;

/// Adds the content of a file of so many bytes to a hash, on all cores.
pub fn hash(path: &Path, size: u64, hasher: &mut blake3::Hasher) -> io::Result<()> {
    let file = File::open(path)?;
    let size = file.metadata()?.len().min(size);
    let mut at = 0;
    while at < size {
        let length = usize::try_from(WINDOW.min(size - at)).map_err(io::Error::other)?;
        // SAFETY: the map is only read, and only here. Somebody else may write to the file meanwhile: then the hash is of neither
        // content, which whoever asked for it sees by the file's times, or of an object of ours, which is read-only. Nothing but
        // bytes is made of what is read, so that no value of it is invalid. Where the file is cut shorter the system ends the
        // process, as it does wherever maps are used to read; no result is published then.
        let window = unsafe { MmapOptions::new().offset(at).len(length).map(&file)? };
        hasher.update_rayon(&window);
        at += length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_together_are_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        for size in [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 2 * WINDOW + 12345] {
            let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            std::fs::write(&path, &content).expect("it is ours");
            let mut hasher = blake3::Hasher::new();
            hash(&path, size, &mut hasher).expect("it can be read");
            assert_eq!(hasher.finalize(), blake3::hash(&content), "{size}");
        }
    }
}
