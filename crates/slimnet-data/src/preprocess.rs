//! From numbers as they are stored to numbers as a network wants them.

use std::fmt::Display;
use std::str::FromStr;

use crate::dataset::Array;
use crate::error::{DataError, Result};
use crate::resize::resize;

/// Order of the axes of a stored sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// As the network wants it: `[C, H, W]` for images. Samples of any other shape are of this layout too.
    #[default]
    Nchw,
    /// `[H, W, C]`, made `[C, H, W]`.
    Nhwc,
    /// `[H, W]`, made `[1, H, W]`.
    Nhw,
}

/// How an image `[C, H, W]` is resized: bilinearly, averaging where it shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// The shorter side gets this length (pixels), the other in proportion, rounded to nearest.
    Shorter(usize),
    /// Height and width (pixels), whatever the proportion.
    Exact(usize, usize),
}

/// What is done to every sample of the first input: the layout, then for images resizing and a window cut from the
/// centre, then `(x · scale − mean) / std` with a mean and a standard deviation for each channel (the first axis). It
/// is written into the network's metadata under `slimnet.data.*`, so that every later command does the same.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessing {
    /// Factor before the mean is subtracted, such as 1/255.
    pub scale: f32,
    /// Mean, of the scaled numbers: one for all channels or one for each.
    pub mean: Vec<f32>,
    /// Standard deviation, of the scaled numbers, above 0: one for all channels or one for each.
    pub std: Vec<f32>,
    /// Order of the stored axes.
    pub layout: Layout,
    /// Added to every label: −1 for classes counted from 1. Opening a source does it.
    pub labels_offset: i64,
    /// How images are resized.
    pub resize: Option<Resize>,
    /// Height and width of the window cut from the centre of the image (pixels).
    pub crop: Option<[usize; 2]>,
}

impl Default for Preprocessing {
    /// Changes nothing.
    fn default() -> Self {
        let (mean, std) = (vec![0.0], vec![1.0]);
        Self { scale: 1.0, mean, std, layout: Layout::Nchw, labels_offset: 0, resize: None, crop: None }
    }
}

const PREFIX: &str = "slimnet.data.";

/// Space that [`Preprocessing::apply`] works in, kept from sample to sample.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    moved: Vec<f32>,
    rows: Vec<f32>,
    resized: Vec<f32>,
}

impl Preprocessing {
    /// Scale, mean and standard deviation, nothing else.
    pub fn normalize(scale: f32, mean: &[f32], std: &[f32]) -> Self {
        Self { scale, mean: mean.to_vec(), std: std.to_vec(), ..Self::default() }
    }

    /// Sets one field from text, as the command line and metadata have it: `scale` (`0.5` or `1/255`), `mean` and `std`
    /// (numbers with commas between), `layout` (`nchw`, `nhwc`, `nhw`), `labels-offset`, `resize` (`32` for the shorter
    /// side, `32x48` for height and width, `none`), `crop` (`28`, `28x24`, `none`).
    ///
    /// # Errors
    /// If there is no such field or it cannot have this value.
    pub fn set(&mut self, key: &str, text: &str) -> Result<()> {
        let wrong = |expected: &str| DataError::option(key, text, expected);
        match key {
            "scale" => {
                let scale = match text.split_once('/') {
                    Some((a, b)) => number::<f64>(a).zip(number::<f64>(b)).map(|(a, b)| (a / b) as f32),
                    None => number(text),
                };
                self.scale = scale
                    .filter(|scale| scale.is_finite() && *scale != 0.0)
                    .ok_or_else(|| wrong("a number other than 0, such as 0.5 or 1/255"))?;
            }
            "mean" => {
                self.mean = numbers(text, |mean| mean.is_finite())
                    .ok_or_else(|| wrong("numbers with commas between, one or one a channel"))?;
            }
            "std" => {
                self.std = numbers(text, |std| std.is_normal() && *std > 0.0)
                    .ok_or_else(|| wrong("numbers above 0 with commas between, one or one a channel"))?;
            }
            "layout" => {
                self.layout = match text.to_ascii_lowercase().as_str() {
                    "nchw" => Layout::Nchw,
                    "nhwc" => Layout::Nhwc,
                    "nhw" => Layout::Nhw,
                    _ => return Err(wrong("nchw, nhwc or nhw")),
                };
            }
            "labels-offset" => self.labels_offset = number(text).ok_or_else(|| wrong("an integer"))?,
            "resize" => {
                self.resize = match (text, sides(text)) {
                    ("none", _) => None,
                    (_, Some((side, None))) => Some(Resize::Shorter(side)),
                    (_, Some((height, Some(width)))) => Some(Resize::Exact(height, width)),
                    _ => return Err(wrong("a length as 32, height and width as 32x48 (at most 16384), or none")),
                };
            }
            "crop" => {
                self.crop = match (text, sides(text)) {
                    ("none", _) => None,
                    (_, Some((height, width))) => Some([height, width.unwrap_or(height)]),
                    _ => return Err(wrong("a length as 28, height and width as 28x24 (at most 16384), or none")),
                };
            }
            _ => return Err(DataError::option("preprocessing", key, KEYS.join(", "))),
        }
        Ok(())
    }

    /// Every field as metadata of a network; [`Preprocessing::from_metadata`] gives back the same.
    pub fn to_metadata(&self) -> Vec<(String, String)> {
        let layout = match self.layout {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
            Layout::Nhw => "nhw",
        };
        let resize = match self.resize {
            None => "none".to_owned(),
            Some(Resize::Shorter(side)) => side.to_string(),
            Some(Resize::Exact(height, width)) => format!("{height}x{width}"),
        };
        let crop = self.crop.map_or("none".to_owned(), |[height, width]| format!("{height}x{width}"));
        let values = [
            self.scale.to_string(),
            joined(&self.mean),
            joined(&self.std),
            layout.to_owned(),
            self.labels_offset.to_string(),
            resize,
            crop,
        ];
        KEYS.iter().map(|key| format!("{PREFIX}{key}")).zip(values).collect()
    }

    /// Reads what [`Preprocessing::to_metadata`] has written; `None` if there is nothing of it. Other keys are passed
    /// over; a field that is not there has its default.
    ///
    /// # Errors
    /// If a field has a value that it cannot have.
    pub fn from_metadata(metadata: &[(String, String)]) -> Result<Option<Self>> {
        let mut found = None;
        for (key, value) in metadata {
            let Some(key) = key.strip_prefix(PREFIX).filter(|key| KEYS.contains(key)) else { continue };
            found.get_or_insert_with(Self::default).set(key, value)?;
        }
        Ok(found)
    }

    /// Shape of a sample of the array after all this.
    ///
    /// # Errors
    /// If samples do not fit what is to be done, or come out in different shapes.
    pub fn output_shape(&self, array: &Array) -> Result<Vec<usize>> {
        let mut common: Option<Vec<usize>> = None;
        for shape in array.sample_shapes() {
            let wrong = |expected: &str| DataError::Shape {
                name: array.name().to_owned(),
                expected: expected.into(),
                found: shape.clone(),
            };
            let out = self.shape_of(&shape).map_err(wrong)?;
            if *common.get_or_insert_with(|| out.clone()) != out {
                return Err(wrong("samples of one size; use --resize or --crop to make them so"));
            }
        }
        common.ok_or_else(|| DataError::Empty(format!("`{}`", array.name())))
    }

    fn shape_of(&self, shape: &[usize]) -> Result<Vec<usize>, &'static str> {
        let mut shape = match (self.layout, shape) {
            (Layout::Nchw, _) => shape.to_vec(),
            (Layout::Nhwc, &[h, w, c]) => vec![c, h, w],
            (Layout::Nhw, &[h, w]) => vec![1, h, w],
            (Layout::Nhwc, _) => return Err("samples [H, W, C] for layout nhwc"),
            (Layout::Nhw, _) => return Err("samples [H, W] for layout nhw"),
        };
        if self.resize.is_some() || self.crop.is_some() {
            let &[channels, height, width] = shape.as_slice() else {
                return Err("images [C, H, W] to resize or crop; see --layout");
            };
            if shape.contains(&0) {
                return Err("images that are not empty to resize or crop");
            }
            let [height, width] = resized(self.resize, height, width);
            if height.max(width) > MOST_PIXELS_A_SIDE {
                return Err("images that are not so long; resize to both height and width");
            }
            let [height, width] = match self.crop {
                Some([h, w]) if h > height || w > width => return Err("images at least as large as the crop"),
                crop => crop.unwrap_or([height, width]),
            };
            shape = vec![channels, height, width];
        }
        for list in [&self.mean, &self.std] {
            if list.is_empty() || list.len() != 1 && Some(&list.len()) != shape.first() {
                return Err("as many channels as --mean and --std have numbers");
            }
        }
        Ok(shape)
    }

    /// Does it to one sample. `out` has the length of the output shape, which [`Preprocessing::output_shape`] finds.
    pub(crate) fn apply(&self, values: &[f32], shape: &[usize], scratch: &mut Scratch, out: &mut [f32]) {
        let mut values = values;
        let Scratch { moved, rows, resized: image_resized } = scratch;
        let image = match (self.layout, shape) {
            (Layout::Nhwc, &[height, width, channels]) => {
                moved.clear();
                moved.extend((0..channels).flat_map(|c| values[c.min(values.len())..].iter().step_by(channels)));
                values = moved;
                [channels, height, width]
            }
            (Layout::Nchw, &[channels, height, width]) => [channels, height, width],
            (_, &[height, width]) => [1, height, width],
            _ => [1, 1, values.len()],
        };
        let [channels, height, width] = image;
        let [new_height, new_width] = resized(self.resize, height, width);
        if [new_height, new_width] != [height, width] {
            resize(values, image, [new_height, new_width], rows, image_resized);
            values = image_resized;
        }
        let [crop_height, crop_width] = self.crop.unwrap_or([new_height, new_width]);
        if [crop_height, crop_width] == [new_height, new_width] {
            self.normalize_into(values, out);
            return;
        }
        let (top, left) = ((new_height - crop_height) / 2, (new_width - crop_width) / 2);
        rows.clear();
        for row in (0..channels).flat_map(|channel| (0..crop_height).map(move |row| channel * new_height + top + row)) {
            rows.extend_from_slice(&values[row * new_width + left..][..crop_width]);
        }
        self.normalize_into(rows, out);
    }

    fn normalize_into(&self, values: &[f32], out: &mut [f32]) {
        let channels = self.mean.len().max(self.std.len());
        let length = (values.len() / channels).max(1);
        for (channel, (values, out)) in values.chunks(length).zip(out.chunks_mut(length)).enumerate() {
            let mean = self.mean[channel.min(self.mean.len() - 1)];
            let std = self.std[channel.min(self.std.len() - 1)];
            for (out, value) in out.iter_mut().zip(values) {
                *out = (value * self.scale - mean) / std;
            }
        }
    }
}

const KEYS: [&str; 7] = ["scale", "mean", "std", "layout", "labels-offset", "resize", "crop"];

/// A narrow strip may not grow into more memory than there is.
const MOST_PIXELS_A_SIDE: usize = 1 << 14;

/// Height and width after resizing.
fn resized(resize: Option<Resize>, height: usize, width: usize) -> [usize; 2] {
    let proportional =
        |side: usize, long: usize, short: usize| side.saturating_mul(long).saturating_add(short / 2) / short;
    match resize {
        None => [height, width],
        Some(Resize::Exact(height, width)) => [height, width],
        Some(Resize::Shorter(side)) if height <= width => [side, proportional(side, width, height)],
        Some(Resize::Shorter(side)) => [proportional(side, height, width), side],
    }
}

fn number<T: FromStr>(text: &str) -> Option<T> {
    text.trim().parse().ok()
}

fn numbers(text: &str, valid: impl Fn(&f32) -> bool) -> Option<Vec<f32>> {
    text.split(',').map(|text| number(text).filter(&valid)).collect()
}

fn joined(values: &[impl Display]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// `32` or `32x48`: lengths that no image decoder goes beyond.
fn sides(text: &str) -> Option<(usize, Option<usize>)> {
    let side = |text: &str| number(text).filter(|side| (1..=MOST_PIXELS_A_SIDE).contains(side));
    match text.split_once('x') {
        None => Some((side(text)?, None)),
        Some((height, width)) => Some((side(height)?, Some(side(width)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slimnet_graph::Tensor;

    fn set(pairs: &[(&str, &str)]) -> Preprocessing {
        let mut preprocessing = Preprocessing::default();
        for (key, text) in pairs {
            preprocessing.set(key, text).unwrap();
        }
        preprocessing
    }

    fn run(preprocessing: &Preprocessing, shape: &[usize]) -> Result<(Vec<usize>, Vec<f32>)> {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|value| value as f32).collect();
        let array = Array::new("x", Tensor::from_values([&[1], shape].concat(), values.clone()).unwrap()).unwrap();
        let out_shape = preprocessing.output_shape(&array)?;
        let mut out = vec![f32::NAN; out_shape.iter().product()];
        preprocessing.apply(&values, shape, &mut Scratch::default(), &mut out);
        Ok((out_shape, out))
    }

    #[test]
    fn normalizes_by_channel() {
        let (shape, out) = run(&set(&[("scale", "1/2"), ("mean", "0,1"), ("std", "1,2")]), &[2, 2]).unwrap();
        assert_eq!((shape, out), (vec![2, 2], vec![0.0, 0.5, 0.0, 0.25]));
        let (_, out) = run(&set(&[("mean", "1"), ("std", "1,2")]), &[2]).unwrap();
        assert_eq!(out, [-1.0, 0.0]);
        assert_eq!(run(&Preprocessing::default(), &[]).unwrap(), (vec![], vec![0.0]));
        assert!(run(&set(&[("mean", "0,1,2")]), &[2, 2]).is_err());
        assert!(run(&set(&[("mean", "0,1,2")]), &[]).is_err());
        assert!(run(&set(&[("mean", "0,0")]), &[2, 0]).unwrap().1.is_empty());
    }

    #[test]
    fn lays_out_resizes_and_crops() {
        let (shape, out) = run(&set(&[("layout", "nhwc")]), &[1, 2, 3]).unwrap();
        assert_eq!((shape, out), (vec![3, 1, 2], vec![0., 3., 1., 4., 2., 5.]));
        assert_eq!(run(&set(&[("layout", "nhw")]), &[2, 1]).unwrap(), (vec![1, 2, 1], vec![0., 1.]));
        let (shape, out) = run(&set(&[("crop", "2x1")]), &[1, 4, 3]).unwrap();
        assert_eq!((shape, out), (vec![1, 2, 1], vec![4., 7.]));
        let (shape, out) = run(&set(&[("resize", "2"), ("crop", "2")]), &[1, 4, 8]).unwrap();
        assert_eq!((shape, out.len()), (vec![1, 2, 2], 4));
        assert!((out.iter().sum::<f32>() / 4.0 - 15.5).abs() < 1e-4, "{out:?}");
        assert_eq!(run(&set(&[("resize", "8")]), &[3, 4, 6]).unwrap().0, [3, 8, 12]);
        assert_eq!(run(&set(&[("resize", "8")]), &[3, 6, 4]).unwrap().0, [3, 12, 8]);
        assert_eq!(run(&set(&[("layout", "nhwc"), ("resize", "5x7")]), &[4, 6, 2]).unwrap().0, [2, 5, 7]);
        for wrong in [("layout", "nhwc"), ("layout", "nhw"), ("crop", "5"), ("resize", "2")] {
            assert!(run(&set(&[wrong]), &[16]).is_err(), "{wrong:?}");
        }
        assert!(run(&set(&[("crop", "5")]), &[1, 4, 8]).is_err());
        assert!(run(&set(&[("resize", "5")]), &[1, 0, 8]).is_err());
        assert_eq!(run(&set(&[("layout", "nhwc")]), &[0, 2, 3]).unwrap(), (vec![3, 0, 2], vec![]));
    }

    #[test]
    fn metadata_gives_back_the_same() {
        let odd = set(&[
            ("scale", "1/255"),
            ("mean", "0.1307,1e-8"),
            ("std", "0.3081"),
            ("layout", "NHWC"),
            ("labels-offset", "-1"),
            ("resize", "32x48"),
            ("crop", "28"),
        ]);
        for preprocessing in [Preprocessing::default(), odd, set(&[("resize", "9")])] {
            let mut metadata = preprocessing.to_metadata();
            metadata.push(("other".into(), "x".into()));
            metadata.push(("slimnet.data.source".into(), "mnist".into()));
            assert_eq!(Preprocessing::from_metadata(&metadata).unwrap(), Some(preprocessing));
        }
        assert_eq!(Preprocessing::from_metadata(&[("x".into(), "y".into())]).unwrap(), None);
        assert!(Preprocessing::from_metadata(&[("slimnet.data.std".into(), "0".into())]).is_err());
    }

    #[test]
    fn refuses_other_text() {
        let cases = [
            ("scale", "0"),
            ("scale", "1/0"),
            ("scale", "a"),
            ("scale", "inf"),
            ("scale", "1e-60"),
            ("mean", ""),
            ("mean", "1,,2"),
            ("mean", "nan"),
            ("std", "0"),
            ("std", "-1"),
            ("std", "1e-45"),
            ("layout", "hwcn"),
            ("labels-offset", "0.5"),
            ("resize", "0"),
            ("resize", "3x"),
            ("resize", "99999999999"),
            ("crop", "-1"),
            ("sharpen", "1"),
        ];
        for (key, text) in cases {
            assert!(Preprocessing::default().set(key, text).is_err(), "{key} {text}");
        }
    }
}
