//! Identities with a value each, however many: in memory while they are few, and in sorted files from then on. What stays in memory
//! of those is eleven bits each, up to 64 MiB a file, and one bit each beyond.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::{ByIdentity, DataError, Identity};

/// As many as are held in memory: some 140 MB of them.
pub const HELD: usize = 3_500_000;

/// Identities that were met, each with a value.
#[derive(Debug)]
pub struct Identities {
    folder: PathBuf,
    /// How many are held in memory.
    most: usize,
    held: ByIdentity<u128>,
    /// Those that were written, the largest files first.
    sorted: Vec<Sorted>,
    files: usize,
}

impl Identities {
    /// None yet. More than `most` go to files in a folder of their own.
    #[must_use]
    pub fn new(folder: PathBuf, most: usize) -> Self {
        Self { folder, most, held: ByIdentity::default(), sorted: Vec::new(), files: 0 }
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
        for sorted in &self.sorted {
            if let Some((place, before)) = sorted.find(identity)? {
                let after = changed(before);
                if after != before {
                    sorted.file.write_all_at(&after.to_le_bytes(), place)?;
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
        let count = entries.len();
        self.write(0, count, entries.into_iter().map(|(identity, value)| Ok((identity.bits(), value))))?;
        // So that there are few files to look into, and to hold open, however many were written.
        while let Some(from) = self.sorted.len().checked_sub(FAN)
            && let level = self.sorted[from].level
            && self.sorted[from..].iter().all(|sorted| sorted.level == level)
        {
            let parts = self.sorted.split_off(from);
            let count = parts.iter().map(|part| part.entries).sum();
            self.write(level + 1, count, merged(&parts)?)?;
            parts.iter().try_for_each(|part| std::fs::remove_file(&part.place))?;
        }
        Ok(())
    }

    /// Writes entries in their order into a new file.
    fn write(&mut self, level: u32, count: usize, entries: impl Iterator<Item = io::Result<Entry>>) -> io::Result<()> {
        let place = self.folder.join(self.files.to_string());
        self.files += 1;
        self.sorted.push(Sorted::write(place, level, count, entries)?);
        Ok(())
    }
}

impl Drop for Identities {
    fn drop(&mut self) {
        if self.files > 0 {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// The bits of an identity, and its value.
type Entry = (u128, u128);
/// The bytes of an entry.
const ENTRY: usize = 32;
/// Entries that are read together.
const BLOCK: usize = 128;
/// Files of one level that become one of the next.
const FAN: usize = 8;

/// A sorted file of identities and their values.
#[derive(Debug)]
struct Sorted {
    place: PathBuf,
    file: File,
    /// How often its entries were merged.
    level: u32,
    entries: usize,
    /// The first identity of each block.
    firsts: Vec<u128>,
    bloom: Bloom,
}

impl Sorted {
    fn write(place: PathBuf, level: u32, count: usize, entries: impl Iterator<Item = io::Result<Entry>>) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(&place)?;
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        let (mut firsts, mut bloom) = (Vec::with_capacity(count.div_ceil(BLOCK)), Bloom::of(count));
        for (number, entry) in entries.enumerate() {
            let (identity, value) = entry?;
            out.write_all(&identity.to_le_bytes())?;
            out.write_all(&value.to_le_bytes())?;
            bloom.add(identity);
            if number % BLOCK == 0 {
                firsts.push(identity);
            }
        }
        out.flush()?;
        drop(out);
        Ok(Self { place, file, level, entries: count, firsts, bloom })
    }

    /// All entries in their order.
    fn all(&self) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<'_>> {
        let mut reader = BufReader::with_capacity(1 << 20, &self.file);
        reader.rewind()?;
        Ok((0..self.entries).map(move |_| {
            let mut entry = [0; ENTRY];
            reader.read_exact(&mut entry).map(|()| (number(&entry[..ENTRY / 2]), number(&entry[ENTRY / 2..])))
        }))
    }

    /// Where the value of an identity is in the file, and the value.
    fn find(&self, identity: Identity) -> io::Result<Option<(u64, u128)>> {
        let identity = identity.bits();
        if !self.bloom.may_hold(identity) {
            return Ok(None);
        }
        let Some(block) = self.firsts.partition_point(|first| *first <= identity).checked_sub(1) else {
            return Ok(None);
        };
        let (begin, mut bytes) = (block * BLOCK, [0; BLOCK * ENTRY]);
        let bytes = &mut bytes[..(self.entries - begin).min(BLOCK) * ENTRY];
        self.file.read_exact_at(bytes, (begin * ENTRY) as u64)?;
        let (entries, _) = bytes.as_chunks::<ENTRY>();
        let found = entries.binary_search_by_key(&identity, |entry| number(&entry[..ENTRY / 2]));
        Ok(found.ok().map(|at| (((begin + at) * ENTRY + ENTRY / 2) as u64, number(&entries[at][ENTRY / 2..]))))
    }
}

/// The number in half an entry.
fn number(half: &[u8]) -> u128 {
    half.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The entries of several files in their order. No two files have one in common.
fn merged(parts: &[Sorted]) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<'_>> {
    let mut parts = parts.iter().map(|part| Ok(part.all()?.peekable())).collect::<io::Result<Vec<_>>>()?;
    Ok(std::iter::from_fn(move || {
        // One that cannot be read comes first, and ends it all.
        let least = parts.iter_mut().filter_map(|part| Some((part.peek()?.as_ref().map_or(0, |entry| entry.0), part)));
        least.min_by_key(|(identity, _)| *identity)?.1.next()
    }))
}

/// Tells of most identities that are not there that they are not (Bloom 1970): with ten bits each and four looks, of all but 1 in 80.
/// Where they are too many for that, it tells less of them, and the file is looked into.
#[derive(Debug)]
struct Bloom {
    bits: Vec<u64>,
}

impl Bloom {
    /// The most that one takes, in words.
    const MOST: usize = (64 << 20) / size_of::<u64>();

    fn of(count: usize) -> Self {
        Self { bits: vec![0; (count.max(1) * 10 / 64 + 1).min(Self::MOST)] }
    }

    fn places(&self, identity: u128) -> impl Iterator<Item = (usize, u64)> + use<> {
        let (low, high, bits) = (identity as u64, (identity >> 64) as u64 | 1, self.bits.len() as u64 * 64);
        (0..4).map(move |look: u64| {
            let bit = ((u128::from(low.wrapping_add(look.wrapping_mul(high))) * u128::from(bits)) >> 64) as u64;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    fn add(&mut self, identity: u128) {
        for (word, bit) in self.places(identity) {
            self.bits[word] |= bit;
        }
    }

    fn may_hold(&self, identity: u128) -> bool {
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
        for most in [1, 10, 100, 997, 1 << 20] {
            let mut identities = Identities::new(folder.path().join(most.to_string()), most);
            let mut wanted: HashMap<u64, u128> = HashMap::new();
            for number in (0..3000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) {
                let mut identity = Identifying::default();
                identity.part(&number.to_string());
                let met = identities.meet(identity.end(), u128::from(number), |count| count + (1 << 64)).expect("there is room");
                let before = wanted.get(&number).copied();
                assert_eq!(met, before, "{most} {number}");
                wanted.insert(number, before.map_or(u128::from(number), |count| count + (1 << 64)));
            }
            assert!(identities.sorted.len() < 4 * FAN, "{} files", identities.sorted.len());
        }
    }

    #[test]
    fn a_bloom_filter_lets_few_pass_that_are_not_there() {
        let identity = |number: usize| {
            let mut identity = Identifying::default();
            identity.part(&number.to_string());
            identity.end().bits()
        };
        let mut bloom = Bloom::of(10_000);
        (0..10_000).for_each(|number| bloom.add(identity(number)));
        assert!((0..10_000).all(|number| bloom.may_hold(identity(number))));
        let passed = (10_000..20_000).filter(|number| bloom.may_hold(identity(*number))).count();
        assert!(passed < 250, "{passed}");
    }
}
