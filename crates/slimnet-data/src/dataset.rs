//! Samples as they are stored: compact arrays or image files.

use std::borrow::Cow;

use half::{bf16, f16};
use slimnet_graph::tensor::Scalar;
use slimnet_graph::{ElementType, Tensor};

use crate::error::{DataError, Result};
use crate::image_file::ImageFiles;

/// Integers beyond ±2^24 have no exact `f32` in general.
const EXACT: u64 = 1 << 24;

#[derive(Debug)]
enum Storage {
    /// `[samples, …]`, of a type that [`Array::new`] accepts.
    Tensor(Tensor),
    /// Decoded when they are asked for.
    Images(ImageFiles),
}

/// A named array: one entry a sample, kept in the type it came in and read as `f32`.
#[derive(Debug)]
pub struct Array {
    name: String,
    storage: Storage,
}

impl Array {
    /// An array of shape `[samples, …]` of `u8`, `i8`, wider integers, bool, `f16`, `bf16`, `f32` or `f64`.
    ///
    /// # Errors
    /// If the tensor has no axis or another element type, if a number is not finite as `f32`, or an integer has no
    /// exact `f32`: the error names the sample and the position.
    pub fn new(name: impl Into<String>, tensor: Tensor) -> Result<Self> {
        let name = name.into();
        let array = Self { name, storage: Storage::Tensor(tensor) };
        array.check()?;
        Ok(array)
    }

    pub(crate) fn of_images(name: impl Into<String>, images: ImageFiles) -> Self {
        Self { name: name.into(), storage: Storage::Images(images) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        match &self.storage {
            Storage::Tensor(tensor) => tensor.shape()[0],
            Storage::Images(images) => images.len(),
        }
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type of the stored elements.
    pub fn element_type(&self) -> ElementType {
        match &self.storage {
            Storage::Tensor(tensor) => tensor.element_type(),
            Storage::Images(_) => ElementType::U8,
        }
    }

    /// Shapes that samples have: one, except for image files of different sizes.
    pub fn sample_shapes(&self) -> Vec<Vec<usize>> {
        match &self.storage {
            Storage::Tensor(tensor) => vec![tensor.shape()[1..].to_vec()],
            Storage::Images(images) => images.shapes(),
        }
    }

    /// Puts a sample's elements, row-major, into a vector (whose contents go) and gives the sample's shape. Types of
    /// 32 bits and fewer are read as they are, doubles are rounded to the nearest `f32`.
    ///
    /// # Errors
    /// If an image file cannot be read.
    ///
    /// # Panics
    /// If there is no such sample.
    pub(crate) fn read(&self, sample: usize, values: &mut Vec<f32>) -> Result<Cow<'_, [usize]>> {
        match &self.storage {
            Storage::Images(images) => images.read(sample, values).map(Cow::Owned),
            Storage::Tensor(tensor) => {
                let shape = &tensor.shape()[1..];
                let count: usize = shape.iter().product();
                let range = sample * count..(sample + 1) * count;
                values.clear();
                match tensor.element_type() {
                    ElementType::U8 | ElementType::Bool => extend(tensor, range, values, |v: u8| f32::from(v)),
                    ElementType::I8 => extend(tensor, range, values, |v: i8| f32::from(v)),
                    ElementType::U16 => extend(tensor, range, values, |v: u16| f32::from(v)),
                    ElementType::I16 => extend(tensor, range, values, |v: i16| f32::from(v)),
                    ElementType::U32 => extend(tensor, range, values, |v: u32| v as f32),
                    ElementType::I32 => extend(tensor, range, values, |v: i32| v as f32),
                    ElementType::U64 => extend(tensor, range, values, |v: u64| v as f32),
                    ElementType::I64 => extend(tensor, range, values, |v: i64| v as f32),
                    ElementType::F16 => extend(tensor, range, values, |v: f16| v.to_f32()),
                    ElementType::BF16 => extend(tensor, range, values, |v: bf16| v.to_f32()),
                    ElementType::F32 => extend(tensor, range, values, |v: f32| v),
                    // `new` accepts no other type.
                    _ => extend(tensor, range, values, |v: f64| v as f32),
                }
                Ok(Cow::Borrowed(shape))
            }
        }
    }

    fn check(&self) -> Result<()> {
        let Storage::Tensor(tensor) = &self.storage else { return Ok(()) };
        if tensor.rank() == 0 {
            let expected = "one axis of samples at least".into();
            return Err(DataError::Shape { name: self.name.clone(), expected, found: Vec::new() });
        }
        match tensor.element_type() {
            ElementType::U8 | ElementType::I8 | ElementType::U16 | ElementType::I16 | ElementType::Bool => Ok(()),
            ElementType::U32 => self.exact(tensor, |v: u32| u64::from(v)),
            ElementType::I32 => self.exact(tensor, |v: i32| u64::from(v.unsigned_abs())),
            ElementType::U64 => self.exact(tensor, |v: u64| v),
            ElementType::I64 => self.exact(tensor, |v: i64| v.unsigned_abs()),
            ElementType::F16 => self.finite(tensor, |v: f16| v.to_f64()),
            ElementType::BF16 => self.finite(tensor, |v: bf16| v.to_f64()),
            ElementType::F32 => self.finite(tensor, |v: f32| f64::from(v)),
            ElementType::F64 => self.finite(tensor, |v: f64| v),
            other => Err(DataError::ElementType {
                name: self.name.clone(),
                found: other.to_string(),
                expected: "integers, bool, float16, bfloat16, float32 or float64",
            }),
        }
    }

    fn exact<T: Scalar + ToString>(&self, tensor: &Tensor, magnitude: impl Fn(T) -> u64) -> Result<()> {
        match find(tensor, |value| magnitude(value) > EXACT) {
            None => Ok(()),
            Some((sample, position, value)) => {
                Err(DataError::Inexact { name: self.name.clone(), sample, position, value: value.to_string() })
            }
        }
    }

    fn finite<T: Scalar>(&self, tensor: &Tensor, number: impl Fn(T) -> f64) -> Result<()> {
        match find(tensor, |value| !(number(value) as f32).is_finite()) {
            None => Ok(()),
            Some((sample, position, value)) => {
                Err(DataError::NotFinite { name: self.name.clone(), sample, position, value: number(value) })
            }
        }
    }
}

/// Elements of a tensor of 16-bit or wider types may lie unaligned in a file: they are then read byte by byte.
fn extend<T: Scalar>(tensor: &Tensor, range: std::ops::Range<usize>, values: &mut Vec<f32>, number: impl Fn(T) -> f32) {
    // Only string tensors have no bytes.
    let bytes =
        tensor.bytes().map_or(&[][..], |bytes| &bytes[range.start * size_of::<T>()..range.end * size_of::<T>()]);
    match bytemuck::try_cast_slice::<u8, T>(bytes) {
        Ok(elements) => values.extend(elements.iter().map(|&value| number(value))),
        Err(_) => values.extend(bytes.chunks_exact(size_of::<T>()).map(|b| number(bytemuck::pod_read_unaligned(b)))),
    }
}

/// The first element that is wrong: its sample, its position inside the sample, its value.
fn find<T: Scalar>(tensor: &Tensor, wrong: impl Fn(T) -> bool) -> Option<(usize, Vec<usize>, T)> {
    let values = tensor.values::<T>().ok()?;
    let index = values.iter().position(|&value| wrong(value))?;
    let mut position = position_of(index, tensor.shape());
    let sample = position.remove(0);
    Some((sample, position, values[index]))
}

/// Where in a shape an element lies, row-major.
pub(crate) fn position_of(index: usize, shape: &[usize]) -> Vec<usize> {
    let mut rest = index;
    let mut position = vec![0; shape.len()];
    for (place, &length) in position.iter_mut().zip(shape).rev() {
        *place = rest % length;
        rest /= length;
    }
    position
}

/// What a network should say of each sample.
#[derive(Debug)]
pub enum Target {
    /// Nothing is known.
    None,
    /// The index of a class a sample.
    Classes {
        /// One label a sample, each in `0..classes`.
        labels: Vec<i64>,
        /// Number of classes.
        classes: usize,
    },
    /// Numbers, such as a regression's.
    Array(Array),
}

/// Named inputs and perhaps a target, of the same number of samples.
#[derive(Debug)]
pub struct Dataset {
    inputs: Vec<Array>,
    target: Target,
}

impl Dataset {
    /// A data set. The first input is the one that preprocessing and augmentation change.
    ///
    /// # Errors
    /// If there is no input or no sample, if the numbers of samples differ, if a sample has no elements, if there are
    /// 2^32 samples or more, or a label is not in `0..classes`.
    pub fn new(inputs: Vec<Array>, target: Target) -> Result<Self> {
        let Some(first) = inputs.first() else { return Err(DataError::Empty("a data set without inputs".into())) };
        let expected = first.len();
        if expected == 0 {
            return Err(DataError::Empty(format!("`{}`", first.name())));
        }
        if u32::try_from(expected).is_err() {
            return Err(DataError::Shape {
                name: first.name().to_owned(),
                expected: "fewer than 2^32 samples".into(),
                found: vec![expected],
            });
        }
        let extra = match &target {
            Target::Array(array) => Some(array),
            _ => None,
        };
        for array in inputs.iter().chain(extra) {
            if array.len() != expected {
                return Err(DataError::Count { name: array.name().to_owned(), expected, found: array.len() });
            }
            // A small file can declare any number of samples that have nothing in them.
            if let Some(found) = array.sample_shapes().into_iter().find(|shape| shape.contains(&0)) {
                let expected = "samples with elements".into();
                return Err(DataError::Shape { name: array.name().to_owned(), expected, found });
            }
        }
        if let Target::Classes { labels, classes } = &target {
            if labels.len() != expected {
                return Err(DataError::Count { name: "labels".into(), expected, found: labels.len() });
            }
            check_labels(labels, *classes)?;
        }
        Ok(Self { inputs, target })
    }

    /// The inputs.
    pub fn inputs(&self) -> &[Array] {
        &self.inputs
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Number of samples.
    #[allow(clippy::len_without_is_empty)] // never empty
    pub fn len(&self) -> usize {
        self.inputs[0].len()
    }
}

/// Labels must be indices of classes.
pub(crate) fn check_labels(labels: &[i64], classes: usize) -> Result<()> {
    let wrong = |&label: &i64| usize::try_from(label).map_or(true, |label| label >= classes);
    match labels.iter().position(wrong) {
        None => Ok(()),
        Some(sample) => Err(DataError::Label { sample, found: labels[sample], classes: classes.max(1) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(shape: Vec<usize>, values: Vec<f32>) -> Result<Array> {
        Array::new("x", Tensor::from_values(shape, values).unwrap())
    }

    #[test]
    fn every_type_is_read_as_numbers() {
        let mut values = Vec::new();
        for element_type in ElementType::ALL {
            let Ok(tensor) = Tensor::from_f64s(element_type, vec![2, 3], vec![0.0, 1.0, 1.0, 1.0, 0.0, 1.0]) else {
                continue;
            };
            let Ok(array) = Array::new("x", tensor) else {
                assert!(element_type.is_float() || element_type.byte_count(8) < Some(8), "{element_type}");
                continue;
            };
            assert_eq!(array.read(1, &mut values).unwrap().as_ref(), &[3]);
            assert_eq!(values, [1.0, 0.0, 1.0], "{element_type}");
        }
        let unaligned = bytes::Bytes::from([&[0u8][..], &0.5f64.to_le_bytes()].concat()).slice(1..);
        let array = Array::new("x", Tensor::from_bytes(ElementType::F64, vec![1], unaligned).unwrap()).unwrap();
        array.read(0, &mut values).unwrap();
        assert_eq!(values, [0.5]);
    }

    #[test]
    fn numbers_without_a_float_are_named() {
        let error = array(vec![2, 2, 2], vec![0., 0., 0., 0., 0., 0., f32::NAN, 0.]).unwrap_err();
        assert!(matches!(&error, DataError::NotFinite { sample: 1, position, .. } if position == &[1, 0]), "{error}");
        let large = Tensor::from_values(vec![1], vec![1e300f64]).unwrap();
        assert!(matches!(Array::new("x", large), Err(DataError::NotFinite { sample: 0, .. })));
        let exact = |value: i64| Array::new("x", Tensor::from_values(vec![2], vec![0, value]).unwrap());
        assert!(exact(-(1 << 24)).is_ok());
        assert!(matches!(exact((1 << 24) + 1), Err(DataError::Inexact { sample: 1, .. })));
        assert!(matches!(exact(i64::MIN), Err(DataError::Inexact { .. })));
        assert!(Array::new("x", Tensor::scalar(1f32)).is_err());
    }

    #[test]
    fn data_sets_fit_together() {
        let labels = |labels: &[i64], classes| Target::Classes { labels: labels.to_vec(), classes };
        let x = || array(vec![2, 1], vec![0., 1.]).unwrap();
        assert!(Dataset::new(vec![x()], labels(&[0, 2], 3)).is_ok());
        assert!(matches!(Dataset::new(vec![], Target::None), Err(DataError::Empty(_))));
        assert!(matches!(
            Dataset::new(vec![array(vec![0, 1], vec![]).unwrap()], Target::None),
            Err(DataError::Empty(_))
        ));
        assert!(matches!(Dataset::new(vec![x()], labels(&[0], 3)), Err(DataError::Count { .. })));
        assert!(matches!(
            Dataset::new(vec![x()], labels(&[0, 3], 3)),
            Err(DataError::Label { sample: 1, found: 3, .. })
        ));
        assert!(matches!(Dataset::new(vec![x()], labels(&[-1, 0], 3)), Err(DataError::Label { found: -1, .. })));
        let hollow = array(vec![1 << 31, 0], vec![]).unwrap();
        assert!(matches!(Dataset::new(vec![hollow], Target::None), Err(DataError::Shape { .. })));
        let y = Target::Array(array(vec![3], vec![0.; 3]).unwrap());
        assert!(matches!(Dataset::new(vec![x()], y), Err(DataError::Count { expected: 2, found: 3, .. })));
    }
}
