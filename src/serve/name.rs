use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// A name that no other request, file or job has: 24 hexadecimal digits.
pub fn fresh() -> String {
    static OF_PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}{:08x}", *OF_PROCESS, NEXT.fetch_add(1, Ordering::Relaxed))
}
