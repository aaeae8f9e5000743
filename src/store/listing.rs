//! Lists of files by path and digest: what a folder of the workspace held when it went into an action.

use std::fmt::Write as _;

use crate::fingerprint::Digest;

use super::{Artifact, Store, StoreError};

impl Store {
    /// Keeps a list of files, each with what stands for it in a key.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn put_listing<'a>(&self, files: impl Iterator<Item = (&'a str, Digest)>) -> Result<Digest, StoreError> {
        let mut text = String::new();
        for (path, digest) in files {
            // Names of files may hold line breaks.
            let _ = writeln!(text, "{digest} {}", path.replace('\\', "\\\\").replace('\n', "\\n"));
        }
        Ok(self.put_bytes(text.as_bytes())?.digest())
    }

    /// Reads a list of files back.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn listing(&self, digest: Digest) -> Result<Vec<(String, Digest)>, StoreError> {
        let bytes = self.read(Artifact::File { digest, size: 0 })?;
        let text = String::from_utf8_lossy(&bytes);
        let file = |line: &str| {
            let (digest, path) = line.split_once(' ')?;
            Some((unescaped(path), digest.parse().ok()?))
        };
        Ok(text.lines().filter_map(file).collect())
    }
}

fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(if chars.next() == Some('n') { '\n' } else { '\\' }),
            c => out.push(c),
        }
    }
    out
}
