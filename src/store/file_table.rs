use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fingerprint::Digest;

use super::FileState;

/// Which path was in which state when it had which digest. Most of it is read from disk and never changed, so that it lies
/// close together: all paths in one text, sorted.
#[derive(Debug, Default)]
pub struct FileTable {
    base: Base,
    fresh: BTreeMap<Box<str>, (FileState, Digest)>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Base {
    paths: String,
    /// Where each path ends in the text.
    ends: Vec<u32>,
    rows: Vec<(FileState, Digest)>,
}

/// What a file of the table begins with; another format has another.
const MAGIC: &[u8] = b"retune files 2\n";

impl Base {
    fn path(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.paths[start..self.ends[row] as usize]
    }

    /// The row of a path; `near` is where it may well be.
    fn row(&self, path: &str, near: usize) -> Result<usize, usize> {
        if near < self.ends.len() && self.path(near) == path {
            return Ok(near);
        }
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.path(middle).cmp(path) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    fn push(&mut self, path: &str, row: (FileState, Digest)) {
        self.paths.push_str(path);
        self.ends.push(u32::try_from(self.paths.len()).unwrap_or(u32::MAX));
        self.rows.push(row);
    }

    /// Whether all of it fits together: it is read from a file that anybody may have written.
    fn is_whole(&self) -> bool {
        let rising = self.ends.windows(2).all(|pair| pair[0] <= pair[1]);
        let within = self.ends.last().is_none_or(|&end| end as usize == self.paths.len());
        rising && within && self.rows.len() == self.ends.len() && self.ends.iter().all(|&end| self.paths.is_char_boundary(end as usize))
    }
}

impl FileTable {
    /// Reads a table as [`FileTable::write`] writes it; what is not one is an empty one. Tells how many bytes it had.
    pub fn read(bytes: &[u8]) -> (Self, usize) {
        let read = bytes.strip_prefix(MAGIC).and_then(|body| Some((body.len(), postcard::take_from_bytes::<Base>(body).ok()?)));
        match read.filter(|(_, (base, _))| base.is_whole()) {
            Some((length, (base, rest))) => (Self { base, fresh: BTreeMap::new() }, MAGIC.len() + length - rest.len()),
            None => (Self::default(), bytes.len()),
        }
    }

    /// The table as bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut merged = Base::default();
        let mut old = (0..self.base.ends.len()).map(|row| (self.base.path(row), self.base.rows[row])).peekable();
        for (path, row) in &self.fresh {
            while let Some((before, row)) = old.next_if(|(before, _)| *before < path.as_ref()) {
                merged.push(before, row);
            }
            old.next_if(|(before, _)| *before == path.as_ref());
            merged.push(path, *row);
        }
        old.for_each(|(path, row)| merged.push(path, row));
        out.extend(MAGIC);
        out.extend(postcard::to_allocvec(&merged).unwrap_or_default());
    }

    /// The state in which a path was last read, and its digest then.
    pub fn get(&self, path: &str) -> Option<(FileState, Digest)> {
        self.get_near(path, &mut 0)
    }

    /// The same for one of many paths in order: `near` is where the last one was.
    pub fn get_near(&self, path: &str, near: &mut usize) -> Option<(FileState, Digest)> {
        if let Some(fresh) = self.fresh.get(path) {
            return Some(*fresh);
        }
        let row = self.base.row(path, *near);
        *near = row.map_or_else(|row| row, |row| row + 1);
        row.ok().map(|row| self.base.rows[row])
    }

    /// Notes a digest.
    pub fn insert(&mut self, path: &str, state: FileState, digest: Digest) {
        self.fresh.insert(path.into(), (state, digest));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_what_was_put_into_it_whatever_the_order() {
        let state = FileState::of(std::path::Path::new("Cargo.toml")).expect("it is there");
        let digest = |text: &str| Digest::of(text.as_bytes());
        let (mut table, mut bytes) = (FileTable::default(), Vec::new());
        for round in 0..3 {
            for path in ["b", "a/ü", "c", "a"].into_iter().skip(round) {
                table.insert(path, state, digest(&format!("{path}{round}")));
            }
            bytes.clear();
            table.write(&mut bytes);
            bytes.extend(b"more");
            let (read, length) = FileTable::read(&bytes);
            assert_eq!(length + 4, bytes.len());
            table = read;
        }
        let mut near = 0;
        let found: Vec<Digest> = ["a", "a/ü", "b", "c"].iter().map(|path| table.get_near(path, &mut near).expect("it is there").1).collect();
        assert_eq!(found, [digest("a2"), digest("a/ü1"), digest("b0"), digest("c2")]);
        assert_eq!(table.get("d"), None);
        assert_eq!(FileTable::read(b"something else").0.get("a"), None);
    }
}
