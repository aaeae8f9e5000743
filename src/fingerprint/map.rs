//! A part of a file in memory that nobody can change or cut short meanwhile.
//!
//! To touch a map of a file that somebody cut short ends the process. Linux lends out a file for reading (a lease, `fcntl(2)`): as
//! long as it is lent, who wants to open it for writing or to cut it waits, at most as long as `/proc/sys/fs/lease-break-time`
//! says, which is 45 seconds. So a map is read in pieces, and before each one it is asked whether somebody waits. If so the map is
//! given up. A file that is open for writing is not lent out, nor one that belongs to somebody else, nor on a file system that does
//! not know leases: then there is no map, and the file is read.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// A file that is lent to us for reading. It is given back when this is dropped.
pub struct Lease<'a>(&'a File);

/// A part of a file that is lent to us, in memory.
pub struct Map<'a> {
    lease: &'a Lease<'a>,
    content: memmap2::Mmap,
    /// Where it begins in the file, in bytes.
    start: u64,
}

impl Map<'_> {
    /// What is found in a range of the file's bytes, or nothing when it lies elsewhere or somebody waits for the file. It must take
    /// far less than the time that others wait.
    pub fn with<T>(&self, range: Range<u64>, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let within = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok();
        let content = self.content.get(within(range.start)?..within(range.end)?)?;
        self.lease.holds().then(|| look(content))
    }
}

/// From Linux's `asm-generic/fcntl.h`; `libc` does not have it.
const F_SETSIG: libc::c_int = 10;

impl<'a> Lease<'a> {
    /// Borrows a file of a size in bytes, if it can be lent out and still has that size.
    pub fn take(file: &'a File, size: u64) -> Option<Self> {
        // Who wants the file has us told by a signal, which would end the process if it were the usual one. This one is ignored
        // unless somebody asks for it; we look by ourselves.
        control(file, F_SETSIG, libc::SIGURG)?;
        control(file, libc::F_SETLEASE, libc::F_RDLCK)?;
        let lease = Self(file);
        (file.metadata().ok()?.len() == size).then_some(lease)
    }

    /// A part of the file, which must not reach beyond its end; nothing when somebody waits for the file.
    pub fn map(&self, range: Range<u64>) -> Option<Map<'_>> {
        let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        // SAFETY: while the file is lent nobody has it open for writing and nobody cuts it, so that the bytes stay what they are.
        // They are reached only through `with`, which asks whether it is still lent first. It is given back after the map is gone.
        #[allow(unsafe_code)]
        let content = unsafe { memmap2::MmapOptions::new().offset(range.start).len(length).map(self.0) };
        let content = self.holds().then_some(content)?.ok()?;
        let _ = content.advise(memmap2::Advice::Sequential);
        Some(Map { lease: self, content, start: range.start })
    }

    /// Whether the file is still lent to us, and nobody waits for it.
    pub fn holds(&self) -> bool {
        control(self.0, libc::F_GETLEASE, 0) == Some(libc::F_RDLCK)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let _ = control(self.0, libc::F_SETLEASE, libc::F_UNLCK);
    }
}

fn control(file: &File, what: libc::c_int, value: libc::c_int) -> Option<libc::c_int> {
    // SAFETY: these commands of `fcntl` take and give whole numbers, no pointers, and the descriptor is open as long as `file`.
    #[allow(unsafe_code)]
    let said = unsafe { libc::fcntl(file.as_raw_fd(), what, value) };
    (said >= 0).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_to_cut_a_file_waits_until_the_map_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, "whole").expect("it is ours");
        let file = File::open(&path).expect("it is there");
        let size = || file.metadata().expect("it is there").len();
        let lease = Lease::take(&file, 5).expect("files of one's own are lent out here");
        let map = lease.map(1..5).expect("nobody waits");
        assert_eq!(map.with(2..5, <[u8]>::to_vec), Some(b"ole".to_vec()));
        assert_eq!(map.with(0..5, <[u8]>::to_vec), None, "it begins later");
        let path = path.clone();
        let cut = std::thread::spawn(move || File::options().write(true).truncate(true).open(&path).map(drop));
        while lease.holds() {
            std::thread::yield_now();
        }
        assert_eq!(map.with(1..5, <[u8]>::to_vec), None, "somebody waits");
        assert!(lease.map(0..5).is_none());
        assert_eq!(size(), 5, "and still waits");
        drop(lease);
        cut.join().expect("it ends").expect("it is cut");
        assert_eq!(size(), 0);
    }

    #[test]
    fn what_is_written_to_is_not_mapped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        std::fs::write(&path, "whole").expect("it is ours");
        let file = File::open(&path).expect("it is there");
        assert!(Lease::take(&file, 4).is_none(), "its size was another one");
        let writer = File::options().append(true).open(&path).expect("nobody holds it");
        assert!(Lease::take(&file, 5).is_none());
        drop(writer);
        assert!(Lease::take(&file, 5).is_some());
    }
}
