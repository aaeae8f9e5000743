use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name that no other request, file or job has, and nobody can guess: 24 hexadecimal digits.
pub fn fresh() -> String {
    // A keyed hash of a number says nothing of those before and after it.
    static OF_PROCESS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [high, low] = [0_u8, 1].map(|half| OF_PROCESS.hash_one((std::process::id(), number, half)));
    format!("{high:016x}{:08x}", low >> 32)
}
