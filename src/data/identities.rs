//! Identities with a value each, however many: in memory while they are few, and in sorted files from then on. What stays in memory
//! of those is ten bits each.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::{ByIdentity, DataError, Identity};

/// As many as are held in memory: some 140 MB of them.
const HELD: usize = 3_500_000;

/// Identities that were met, each with a value.
#[derive(Debug)]
pub struct Identities {
    folder: PathBuf,
    most: usize,
    held: ByIdentity<u128>,
    runs: Vec<Run>,
}

impl Identities {
    /// None yet. More than the memory should hold go to files in a folder of their own.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self::within(folder, HELD)
    }

    fn within(folder: PathBuf, most: usize) -> Self {
        Self { folder, most, held: ByIdentity::default(), runs: Vec::new() }
    }

    /// Meets an identity. One that is new has `value` from now on, and there is `None`; of another the value so far is told, and
    /// `changed` makes it what it is from now on.
    ///
    /// # Errors
    /// When the disk is full, or what was written cannot be read again.
    pub fn meet(&mut self, identity: Identity, value: u128, changed: impl Fn(u128) -> u128) -> Result<Option<u128>, DataError> {
        self.met(identity, value, changed).map_err(DataError::disk(&self.folder))
    }

    fn met(&mut self, identity: Identity, value: u128, changed: impl Fn(u128) -> u128) -> io::Result<Option<u128>> {
        if let Some(held) = self.held.get_mut(&identity) {
            let before = *held;
            *held = changed(before);
            return Ok(Some(before));
        }
        for run in &self.runs {
            if let Some((place, before)) = run.find(identity)? {
                let after = changed(before);
                if after != before {
                    run.file.write_all_at(&after.to_le_bytes(), place)?;
                }
                return Ok(Some(before));
            }
        }
        if self.held.len() >= self.most {
            self.spill()?;
        }
        self.held.insert(identity, value);
        Ok(None)
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut entries: Vec<(Identity, u128)> = self.held.drain().collect();
        entries.sort_unstable_by_key(|(identity, _)| *identity);
        std::fs::create_dir_all(&self.folder)?;
        let place = self.folder.join(self.runs.len().to_string());
        self.runs.push(Run::write(File::options().read(true).write(true).create_new(true).open(place)?, &entries)?);
        Ok(())
    }
}

/// A sorted file of identities and their values.
#[derive(Debug)]
struct Run {
    file: File,
    entries: usize,
    /// The first identity of each block.
    firsts: Vec<Identity>,
    filter: Filter,
}

/// The bytes of an entry: an identity and its value.
const ENTRY: usize = 32;
/// Entries that are read together.
const BLOCK: usize = 128;

impl Run {
    fn write(file: File, entries: &[(Identity, u128)]) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        for (identity, value) in entries {
            out.write_all(&identity.bits().to_le_bytes())?;
            out.write_all(&value.to_le_bytes())?;
        }
        out.flush()?;
        drop(out);
        let firsts = entries.chunks(BLOCK).map(|block| block[0].0).collect();
        let mut filter = Filter::of(entries.len());
        entries.iter().for_each(|(identity, _)| filter.add(*identity));
        Ok(Self { file, entries: entries.len(), firsts, filter })
    }

    /// Where the value of an identity is in the file, and the value.
    fn find(&self, identity: Identity) -> io::Result<Option<(u64, u128)>> {
        if !self.filter.may_hold(identity) {
            return Ok(None);
        }
        let Some(block) = self.firsts.partition_point(|first| *first <= identity).checked_sub(1) else {
            return Ok(None);
        };
        let (begin, mut bytes) = (block * BLOCK, [0; BLOCK * ENTRY]);
        let bytes = &mut bytes[..(self.entries - begin).min(BLOCK) * ENTRY];
        self.file.read_exact_at(bytes, (begin * ENTRY) as u64)?;
        let (entries, _) = bytes.as_chunks::<ENTRY>();
        let number = |half: &[u8]| half.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte));
        let found = entries.binary_search_by_key(&identity.bits(), |entry| number(&entry[..ENTRY / 2]));
        Ok(found.ok().map(|at| (((begin + at) * ENTRY + ENTRY / 2) as u64, number(&entries[at][ENTRY / 2..]))))
    }
}

/// Tells of most identities that are not there that they are not (Bloom 1970): with ten bits each and four looks, of all but 1 in 80.
#[derive(Debug)]
struct Filter {
    bits: Vec<u64>,
}

impl Filter {
    fn of(count: usize) -> Self {
        Self { bits: vec![0; count.max(1) * 10 / 64 + 1] }
    }

    fn places(&self, identity: Identity) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (low, high, bits) = (identity.bits() as u64, (identity.bits() >> 64) as u64 | 1, self.bits.len() as u64 * 64);
        (0..4).map(move |look: u64| {
            let bit = ((u128::from(low.wrapping_add(look.wrapping_mul(high))) * u128::from(bits)) >> 64) as u64;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    fn add(&mut self, identity: Identity) {
        for (word, bit) in self.places(identity) {
            self.bits[word] |= bit;
        }
    }

    fn may_hold(&self, identity: Identity) -> bool {
        self.places(identity).all(|(word, bit)| self.bits[word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::Identifying;
    use super::*;

    #[test]
    fn what_is_met_is_the_same_in_memory_and_on_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        for most in [1, 100, 997, 1 << 20] {
            let mut identities = Identities::within(folder.path().join(most.to_string()), most);
            let mut wanted: HashMap<u64, u128> = HashMap::new();
            for number in (0..3000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) {
                let mut identity = Identifying::default();
                identity.part(&number.to_string());
                let met = identities.meet(identity.end(), u128::from(number), |count| count + (1 << 64)).expect("there is room");
                let before = wanted.get(&number).copied();
                assert_eq!(met, before, "{most} {number}");
                wanted.insert(number, before.map_or(u128::from(number), |count| count + (1 << 64)));
            }
        }
    }

    #[test]
    fn a_filter_lets_few_pass_that_are_not_there() {
        let identity = |number: usize| {
            let mut identity = Identifying::default();
            identity.part(&number.to_string());
            identity.end()
        };
        let mut filter = Filter::of(10_000);
        (0..10_000).for_each(|number| filter.add(identity(number)));
        assert!((0..10_000).all(|number| filter.may_hold(identity(number))));
        let passed = (10_000..20_000).filter(|number| filter.may_hold(identity(*number))).count();
        assert!(passed < 250, "{passed}");
    }
}
