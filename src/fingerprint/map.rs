//! A part of a file in memory, which may be cut short while it is looked at.
//!
//! Who touches a mapped page that the file does not have any more, or that its disk cannot give, gets the signal SIGBUS, and the
//! usual answer to it is the end of the process (`mmap(2)`). Here the answer is to put empty memory under the piece that is looked at:
//! the thread goes on, and is told afterwards that what it saw was not the file. Other faults go to whoever had the signal before.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, compiler_fence, fence};

use rustix::fs::{FsWord, fstatfs};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// A part of a file, in memory.
#[derive(Debug)]
pub struct Map {
    content: *mut c_void,
    /// In bytes.
    length: usize,
    /// Where it begins in the file, in bytes.
    start: u64,
    /// Whether a part of it could not be had. From then on it is not looked at: there may be empty memory instead of the file.
    gone: AtomicBool,
}

/// Empty memory is put under whole pages, and Linux has none larger than this (64 KiB, on some ARM and POWER machines).
const PAGE: u64 = 64 << 10;

/// `statfs(2)`: a file system whose pages are so large that a part of one cannot be replaced.
const HUGETLBFS: FsWord = 0x9584_58f6;

/// What a thread looks at, as addresses; when it looks at nothing, `end` is 0.
struct View {
    start: AtomicUsize,
    end: AtomicUsize,
    /// Where it is told that a part of it could not be had.
    gone: AtomicPtr<AtomicBool>,
}

thread_local! {
    // Without a destructor and with a constant beginning it is plain memory of the thread, which a signal handler may use.
    static VIEW: View = const { View { start: AtomicUsize::new(0), end: AtomicUsize::new(0), gone: AtomicPtr::new(ptr::null_mut()) } };
}

/// Who had the signal before.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

impl Map {
    /// A range of a file's bytes, which begins at a multiple of 64 KiB; nothing when the system does not map it.
    pub fn of(file: &File, range: Range<u64>) -> Option<Self> {
        let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        let is_huge = fstatfs(file).ok()?.f_type == HUGETLBFS;
        if is_huge || !range.start.is_multiple_of(PAGE) || !faults_are_caught() {
            return None;
        }
        // SAFETY: a new map at a place that the system chooses touches no memory that is in use. It goes away with `Map`.
        #[allow(unsafe_code)]
        let content = unsafe {
            let content = mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, range.start).ok()?;
            // A hint to the system, which may be deaf to it.
            let _ = madvise(content, length, Advice::Sequential);
            content
        };
        Some(Self { content, length, start: range.start, gone: AtomicBool::new(false) })
    }

    /// What is found in a range of the file's bytes, which begins at a multiple of 64 KiB within the map: nothing when a part of
    /// the map is not there any more, or when it is called within `look`. `look` sees bytes that others may change at any time, so it must do
    /// with them what is right for all bytes.
    pub fn with<T>(&self, range: Range<u64>, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let within = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok().filter(|&at| at <= self.length);
        let (from, to) = (within(range.start)?, within(range.end)?);
        if !range.start.is_multiple_of(PAGE) || from >= to || VIEW.with(|view| view.end.load(Ordering::Relaxed)) != 0 || self.gone.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY: `from..to` lies within the map, which lives as long as `self`; where the file has no such page any more, the handler
        // puts one there. The bytes may change under `look`: that is a race with whoever writes to the file, as in every program that
        // maps files; what comes of it is a digest of bytes that were never there together, and callers look at the file again.
        #[allow(unsafe_code)]
        let content = unsafe { std::slice::from_raw_parts(self.content.cast::<u8>().add(from), to - from) };
        let addresses = content.as_ptr_range();
        let _until = Until;
        VIEW.with(|view| {
            view.gone.store(ptr::from_ref(&self.gone).cast_mut(), Ordering::Relaxed);
            view.start.store(addresses.start.expose_provenance(), Ordering::Relaxed);
            view.end.store(addresses.end.addr(), Ordering::Relaxed);
        });
        compiler_fence(Ordering::SeqCst);
        let found = look(content);
        // What another thread put here is seen only after what it told of it.
        fence(Ordering::SeqCst);
        (!self.gone.load(Ordering::SeqCst)).then_some(found)
    }
}

/// The end of a look, also by a panic.
struct Until;

impl Drop for Until {
    fn drop(&mut self) {
        VIEW.with(|view| view.end.store(0, Ordering::Relaxed));
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: it is the whole map of `of`, and what was lent out of it lived no longer than `with`.
        #[allow(unsafe_code)]
        let _ = unsafe { munmap(self.content, self.length) };
    }
}

// SAFETY: it is memory that is only read, and that no thread in particular owns.
#[allow(unsafe_code)]
unsafe impl Send for Map {}
// SAFETY: as above: all threads only read.
#[allow(unsafe_code)]
unsafe impl Sync for Map {}

/// Sees to it that a missing page ends nothing; whether that could be done.
fn faults_are_caught() -> bool {
    static CAUGHT: OnceLock<bool> = OnceLock::new();
    *CAUGHT.get_or_init(|| {
        // SAFETY: both actions are plain data, all zero being a valid one, and `on_fault` has the form that SA_SIGINFO asks for. Who
        // had the signal before is known to it before it can be called.
        #[allow(unsafe_code)]
        unsafe {
            let mut blocked = std::mem::zeroed::<libc::sigset_t>();
            libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), &raw mut blocked);
            if libc::sigismember(&raw const blocked, libc::SIGBUS) != 0 {
                // Whoever began this program holds the signal back, and then a fault is the end whatever the handler.
                return false;
            }
            let (mut before, mut ours) = (std::mem::zeroed::<libc::sigaction>(), std::mem::zeroed::<libc::sigaction>());
            if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut before) != 0 || BEFORE.set(before).is_err() {
                return false;
            }
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
            ours.sa_sigaction = handler as usize;
            ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) == 0
        }
    })
}

extern "C" fn on_fault(signal: c_int, about: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the system gives the handler a valid `about`. Only memory of this thread and system calls are used here, which do not
    // touch `errno` but in the last case. The new memory replaces what this thread looks at and nothing else: the view lies within a
    // map, begins with a page, and the map, with its flag, lives until the look is over. The last page of a map is its own to its end.
    #[allow(unsafe_code)]
    unsafe {
        let address = (*about).si_addr().addr();
        // Sent by somebody, or about memory that failed somewhere else: it does not come again when this returns.
        let was_sent = (*about).si_code <= 0 || (*about).si_code == libc::BUS_MCEERR_AO;
        let put = VIEW.with(|view| {
            let (start, end) = (view.start.load(Ordering::Relaxed), view.end.load(Ordering::Relaxed));
            let ours = !was_sent && (start..end).contains(&address);
            let place = ptr::with_exposed_provenance_mut(start);
            let flags = MapFlags::PRIVATE | MapFlags::FIXED;
            if ours {
                // Before there is anything else than the file to see, for those who look at the same.
                (*view.gone.load(Ordering::Relaxed)).store(true, Ordering::SeqCst);
            }
            ours && mmap_anonymous(place, end - start, ProtFlags::READ, flags).is_ok()
        });
        let before = BEFORE.get();
        if was_sent && before.is_some_and(|before| before.sa_sigaction == libc::SIG_IGN) || put {
            return;
        }
        if was_sent {
            let mut usual = std::mem::zeroed::<libc::sigaction>();
            usual.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(signal, &raw const usual, ptr::null_mut());
            libc::raise(signal);
        } else {
            // It comes again as soon as this returns, and then it is theirs.
            libc::sigaction(signal, before.map_or(ptr::null(), ptr::from_ref), ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_meanwhile_is_not_seen() {
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, &vec![7; 5 * PAGE as usize / 2]).expect("it is ours");
        let map = Map::of(&file, PAGE..5 * PAGE / 2).expect("it is mapped");
        let sum = |content: &[u8]| content.iter().map(|&byte| usize::from(byte)).sum::<usize>();
        assert_eq!(map.with(PAGE..2 * PAGE, sum), Some(7 * PAGE as usize));
        assert_eq!(map.with(2 * PAGE..5 * PAGE / 2, sum), Some(7 * PAGE as usize / 2));
        assert_eq!(map.with(0..PAGE, sum), None, "it begins later");
        assert_eq!(map.with(2 * PAGE..3 * PAGE, sum), None, "it ends before");
        assert_eq!(map.with(PAGE + 1..2 * PAGE, sum), None, "that is no whole page");
        let inner = |_: &[u8]| map.with(PAGE..2 * PAGE, sum);
        assert_eq!(map.with(PAGE..2 * PAGE, inner), Some(None), "one look at a time");
        file.set_len(2 * PAGE + 10).expect("it is ours");
        assert_eq!(map.with(PAGE..2 * PAGE, sum), Some(7 * PAGE as usize));
        for _ in 0..2 {
            assert_eq!(map.with(2 * PAGE..5 * PAGE / 2, sum), None, "it is gone");
        }
        assert_eq!(map.with(PAGE..2 * PAGE, sum), None, "and with it the map");
        let other = Map::of(&file, 0..PAGE).expect("it is mapped");
        assert_eq!(other.with(0..PAGE, sum), Some(7 * PAGE as usize), "and nothing else is");
    }

    #[test]
    fn many_threads_lose_it_at_once() {
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, &vec![1; 64 * PAGE as usize]).expect("it is ours");
        let map = Map::of(&file, 0..64 * PAGE).expect("it is mapped");
        file.set_len(32 * PAGE).expect("it is ours");
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let map = &map;
                scope.spawn(move || {
                    for piece in (0..64).map(|at| (at + thread * 8) % 64) {
                        let seen = map.with(piece * PAGE..(piece + 1) * PAGE, |content| content.iter().all(|&byte| byte == 1));
                        assert!(seen.is_none_or(|right| right && piece < 32), "{piece}");
                    }
                });
            }
        });
    }
}
