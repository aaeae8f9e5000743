//! What a machine has to give to actions: cores, memory, GPUs. Who is on the longest path is served first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::stage::{Resources, StageError};

/// How urgent an action is: the seconds of work that cannot begin before it is done, its own among them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rank(pub f64);

impl Rank {
    /// A number that grows with it.
    fn order(self) -> u64 {
        // The bits of numbers that are not negative are in their order.
        self.0.max(0.0).to_bits()
    }
}

/// The cores, memory and GPUs of this machine that actions share.
#[derive(Debug)]
pub struct Pool {
    all: Machine,
    state: Mutex<State>,
}

/// What there is of each thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Cores, or rather how many actions of one core go on at once.
    pub cpus: usize,
    /// Bytes.
    pub memory: u64,
    /// The names of GPUs as CUDA_VISIBLE_DEVICES takes them.
    pub gpus: Vec<String>,
}

#[derive(Debug)]
struct State {
    free: Free,
    waiting: BTreeMap<(Reverse<u64>, u64), Waiter>,
    arrivals: u64,
}

#[derive(Debug)]
struct Free {
    cpus: usize,
    memory: u64,
    gpus: BTreeSet<usize>,
}

#[derive(Debug)]
struct Waiter {
    wants: Resources,
    granted: oneshot::Sender<Grant>,
}

/// The right to use a share of the machine, until it is dropped.
#[derive(Debug)]
pub struct Grant {
    pool: Arc<Pool>,
    cpus: usize,
    memory: u64,
    gpus: Vec<usize>,
}

impl Machine {
    /// Looks at this machine, of which `cpus` actions may use a core each.
    #[must_use]
    pub fn here(cpus: usize) -> Self {
        let system = rustix::system::sysinfo();
        #[expect(clippy::useless_conversion, reason = "the type is another on other platforms")]
        let memory = u64::from(system.totalram).saturating_mul(u64::from(system.mem_unit));
        Self { cpus: cpus.max(1), memory, gpus: gpus() }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} cores, {} GiB of memory, {} GPUs", self.cpus, self.memory >> 30, self.gpus.len())
    }
}

/// The GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, else the NVIDIA devices that there are.
fn gpus() -> Vec<String> {
    if let Ok(visible) = std::env::var("CUDA_VISIBLE_DEVICES") {
        return visible.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    }
    let devices = std::fs::read_dir("/dev").into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = devices.filter_map(|device| device.file_name().to_str()?.strip_prefix("nvidia")?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|number| number.to_string()).collect()
}

impl Pool {
    /// A pool of all that a machine has.
    #[must_use]
    pub fn new(all: Machine) -> Arc<Self> {
        let free = Free { cpus: all.cpus, memory: all.memory, gpus: (0..all.gpus.len()).collect() };
        Arc::new(Self { all, state: Mutex::new(State { free, waiting: BTreeMap::new(), arrivals: 0 }) })
    }

    /// Waits for a share. A stage that wants more cores than there are gets all of them.
    ///
    /// # Errors
    /// When the machine does not have so much memory or so many GPUs.
    pub async fn acquire(self: &Arc<Self>, rank: Rank, wants: Resources) -> Result<Grant, StageError> {
        if wants.gpus > self.all.gpus.len() {
            let gpus = |count: usize| format!("{count} GPU{}", if count == 1 { "" } else { "s" });
            return Err(StageError::Resources { asked: gpus(wants.gpus), there: gpus(self.all.gpus.len()) });
        }
        if wants.memory > self.all.memory {
            let mebibytes = |bytes: u64| format!("{} MiB of memory", bytes >> 20);
            return Err(StageError::Resources { asked: mebibytes(wants.memory), there: mebibytes(self.all.memory) });
        }
        let wants = Resources { cpus: wants.cpus.min(self.all.cpus), ..wants };
        let (granted, wait) = oneshot::channel();
        {
            let mut state = self.lock();
            state.arrivals += 1;
            let place = (Reverse(rank.order()), state.arrivals);
            state.waiting.insert(place, Waiter { wants, granted });
        }
        self.serve();
        // The sender is dropped only with the pool, which we hold.
        wait.await.map_err(|_| StageError::Stopped)
    }

    /// Gives to those who wait, the most urgent first. One that asks for more memory or GPUs than are free lets others go before it.
    fn serve(self: &Arc<Self>) {
        let mut unwanted = Vec::new();
        {
            let mut state = self.lock();
            let State { free, waiting, .. } = &mut *state;
            while free.cpus > 0
                && let Some(place) = next(free, waiting)
                && let Some(waiter) = waiting.remove(&place)
            {
                let gpus = free.take(waiter.wants);
                let grant = Grant { pool: Arc::clone(self), cpus: waiter.wants.cpus, memory: waiter.wants.memory, gpus };
                // Who does not wait any more gives it back, once the lock is free.
                unwanted.extend(waiter.granted.send(grant).err());
            }
        }
        drop(unwanted);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is served next. Nobody goes before one that lacks nothing but cores, which would wait for ever behind many that want one each.
fn next(free: &Free, waiting: &BTreeMap<(Reverse<u64>, u64), Waiter>) -> Option<(Reverse<u64>, u64)> {
    let lacks_cores = |wants: Resources| free.cpus < wants.cpus && free.has(Resources { cpus: 0, ..wants });
    let (place, waiter) = waiting.iter().find(|(_, waiter)| free.has(waiter.wants) || lacks_cores(waiter.wants))?;
    free.has(waiter.wants).then_some(*place)
}

impl Free {
    fn has(&self, wants: Resources) -> bool {
        self.cpus >= wants.cpus && self.memory >= wants.memory && self.gpus.len() >= wants.gpus
    }

    fn take(&mut self, wants: Resources) -> Vec<usize> {
        self.cpus -= wants.cpus;
        self.memory -= wants.memory;
        (0..wants.gpus).filter_map(|_| self.gpus.pop_first()).collect()
    }
}

impl Grant {
    /// The GPUs that were given, where any were asked for.
    #[must_use]
    pub fn gpus(&self) -> Option<Vec<String>> {
        (!self.gpus.is_empty()).then(|| self.gpus.iter().map(|&index| self.pool.all.gpus[index].clone()).collect())
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        {
            let mut state = self.pool.lock();
            state.free.cpus += self.cpus;
            state.free.memory += self.memory;
            state.free.gpus.extend(self.gpus.drain(..));
        }
        self.pool.serve();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn pool(cpus: usize) -> Arc<Pool> {
        Pool::new(Machine { cpus, memory: 100, gpus: vec!["a".into(), "b".into()] })
    }

    #[tokio::test]
    async fn the_longest_path_goes_first() {
        let pool = pool(1);
        let held = pool.acquire(Rank(0.0), Resources::default()).await.expect("it is free");
        let mut waits = Vec::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        for rank in [1.0, 3.0, 2.0] {
            let (pool, order) = (Arc::clone(&pool), Arc::clone(&order));
            waits.push(tokio::spawn(async move {
                let _grant = pool.acquire(Rank(rank), Resources::default()).await;
                order.lock().expect("no panic").push(rank);
            }));
            tokio::task::yield_now().await;
        }
        drop(held);
        for wait in waits {
            wait.await.expect("it ends");
        }
        assert_eq!(*order.lock().expect("no panic"), [3.0, 2.0, 1.0]);
    }

    #[tokio::test]
    async fn gpus_are_given_to_one_at_a_time_and_come_back() {
        let pool = pool(4);
        let want = Resources { gpus: 1, ..Resources::default() };
        let (one, two) = (pool.acquire(Rank(0.0), want).await.expect("free"), pool.acquire(Rank(0.0), want).await.expect("free"));
        assert_ne!(one.gpus(), two.gpus());
        drop(one);
        assert!(pool.acquire(Rank(0.0), want).await.is_ok());
        assert!(matches!(pool.acquire(Rank(0.0), Resources { gpus: 3, ..want }).await, Err(StageError::Resources { .. })));
        assert!(matches!(pool.acquire(Rank(0.0), Resources { memory: 101, ..want }).await, Err(StageError::Resources { .. })));
    }

    #[tokio::test]
    async fn memory_is_given_out_as_far_as_it_goes() {
        let pool = pool(4);
        let memory = |memory| Resources { memory, ..Resources::default() };
        let held = pool.acquire(Rank(0.0), memory(60)).await.expect("free");
        let mut waiting = Box::pin(pool.acquire(Rank(9.0), memory(60)));
        assert!((&mut waiting).now_or_never().is_none(), "there are 40 left");
        assert!(pool.acquire(Rank(0.0), memory(40)).await.is_ok(), "who fits goes before it");
        drop(held);
        assert!(waiting.await.is_ok());
    }

    #[tokio::test]
    async fn who_waits_no_more_takes_nothing() {
        let pool = pool(1);
        let held = pool.acquire(Rank(0.0), Resources::default()).await.expect("free");
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.acquire(Rank(9.0), Resources::default()).await.map(drop) }
        });
        tokio::task::yield_now().await;
        waiting.abort();
        let _ = waiting.await;
        drop(held);
        assert!(pool.acquire(Rank(0.0), Resources { cpus: 7, ..Resources::default() }).await.is_ok());
    }
}
