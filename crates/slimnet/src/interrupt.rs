//! Ctrl-C: work that can be gone on with is saved and ends, instead of being cut off.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on only the second Ctrl-C ends the program at once: whoever works looks whether it was [`requested`].
pub fn watch() {
    // Fails only if it is set already.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            // Asked for twice: as a program ends that does not look.
            std::process::exit(130);
        }
    });
}

/// Whether the work is to end.
pub fn requested() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}
