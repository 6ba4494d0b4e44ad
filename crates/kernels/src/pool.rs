//! The threads of the kernels.

/// Runs `part(0..parts)` and returns when all are done.
pub fn run(parts: usize, part: &(dyn Fn(usize) + Sync)) {
    (0..parts).for_each(part);
}

/// Number of threads, the caller included.
pub fn threads() -> usize {
    1
}

/// Sets the number of threads, the caller included (at least 1).
pub fn set_threads(_threads: usize) {}

/// Runs `body` with the workers kept awake, so that each [`run`] inside costs a flag.
pub fn forward<R>(body: impl FnOnce() -> R) -> R {
    body()
}
