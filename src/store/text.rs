use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::fingerprint::Digest;

/// A file as it counts: the bytes of a packed one as they are, of a text with line feeds alone, so that a checkout on another system
/// is the same data. What is read of it is hashed on its way.
#[derive(Debug)]
pub struct Text {
    file: File,
    hasher: blake3::Hasher,
    packed: Option<bool>,
    block: Box<[u8]>,
    /// Of the block, what was not handed on yet.
    ready: std::ops::Range<usize>,
    /// Whether the block before ended in a carriage return, which counts unless a line feed follows.
    carriage: bool,
}

const BLOCK: usize = 256 << 10;

/// Whether a file is no text but packed (gzip, zstd): each of its bytes counts.
pub(super) fn is_packed(begins: &[u8]) -> bool {
    const MARKS: &[&[u8]] = &[b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"];
    MARKS.iter().any(|mark| begins.starts_with(mark))
}

impl Text {
    /// Opens a file.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        Ok(Self { file, hasher: blake3::Hasher::new(), packed: None, block: vec![0; BLOCK + 1].into(), ready: 0..0, carriage: false })
    }

    /// The digest of all of it, read to its end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn digest(mut self) -> io::Result<Digest> {
        while self.fill()? {}
        Ok(Digest::from(self.hasher.finalize()))
    }

    /// Makes the next block ready. False at the end.
    fn fill(&mut self) -> io::Result<bool> {
        loop {
            // The first place is kept for a carriage return of the block before.
            let read = match self.file.read(&mut self.block[1..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let carriage = std::mem::take(&mut self.carriage);
            let mut from = 1;
            if carriage && (read == 0 || self.block[1] != b'\n') {
                self.block[0] = b'\r';
                from = 0;
            }
            let packed = *self.packed.get_or_insert_with(|| is_packed(&self.block[1..=read]));
            let end = if packed { 1 + read } else { self.without_carriages(from, 1 + read) };
            if read > 0 && end == from {
                continue;
            }
            self.hasher.update(&self.block[from..end]);
            self.ready = from..end;
            return Ok(end > from);
        }
    }

    /// Takes the carriage returns before line feeds out of a part of the block, and tells where it ends then.
    fn without_carriages(&mut self, from: usize, end: usize) -> usize {
        let block = &mut self.block[..end];
        let Some(first) = memchr::memchr(b'\r', &block[from.max(1)..]) else {
            return end;
        };
        let begin = from.max(1) + first;
        let mut to = begin;
        for at in begin..end {
            match (block[at], block.get(at + 1)) {
                (b'\r', Some(b'\n')) => {}
                (b'\r', None) => self.carriage = true,
                (byte, _) => {
                    block[to] = byte;
                    to += 1;
                }
            }
        }
        to
    }
}

impl Read for Text {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.ready.is_empty() && !self.fill()? {
            return Ok(0);
        }
        let count = self.ready.len().min(into.len());
        into[..count].copy_from_slice(&self.block[self.ready.start..self.ready.start + count]);
        self.ready.start += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_do_not_count_wherever_a_block_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t");
        for before in [0, 1, BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1] {
            for tail in ["\r\n", "\r", "\r\rx", "\r\r\n\r\n", "\n\r", "\r\nx\r"] {
                let text = "a".repeat(before) + tail;
                let plain = text.replace("\r\n", "\n");
                std::fs::write(&path, &text).expect("it is ours");
                let mut read = String::new();
                Text::open(&path).expect("it is there").read_to_string(&mut read).expect("it is text");
                assert_eq!(read, plain, "{before} {tail:?}");
                assert_eq!(Text::open(&path).expect("it is there").digest().expect("it is text"), Digest::of(plain.as_bytes()));
            }
        }
        let packed = [0x1f, 0x8b, b'\r', b'\n'];
        std::fs::write(&path, packed).expect("it is ours");
        assert_eq!(Text::open(&path).expect("it is there").digest().expect("it can be read"), Digest::of(&packed));
    }
}
