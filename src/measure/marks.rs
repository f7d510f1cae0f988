//! Wakes the collector when the measured program has written a mark, so that one that does not say when it happened is seen at once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::collector::Order;

/// The shortest time between two looks, s.
const SHORTEST: f64 = 0.001;
/// The same where marks say when they happened: the collector looks at its next reading anyway.
const STAMPED: f64 = 0.02;

/// Watches a file on a thread of its own. Where the system cannot, marks are seen at the next reading.
pub fn watch(path: &Path, orders: Sender<Order>, stamped: Arc<AtomicBool>) {
    let Ok(watcher) = Inotify::init(InitFlags::IN_CLOEXEC) else { return };
    if watcher.add_watch(path, AddWatchFlags::IN_MODIFY).is_err() {
        return;
    }
    std::thread::spawn(move || {
        while watcher.read_events().is_ok() && orders.send(Order::Marks).is_ok() {
            let pause = if stamped.load(Ordering::Relaxed) { STAMPED } else { SHORTEST };
            std::thread::sleep(Duration::from_secs_f64(pause));
        }
    });
}
