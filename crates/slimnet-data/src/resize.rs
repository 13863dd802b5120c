//! Bilinear resizing of images, averaging where it shrinks (as Pillow's `BILINEAR` does).

/// For each place of the longer or shorter line: the first place that it is made from, and the weights from there on.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let scale = from as f64 / to as f64;
    let support = scale.max(1.0);
    (0..to)
        .map(|place| {
            let centre = (place as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).floor().max(0.0) as usize;
            let end = ((centre + support + 0.5).floor() as usize).min(from);
            let raw: Vec<f64> =
                (first..end).map(|source| (1.0 - ((source as f64 + 0.5 - centre) / support).abs()).max(0.0)).collect();
            let sum: f64 = raw.iter().sum();
            (first, raw.iter().map(|weight| (weight / sum) as f32).collect())
        })
        .collect()
}

/// Resizes planes `[C, height, width]` to `[C, to_height, to_width]`, all lengths above 0. `rows` is scratch space.
pub(crate) fn resize(
    image: &[f32],
    [channels, height, width]: [usize; 3],
    [to_height, to_width]: [usize; 2],
    rows: &mut Vec<f32>,
    out: &mut Vec<f32>,
) {
    rows.clear();
    let across = weights(width, to_width);
    for row in image.chunks_exact(width) {
        rows.extend(across.iter().map(|(first, weights)| {
            weights.iter().zip(&row[*first..]).map(|(weight, value)| weight * value).sum::<f32>()
        }));
    }
    out.clear();
    out.resize(channels * to_height * to_width, 0.0);
    let down = weights(height, to_height);
    for (plane, out) in rows.chunks_exact(height * to_width).zip(out.chunks_exact_mut(to_height * to_width)) {
        for ((first, weights), out) in down.iter().zip(out.chunks_exact_mut(to_width)) {
            for (weight, row) in weights.iter().zip(plane[first * to_width..].chunks_exact(to_width)) {
                for (sum, value) in out.iter_mut().zip(row) {
                    *sum += weight * value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(image: &[f32], from: [usize; 3], to: [usize; 2]) -> Vec<f32> {
        let (mut rows, mut out) = (vec![1.0; 3], vec![5.0; 7]);
        resize(image, from, to, &mut rows, &mut out);
        out
    }

    #[test]
    fn known_cases() {
        let image: Vec<f32> = (0..12).map(|value| value as f32).collect();
        assert_eq!(run(&image, [2, 2, 3], [2, 3]), image);
        assert_eq!(run(&[0.0, 1.0], [1, 1, 2], [1, 4]), [0.0, 0.25, 0.75, 1.0]);
        // What Pillow 12 makes of the same in its float mode.
        let pillow = |image: &[f32], to: usize, expected: &[f32]| {
            let out = run(image, [1, 1, image.len()], [1, to]);
            assert!(out.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{out:?}");
        };
        pillow(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 2, &[1.892_857_2, 5.107_143]);
        pillow(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 4, &[0.375, 1.777_777_8, 3.222_222_3, 4.625]);
        for (to_height, to_width) in [(1, 1), (1, 7), (9, 2), (3, 3)] {
            let flat = run(&[2.0; 30], [2, 5, 3], [to_height, to_width]);
            assert_eq!(flat.len(), 2 * to_height * to_width);
            assert!(flat.iter().all(|value| (value - 2.0).abs() < 1e-6));
        }
    }
}
