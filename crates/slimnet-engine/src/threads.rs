//! The threads that kernels run on.

use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};

/// A pool of threads. How many there are changes no result.
#[derive(Debug)]
pub struct Threads(ThreadPool);

impl Threads {
    /// So many threads; 0 means one a processor.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn new(count: usize) -> Result<Self, ThreadPoolBuildError> {
        ThreadPoolBuilder::new().num_threads(count).build().map(Self)
    }

    /// Runs `work` on these threads and waits for it.
    pub fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.0.install(work)
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.0.current_num_threads()
    }
}
