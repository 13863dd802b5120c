//! Ctrl-C: work that can be gone on with is saved and ends, instead of being cut off.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C no longer ends the program: whoever works looks whether it was [`requested`].
pub fn watch() {
    // Fails only if it is set already.
    let _ = ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::SeqCst));
}

/// Whether the work is to end.
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
