//! Operators of our own, which the training form of a network has. In files each is a node of a domain of our own and a
//! local function of standard operators, so that other runtimes compute it too.

use super::attribute::attributes;

/// Domain of these operators.
pub const DOMAIN: &str = "slimnet";

/// Version of the domain that is read and written.
pub const VERSION: i64 = 1;

attributes! {
    /// The weights that are left of a sparse weight: w · mask, element by element.
    ///
    /// Inputs: `w`, of floating-point numbers, and `mask`, `uint8` of the same shape: 1 keeps, 0 masks. The product is that
    /// of IEEE 754, so that a masked NaN is NaN and a masked negative number is −0.
    pub struct Mask {}
}
