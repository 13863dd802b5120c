//! How much data a file may ask for without holding it.

/// Bytes of data that may still be made of less: of sparse tensors, and of shapes. A small file must not be able to ask
/// for endless memory.
pub(super) struct Budget {
    left: usize,
}

/// Bytes that may be made for each byte of a file.
pub(super) const FACTOR: usize = 100;
/// Bytes that small files may use in any case.
const FREE: usize = 1 << 20;

impl Budget {
    /// The budget of a file of so many bytes.
    pub(super) fn new(file_size: usize) -> Self {
        Self { left: file_size.saturating_mul(FACTOR).saturating_add(FREE) }
    }

    /// Takes so many bytes out of the budget; `false` if they are not there.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let rest = self.left.checked_sub(bytes);
        self.left = rest.unwrap_or(self.left);
        rest.is_some()
    }
}
