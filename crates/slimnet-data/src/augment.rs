//! Random changes of training images.

use slimnet_graph::zoo::random::Stream;

use crate::error::{DataError, Result};

/// Random changes of training samples of shape `[C, H, W]`, made after preprocessing, where 0 is what fills. Each is a
/// pure function of (seed, epoch, sample). All off by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augmentation {
    /// Zeros around the image, out of which a window of the image's size is cut at random (He et al. 2015 use 4), in
    /// pixels.
    pub crop: usize,
    /// Mirror half of the images, left to right.
    pub flip: bool,
    /// Shift along `H` alone by up to so many positions either way: time, for sound features `[1, time, feature]`.
    pub shift: usize,
    /// Side of a square set to 0 around a random centre (`DeVries` and Taylor 2017), in pixels.
    pub cutout: usize,
}

impl Augmentation {
    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether samples of a shape can be changed so.
    ///
    /// # Errors
    /// If the shape is not `[C, H, W]`, or less than half of an image could be left of it.
    pub fn check(&self, name: &str, shape: &[usize]) -> Result<()> {
        let wrong = |expected| Err(DataError::Shape { name: name.to_owned(), expected, found: shape.to_vec() });
        let &[_, height, width] = shape else {
            return if self.is_none() { Ok(()) } else { wrong("images [C, H, W] to augment".into()) };
        };
        let (vertical, horizontal) = (self.crop.saturating_add(self.shift), self.crop);
        if vertical > height / 2 || horizontal > width / 2 {
            return wrong("an image at least twice as long as what --augment crops and shifts".into());
        }
        if self.cutout > height.min(width) {
            return wrong("an image at least as large as the cutout".into());
        }
        Ok(())
    }

    /// Copies a sample of shape `[C, H, W]`, changed.
    pub(crate) fn apply(&self, stream: Stream, [channels, height, width]: [usize; 3], from: &[f32], to: &mut [f32]) {
        // A number in −limit..=limit; `check` keeps limits below the size of the image.
        let offset = |index, limit: usize| stream.below(index, 2 * limit as u64 + 1) as isize - limit as isize;
        let down = offset(0, self.crop) + offset(1, self.shift);
        let right = offset(2, self.crop);
        let flip = self.flip && stream.bits(3) >> 63 == 1;
        let hole = |index, length: usize| {
            let start = stream.below(index, length as u64) as usize;
            let half = self.cutout / 2;
            start.saturating_sub(half)..(start + self.cutout - half).min(length)
        };
        let (rows, columns) = (hole(4, height), hole(5, width));
        for channel in 0..channels {
            for row in 0..height {
                let line = &mut to[(channel * height + row) * width..][..width];
                line.fill(0.0);
                let Some(source) = row.checked_add_signed(down).filter(|&row| row < height) else { continue };
                let source = &from[(channel * height + source) * width..][..width];
                let (skip, start) = (right.max(0) as usize, (-right).max(0) as usize);
                let kept = width - skip - start;
                line[start..start + kept].copy_from_slice(&source[skip..skip + kept]);
                if flip {
                    line.reverse();
                }
                if self.cutout > 0 && rows.contains(&row) {
                    line[columns.clone()].fill(0.0);
                }
            }
        }
    }
}

/// The stream of random numbers of one sample in one epoch.
pub(crate) fn stream(seed: u64, epoch: u64, sample: u32) -> Stream {
    Stream::new(Stream::named(seed, "augmentation").bits(epoch), u64::from(sample))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(augmentation: Augmentation, sample: u32) -> Vec<f32> {
        let image: Vec<f32> = (1..=2 * 4 * 6).map(|value| value as f32).collect();
        let mut changed = vec![f32::NAN; image.len()];
        augmentation.apply(stream(1, 2, sample), [2, 4, 6], &image, &mut changed);
        changed
    }

    #[test]
    fn nothing_by_default() {
        assert_eq!(run(Augmentation::default(), 0), (1..=48).map(|value| value as f32).collect::<Vec<_>>());
    }

    #[test]
    fn a_flip_mirrors_half() {
        let flip = Augmentation { flip: true, ..Augmentation::default() };
        let flipped = (0..1000).filter(|&sample| run(flip, sample)[0] == 6.0).count();
        assert!((400..600).contains(&flipped));
        assert!((0..1000).all(|sample| [1.0, 6.0].contains(&run(flip, sample)[0])));
    }

    #[test]
    fn a_crop_moves_the_image_and_fills_with_zeros() {
        let crop = Augmentation { crop: 2, ..Augmentation::default() };
        let mut seen = std::collections::BTreeSet::new();
        for sample in 0..500 {
            let changed = run(crop, sample);
            // Every element that is not 0 came from one common offset.
            let offsets: std::collections::BTreeSet<(i64, i64)> = changed
                .iter()
                .enumerate()
                .filter(|(_, value)| **value != 0.0)
                .map(|(index, &value)| {
                    let (to, from) = (index as i64, value as i64 - 1);
                    assert_eq!(to / 24, from / 24);
                    (from / 6 % 4 - to / 6 % 4, from % 6 - to % 6)
                })
                .collect();
            assert_eq!(offsets.len(), 1);
            let &(down, right) = offsets.first().unwrap();
            assert_eq!(
                changed.iter().filter(|&&value| value != 0.0).count() as i64,
                2 * (4 - down.abs()) * (6 - right.abs())
            );
            seen.insert((down, right));
        }
        assert_eq!(seen.len(), 25);
        let shift = Augmentation { shift: 1, ..Augmentation::default() };
        let firsts: std::collections::BTreeSet<i64> = (0..100).map(|sample| run(shift, sample)[0] as i64).collect();
        assert_eq!(firsts.into_iter().collect::<Vec<_>>(), [0, 1, 7]);
    }

    #[test]
    fn a_cutout_is_a_square_in_every_channel() {
        let cutout = Augmentation { cutout: 3, ..Augmentation::default() };
        let mut largest = 0;
        for sample in 0..100 {
            let changed = run(cutout, sample);
            let zeros = |channel: usize| (0..24).filter(|i| changed[channel * 24 + i] == 0.0).collect::<Vec<_>>();
            assert_eq!(zeros(0), zeros(1));
            assert!((4..=9).contains(&zeros(0).len()), "{}", zeros(0).len());
            largest = largest.max(zeros(0).len());
        }
        assert_eq!(largest, 9);
    }

    #[test]
    fn what_is_random_is_a_function() {
        let all = Augmentation { crop: 1, flip: true, shift: 1, cutout: 1 };
        assert_eq!(run(all, 7), run(all, 7));
        assert!((0..20).any(|sample| run(all, sample) != run(all, sample + 1)));
        assert_ne!(stream(1, 2, 3), stream(1, 3, 3));
        assert_ne!(stream(1, 2, 3), stream(2, 2, 3));
    }

    #[test]
    fn shapes_are_checked() {
        let all = Augmentation { crop: 2, flip: true, shift: 0, cutout: 4 };
        assert!(all.check("x", &[3, 4, 4]).is_ok());
        assert!(all.check("x", &[3, 3, 4]).is_err());
        assert!(all.check("x", &[16]).is_err());
        assert!(Augmentation { cutout: 5, ..all }.check("x", &[3, 4, 4]).is_err());
        assert!(Augmentation { crop: usize::MAX, shift: 3, ..all }.check("x", &[3, 4, 4]).is_err());
        assert!(Augmentation::default().check("x", &[16]).is_ok());
    }
}
