//! The threads of the kernels. [`run`] splits work into numbered parts and each thread takes the next one
//! until none is left; kernels partition by output rows, so no result depends on the number of threads or
//! on who took what, and a worker whose processor is busy elsewhere holds up nobody.
//!
//! Inside a [`forward`] scope the workers spin on a flag, each on its own cache line, so a [`run`] costs
//! about as much as the flag's way between two cores; outside, they park. A [`run`] inside a part,
//! or while another thread holds the pool, executes on the calling thread alone.

use std::any::Any;
use std::cell::{Cell, RefCell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::JoinHandle;

type Part<'a> = &'a (dyn Fn(usize) + Sync);

/// Keeps what different threads write on different cache lines (two, for the adjacent-line prefetch).
#[repr(align(128))]
struct Line<T>(T);

/// What the caller and its workers share.
struct Shared {
    /// Parts of the current job that nobody has taken; taking is decrementing.
    left: Line<AtomicUsize>,
    /// Parts of the current job that have not ended.
    pending: Line<AtomicUsize>,
    /// Whether a forward scope is open.
    awake: Line<AtomicBool>,
    stop: AtomicBool,
    /// The job: written only by the holder of the pool, while no part is left or pending.
    work: UnsafeCell<Option<Part<'static>>>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `work` is written before the release store of `left` and read only by who has taken a part (an
// acquire of that store); the next write happens after the acquire load that saw no part pending.
unsafe impl Sync for Shared {}
// SAFETY: the part it points to is `Sync`; everything else is `Send`.
unsafe impl Send for Shared {}

struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

static POOL: Mutex<Option<Pool>> = Mutex::new(None);
static THREADS: AtomicUsize = AtomicUsize::new(0);
static PROCESSORS: OnceLock<usize> = OnceLock::new();

thread_local! {
    /// This thread is executing a part.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
    /// The pool this thread holds through a forward scope.
    static HELD: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// Number of threads that [`run`] uses, the caller included: what [`set_threads`] said, or the number
/// of processors.
pub fn threads() -> usize {
    match THREADS.load(Relaxed) {
        // Asked once: the answer takes the system longer than many kernels run.
        0 => *PROCESSORS.get_or_init(|| std::thread::available_parallelism().map_or(1, |n| n.get())),
        n => n,
    }
}

/// Sets the number of threads, the caller included; 0 means one per processor.
///
/// # Panics
/// Inside a [`forward`] scope or a part.
pub fn set_threads(threads: usize) {
    let held = INSIDE.get() || HELD.with_borrow(Option::is_some);
    assert!(!held, "set_threads inside a forward scope or a part");
    let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    THREADS.store(threads, Relaxed);
    *pool = None;
}

/// Runs `part(0..parts)` and returns when all are done.
///
/// # Panics
/// With the payload of a part that panicked, after all parts have ended.
pub fn run(parts: usize, part: Part) {
    if parts <= 1 || INSIDE.get() {
        return (0..parts).for_each(part);
    }
    let ran =
        HELD.with_borrow(|held| held.as_ref().map(|shared| shared.publish(parts, part, || {})).is_some());
    if ran {
        return;
    }
    match hold() {
        Some(pool) => match pool.as_ref() {
            Some(Pool { shared, workers }) => {
                let shared = shared.clone();
                shared.publish(parts, part, || workers.iter().for_each(|worker| worker.thread().unpark()));
            }
            None => (0..parts).for_each(part),
        },
        None => (0..parts).for_each(part),
    }
}

/// Runs `body` with the workers kept awake. Scopes nest; when another thread has one open, `body` runs
/// without workers.
pub fn forward<R>(body: impl FnOnce() -> R) -> R {
    if INSIDE.get() || HELD.with_borrow(Option::is_some) {
        return body();
    }
    let Some(guard) = hold() else { return body() };
    let Some(pool) = guard.as_ref() else {
        drop(guard);
        return body();
    };
    /// Puts the workers to sleep again, also when `body` panics.
    struct Scope;
    impl Drop for Scope {
        fn drop(&mut self) {
            if let Some(shared) = HELD.take() {
                shared.awake.0.store(false, Release);
            }
        }
    }
    pool.shared.awake.0.store(true, Release);
    pool.workers.iter().for_each(|worker| worker.thread().unpark());
    HELD.set(Some(pool.shared.clone()));
    let _scope = Scope;
    body()
}

/// The pool, if no other thread holds it and there is more than one thread; started on first use.
fn hold() -> Option<MutexGuard<'static, Option<Pool>>> {
    let mut pool = match POOL.try_lock() {
        Ok(pool) => pool,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return None,
    };
    let threads = threads();
    if pool.is_none() && threads > 1 {
        *pool = Some(Pool::start(threads - 1));
    }
    Some(pool)
}

impl Pool {
    fn start(workers: usize) -> Pool {
        let shared = Arc::new(Shared {
            left: Line(AtomicUsize::new(0)),
            pending: Line(AtomicUsize::new(0)),
            awake: Line(AtomicBool::new(false)),
            stop: AtomicBool::new(false),
            work: UnsafeCell::new(None),
            panic: Mutex::new(None),
        });
        let spawn = |worker: usize| {
            let shared = shared.clone();
            std::thread::Builder::new().name(format!("kernels-{}", worker + 1)).spawn(move || shared.serve())
        };
        // Fewer workers than asked for (the system refused a thread) only means fewer threads.
        let workers = (0..workers).map_while(|worker| spawn(worker).ok()).collect();
        Pool { shared, workers }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Release);
        self.workers.iter().for_each(|worker| worker.thread().unpark());
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// Takes and runs parts until none is left; whether there was any.
    fn help(&self) -> bool {
        let mut helped = false;
        while let Ok(left) = self.left.0.fetch_update(Acquire, Relaxed, |left| left.checked_sub(1)) {
            // SAFETY: having taken a part, this thread sees the write of `work` that came before the store
            // of `left`, and there is no other write before this part ends.
            if let Some(part) = unsafe { *self.work.get() } {
                self.one(left - 1, part);
            }
            helped = true;
        }
        helped
    }

    fn one(&self, index: usize, part: Part) {
        let inside = INSIDE.replace(true);
        let result = catch_unwind(AssertUnwindSafe(|| part(index)));
        INSIDE.set(inside);
        if let Err(payload) = result {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
        }
        self.pending.0.fetch_sub(1, Release);
    }

    fn publish(&self, parts: usize, part: Part, wake: impl FnOnce()) {
        // SAFETY: only the lifetime changes. Nobody uses the part once none is pending, and this function
        // leaves only then.
        let forever: Part<'static> = unsafe { std::mem::transmute(part) };
        // SAFETY: the caller holds the pool and no part of the previous job is left or pending, so
        // nobody else touches the cell.
        unsafe { *self.work.get() = Some(forever) };
        self.pending.0.store(parts, Relaxed);
        // The last part is the caller's own, so that a job costs it one hand-off less.
        self.left.0.store(parts - 1, Release);
        wake();
        self.one(parts - 1, part);
        self.help();
        let mut patience = 0u32;
        while self.pending.0.load(Acquire) != 0 {
            pause(&mut patience);
        }
        if let Some(payload) = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(payload);
        }
    }

    fn serve(&self) {
        let mut patience = 0u32;
        while !self.stop.load(Acquire) {
            if self.left.0.load(Relaxed) != 0 && self.help() {
                patience = 0;
            } else if self.awake.0.load(Acquire) {
                pause(&mut patience);
            } else {
                // An unpark between the loads above and here makes this return at once.
                std::thread::park();
            }
        }
    }
}

/// Spins for a few microseconds, then offers the processor to others between looks: when two of our threads
/// share a processor (other work has the rest), the one waited for runs at once. There is no pause
/// instruction because on virtual machines a run of pauses can trap to the host.
#[inline]
fn pause(patience: &mut u32) {
    *patience = patience.saturating_add(1);
    if *patience > 4_000 {
        std::thread::yield_now();
    }
}

/// A slice that the parts of one [`run`] write at disjoint places.
pub(crate) struct Outputs<'a, T>(*mut T, usize, std::marker::PhantomData<&'a mut [T]>);

// SAFETY: the parts write disjoint ranges (the contract of `Outputs::range`), so sharing the pointer
// between threads is sharing disjoint `&mut [T]`.
unsafe impl<T: Send> Sync for Outputs<'_, T> {}

impl<'a, T> Outputs<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Outputs(slice.as_mut_ptr(), slice.len(), std::marker::PhantomData)
    }

    /// The elements `at..at + len`.
    ///
    /// # Safety
    /// No two ranges alive at the same time may overlap.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // disjoint by contract
    pub(crate) unsafe fn range(&self, at: usize, len: usize) -> &mut [T] {
        assert!(at <= self.1 && len <= self.1 - at, "part writes {at}..{} of {}", at + len, self.1);
        // SAFETY: in bounds by the assertion, disjoint by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(parts: usize) {
        let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
        run(parts, &|i| {
            counts[i].fetch_add(1, Relaxed);
            run(3, &|_| ()); // nested: must not wait for itself
        });
        assert!(counts.iter().all(|count| count.load(Relaxed) == 1));
    }

    #[test]
    fn every_part_runs_once() {
        for parts in [0, 1, 2, 3, 17] {
            covered(parts);
            forward(|| (0..50).for_each(|_| covered(parts)));
        }
        forward(|| forward(|| covered(5)));
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller_and_the_pool_survives() {
        for bad in 0..4 {
            let caught = catch_unwind(|| forward(|| run(4, &|i| assert!(i != bad, "part {i} broke"))));
            let message = *caught.unwrap_err().downcast::<String>().unwrap();
            assert_eq!(message, format!("part {bad} broke"));
            covered(8);
        }
    }

    #[test]
    fn threads_may_change_between_runs() {
        for threads in [1, 3, 2, 0] {
            set_threads(threads);
            covered(7);
            forward(|| covered(7));
        }
    }
}
