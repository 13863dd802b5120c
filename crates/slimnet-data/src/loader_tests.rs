use slimnet_graph::Tensor;

use super::*;
use crate::dataset::Dataset;
use crate::image_file::ImageFiles;

fn images(count: usize) -> Array {
    let pixels: Vec<u8> = (0..count * 2 * 4 * 4).map(|index| (index % 251) as u8).collect();
    Array::new("image", Tensor::from_values(vec![count, 2, 4, 4], pixels).unwrap()).unwrap()
}

fn split(count: usize) -> Split {
    let side: Vec<f32> = (0..count).map(|index| index as f32).collect();
    let side = Array::new("side", Tensor::from_values(vec![count], side).unwrap()).unwrap();
    let labels = (0..count as i64).map(|label| label % 3).collect();
    Split::whole(Dataset::new(vec![images(count), side], Target::Classes { labels, classes: 3 }).unwrap())
}

fn options(threads: usize) -> LoaderOptions {
    let augmentation = Augmentation { crop: 1, flip: true, shift: 0, cutout: 2 };
    let preprocessing = Preprocessing::normalize(1.0 / 255.0, &[0.5], &[0.25]);
    LoaderOptions { threads, drop_last: false, ..LoaderOptions::training(8, 3, preprocessing, augmentation) }
}

type Copied = (Vec<BatchArray>, Vec<i64>, Vec<u32>);

fn copied(batch: Result<Batch>) -> Copied {
    let batch = batch.unwrap();
    (batch.inputs().to_vec(), batch.labels().unwrap().to_vec(), batch.indices().to_vec())
}

fn epoch(loader: &Loader, epoch: u64, first: usize) -> Vec<Copied> {
    loader.epoch(epoch, first).map(copied).collect()
}

#[test]
fn any_number_of_threads_makes_the_same() {
    let reference = Loader::new(split(45), options(0)).unwrap();
    let expected = epoch(&reference, 2, 0);
    assert_eq!(expected.len(), 6);
    assert_eq!(expected[5].2.len(), 5);
    assert_eq!(expected[5].0[0].shape, [5, 2, 4, 4]);
    assert_eq!(expected[0].0[1].name, "side");
    let mut seen: Vec<u32> = expected.iter().flat_map(|batch| batch.2.clone()).collect();
    assert_ne!(seen, (0..45).collect::<Vec<_>>());
    seen.sort_unstable();
    assert_eq!(seen, (0..45).collect::<Vec<_>>());
    for (inputs, labels, indices) in &expected {
        assert!(indices.iter().zip(labels).all(|(&index, &label)| i64::from(index) % 3 == label));
        assert!(indices.iter().zip(&inputs[1].values).all(|(&index, &side)| index as f32 == side));
    }
    for threads in [1, 2, 3, 20] {
        let loader = Loader::new(split(45), options(threads)).unwrap();
        assert_eq!(epoch(&loader, 2, 0), expected, "{threads}");
        for first in [1, 4, 6, 100] {
            assert_eq!(epoch(&loader, 2, first), expected[first.min(6)..], "{threads} from {first}");
        }
    }
    assert_ne!(epoch(&reference, 3, 0), expected);
    let other = LoaderOptions { seed: 4, ..options(0) };
    assert_ne!(epoch(&Loader::new(split(45), other).unwrap(), 2, 0), expected);
}

#[test]
fn preprocessing_comes_before_augmentation() {
    let loader = Loader::new(split(9), LoaderOptions { augmentation: Augmentation::default(), ..options(1) }).unwrap();
    let (inputs, _, indices) = epoch(&loader, 0, 0).swap_remove(0);
    let first = (indices[0] as usize * 32 % 251) as f32;
    assert_eq!(inputs[0].values[0], (first * (1.0 / 255.0) - 0.5) / 0.25);
    let loader = Loader::new(split(9), options(1)).unwrap();
    let values: Vec<f32> =
        epoch(&loader, 0, 0).into_iter().flat_map(|(mut inputs, ..)| inputs.swap_remove(0).values).collect();
    // What fills is the network's 0, not a preprocessed black, which is −2.
    assert!(values.iter().filter(|value| **value == 0.0).count() > 9 * 2);
}

#[test]
fn last_batches_can_be_dropped() {
    let loader = Loader::new(split(45), LoaderOptions { drop_last: true, ..options(2) }).unwrap();
    assert_eq!(loader.batches_per_epoch(), 5);
    assert!(epoch(&loader, 0, 0).iter().all(|batch| batch.2.len() == 8));
    assert_eq!(epoch(&loader, 0, 0).len(), 5);
    let plain = Loader::new(split(5), LoaderOptions::evaluation(64, Preprocessing::default())).unwrap();
    assert_eq!(epoch(&plain, 7, 0)[0].2, [0, 1, 2, 3, 4]);
    assert_eq!(plain.inputs().collect::<Vec<_>>(), [("image", &[2, 4, 4][..]), ("side", &[][..])]);
}

#[test]
fn memory_goes_round() {
    let loader = Loader::new(split(400), options(2)).unwrap();
    let pooled = |loader: &Loader| loader.0.pool.0.lock().unwrap().len();
    for number in 0..3 {
        for batch in loader.epoch(number, 0) {
            drop(batch.unwrap());
        }
        // Each thread has a batch in hand and AHEAD in its channel, the reader one.
        assert!((1..=2 * (AHEAD + 1) + 1).contains(&pooled(&loader)), "{}", pooled(&loader));
    }
}

#[test]
fn dropping_early_ends_the_threads() {
    let loader = Loader::new(split(400), options(3)).unwrap();
    let mut batches = loader.epoch(0, 0);
    drop(batches.next());
    drop(batches);
    // Every thread held the loader.
    assert_eq!(Arc::strong_count(&loader.0), 1);
    drop(loader.epoch(0, 0));
    assert_eq!(Arc::strong_count(&loader.0), 1);
}

#[test]
fn errors_of_a_thread_arrive() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..12).map(|index| folder.path().join(format!("{index}.png"))).collect();
    for path in &paths {
        let file = crate::image_file::tests::png(png::ColorType::Grayscale, [2, 2], &[1, 2, 3, 4]);
        std::fs::write(path, file).unwrap();
    }
    let array = Array::of_images("image", ImageFiles::open(paths.clone(), None).unwrap());
    std::fs::write(&paths[5], b"damaged").unwrap();
    let split = Split::whole(Dataset::new(vec![array], Target::None).unwrap());
    for threads in [0, 1, 3] {
        let mut options = LoaderOptions::evaluation(2, Preprocessing::default());
        options.threads = threads;
        let loader = Loader::new(split.clone(), options).unwrap();
        let batches: Vec<_> = loader.epoch(0, 0).collect();
        assert_eq!(batches.len(), 3, "{threads}");
        let error = batches[2].as_ref().unwrap_err().to_string();
        assert!(batches[1].is_ok() && error.contains("5.png"), "{error}");
    }
}

#[test]
fn what_scaling_makes_infinite_is_named() {
    let array = Array::new("x", Tensor::from_values(vec![2, 2], vec![1f32, 1.0, 1.0, 1e30]).unwrap()).unwrap();
    let split = Split::whole(Dataset::new(vec![array], Target::None).unwrap());
    let loader =
        Loader::new(split, LoaderOptions::evaluation(2, Preprocessing::normalize(1e10, &[0.0], &[1.0]))).unwrap();
    let error = loader.epoch(0, 0).next().unwrap().unwrap_err();
    assert!(matches!(&error, DataError::NotFinite { sample: 1, position, .. } if position == &[1]), "{error}");
}

#[test]
fn options_are_checked() {
    let with = |change: &dyn Fn(&mut LoaderOptions)| {
        let mut options = options(0);
        change(&mut options);
        Loader::new(split(9), options).err()
    };
    assert!(with(&|_| ()).is_none());
    assert!(with(&|options| options.batch_size = usize::MAX).is_none());
    assert!(with(&|options| options.batch_size = 0).is_some());
    assert!(with(&|options| (options.batch_size, options.drop_last) = (10, true)).is_some());
    assert!(with(&|options| options.augmentation.crop = 3).is_some());
    assert!(with(&|options| options.preprocessing.mean = vec![0.0; 3]).is_some());
    assert!(Loader::new(split(9).choose(vec![]), options(0)).is_err());
}
