//! Floating-point formats of at most 8 bits, by one description of each.

use super::ElementType;

/// What a small float's bit patterns mean.
struct Format {
    mantissa_bits: u32,
    exponent_bits: u32,
    bias: i32,
    specials: Specials,
}

/// Which patterns are not finite numbers.
#[derive(PartialEq)]
enum Specials {
    /// As IEEE 754: the largest exponent is infinity and NaN.
    Ieee,
    /// Only the all-ones pattern is NaN.
    AllOnesNan,
    /// Only the pattern of negative zero is NaN.
    NegativeZeroNan,
    /// Every pattern is a finite number.
    None,
}

fn format(element_type: ElementType) -> Option<Format> {
    let (exponent_bits, mantissa_bits, bias, specials) = match element_type {
        ElementType::F8E4M3FN => (4, 3, 7, Specials::AllOnesNan),
        ElementType::F8E4M3FNUZ => (4, 3, 8, Specials::NegativeZeroNan),
        ElementType::F8E5M2 => (5, 2, 15, Specials::Ieee),
        ElementType::F8E5M2FNUZ => (5, 2, 16, Specials::NegativeZeroNan),
        ElementType::F4E2M1 => (2, 1, 1, Specials::None),
        _ => return None,
    };
    Some(Format { mantissa_bits, exponent_bits, bias, specials })
}

impl Format {
    fn sign_bit(&self) -> u8 {
        1 << (self.exponent_bits + self.mantissa_bits)
    }

    /// The value of a pattern without its sign bit; `None` where it is infinity or NaN.
    fn magnitude(&self, pattern: u8) -> Option<f64> {
        let all_ones = self.sign_bit() - 1;
        let exponent = i32::from(pattern >> self.mantissa_bits);
        let mantissa = f64::from(pattern & ((1 << self.mantissa_bits) - 1));
        let special = match self.specials {
            Specials::Ieee => exponent == (1 << self.exponent_bits) - 1,
            Specials::AllOnesNan => pattern == all_ones,
            Specials::NegativeZeroNan | Specials::None => false,
        };
        if special {
            return None;
        }
        let steps = f64::from(1u32 << self.mantissa_bits);
        Some(if exponent == 0 {
            (mantissa / steps) * 2f64.powi(1 - self.bias)
        } else {
            (1.0 + mantissa / steps) * 2f64.powi(exponent - self.bias)
        })
    }
}

/// The value of a pattern of `element_type`; NaN for other types.
pub(super) fn decode(element_type: ElementType, pattern: u8) -> f64 {
    if element_type == ElementType::F8E8M0 {
        return if pattern == 0xFF { f64::NAN } else { 2f64.powi(i32::from(pattern) - 127) };
    }
    let Some(format) = format(element_type) else { return f64::NAN };
    let sign_bit = format.sign_bit();
    if format.specials == Specials::NegativeZeroNan && pattern == sign_bit {
        return f64::NAN;
    }
    let magnitude = match format.magnitude(pattern & (sign_bit - 1)) {
        Some(magnitude) => magnitude,
        None if format.specials == Specials::Ieee && pattern & ((1 << format.mantissa_bits) - 1) == 0 => f64::INFINITY,
        None => f64::NAN,
    };
    if pattern & sign_bit == 0 { magnitude } else { -magnitude }
}

/// The pattern nearest to `value`, ties to even. Beyond the largest finite number: the largest if `saturate`, else
/// infinity or NaN, whichever the type has (types without either always saturate).
pub(super) fn encode(element_type: ElementType, value: f64, saturate: bool) -> u8 {
    if element_type == ElementType::F8E8M0 {
        return encode_power_of_two(value, saturate);
    }
    let Some(format) = format(element_type) else { return 0 };
    let sign_bit = format.sign_bit();
    let sign = if value.is_sign_negative() { sign_bit } else { 0 };
    let not_a_number = match format.specials {
        Specials::Ieee | Specials::AllOnesNan => sign_bit - 1,
        // A type without NaN gives negative zero, as in the tests of ONNX.
        Specials::NegativeZeroNan | Specials::None => sign_bit,
    };
    if value.is_nan() {
        return not_a_number;
    }
    let wanted = value.abs();
    // Magnitudes grow with their pattern: the finite ones are 0..=largest.
    let largest = (0..sign_bit).rev().find(|&pattern| format.magnitude(pattern).is_some()).unwrap_or(0);
    let above = (0..=largest).find(|&pattern| format.magnitude(pattern).is_some_and(|magnitude| magnitude >= wanted));
    let magnitude_of = |pattern: u8| format.magnitude(pattern).unwrap_or(f64::INFINITY);
    let nearest = match above {
        Some(0) => Some(0),
        Some(above) => {
            let (low, high) = (magnitude_of(above - 1), magnitude_of(above));
            let below = (wanted - low < high - wanted) || (wanted - low == high - wanted && above % 2 == 1);
            Some(if below { above - 1 } else { above })
        }
        None => {
            // Past the largest: still that one if rounding would have brought it back.
            let step = magnitude_of(largest) - magnitude_of(largest - 1);
            let excess = wanted - magnitude_of(largest);
            let rounds_back = excess < step / 2.0 || (excess == step / 2.0 && largest % 2 == 0);
            (rounds_back || saturate || format.specials == Specials::None).then_some(largest)
        }
    };
    match nearest {
        Some(0) if format.specials == Specials::NegativeZeroNan => 0,
        Some(pattern) => sign | pattern,
        None if format.specials == Specials::Ieee => sign | (largest + 1),
        None => not_a_number | if format.specials == Specials::AllOnesNan { sign } else { 0 },
    }
}

/// `F8E8M0` rounds up to the next power of two where the value is not one (the ONNX default `round_mode` is "up").
fn encode_power_of_two(value: f64, saturate: bool) -> u8 {
    let value = value.abs();
    if value.is_nan() {
        return 0xFF;
    }
    let exponent = value.log2().ceil();
    if exponent > 127.0 { if saturate { 0xFE } else { 0xFF } } else { (exponent.max(-127.0) + 127.0) as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_returns() {
        for element_type in
            [ElementType::F8E4M3FN, ElementType::F8E4M3FNUZ, ElementType::F8E5M2, ElementType::F8E5M2FNUZ]
        {
            for pattern in 0..=255u8 {
                let value = decode(element_type, pattern);
                if !value.is_nan() {
                    assert_eq!(encode(element_type, value, false), pattern, "{element_type} {pattern:#x} = {value}");
                }
            }
        }
        for pattern in 0..16 {
            assert_eq!(encode(ElementType::F4E2M1, decode(ElementType::F4E2M1, pattern), true), pattern);
        }
    }

    #[test]
    fn known_values() {
        assert_eq!(decode(ElementType::F8E4M3FN, 0x7E), 448.0);
        assert_eq!(decode(ElementType::F8E5M2, 0x7B), 57344.0);
        assert_eq!(decode(ElementType::F8E5M2, 0x7C), f64::INFINITY);
        assert_eq!(encode(ElementType::F8E4M3FN, 1e6, true), 0x7E);
        assert!(decode(ElementType::F8E4M3FN, encode(ElementType::F8E4M3FN, 1e6, false)).is_nan());
        assert_eq!(decode(ElementType::F4E2M1, 7), 6.0);
        assert_eq!(decode(ElementType::F8E8M0, 127), 1.0);
    }
}
