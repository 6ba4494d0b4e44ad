//! How long each operation takes on the CPU, on request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

static ON: AtomicBool = AtomicBool::new(false);
static TABLE: Mutex<BTreeMap<&'static str, (u64, Duration)>> = Mutex::new(BTreeMap::new());

/// Takes the time until it is dropped.
pub struct Timer(Option<(&'static str, Instant)>);

/// Starts the clock of an operation, if timing was asked for.
pub fn of(operation: &'static str) -> Timer {
    Timer(ON.load(Relaxed).then(|| (operation, Instant::now())))
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some((operation, started)) = self.0 {
            let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = table.entry(operation).or_default();
            entry.0 += 1;
            entry.1 += started.elapsed();
        }
    }
}

/// Forgets what was measured, and measures from now on, or no longer.
pub fn record(on: bool) {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner).clear();
    ON.store(on, Relaxed);
}

/// Operation, calls and seconds, the longest first.
pub fn measured() -> Vec<(&'static str, u64, f64)> {
    let table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows: Vec<_> =
        table.iter().map(|(name, (calls, time))| (*name, *calls, time.as_secs_f64())).collect();
    rows.sort_by(|a, b| b.2.total_cmp(&a.2));
    rows
}
