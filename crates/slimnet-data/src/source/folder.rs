//! Folders of image files, one folder a class.

use std::path::{Path, PathBuf};

use super::parts::{Parts, Raw, RawTarget};
use crate::dataset::Array;
use crate::error::{DataError, Result};
use crate::image_file::ImageFiles;
use crate::preprocess::Preprocessing;

/// What a folder has in it, sorted by name, hidden entries left out.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
        let entry = entry.map_err(DataError::io(folder))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            entries.push(entry.path());
        }
    }
    entries.sort();
    Ok(entries)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn class_folders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Whether a folder may be a folder of classes.
pub(super) fn is_one(folder: &Path) -> Result<bool> {
    Ok(!class_folders(folder)?.is_empty())
}

/// Opens a folder of classes, or of parts of which each is one. Reads the header of every image.
pub(super) fn open(root: &Path, channels: Option<usize>) -> Result<Parts> {
    let part = |names: &[&str]| names.iter().map(|name| root.join(name)).find(|path| path.is_dir());
    let (train, validation, test) = match part(&["train"]) {
        Some(train) => (train, part(&["validation", "valid", "val"]), part(&["test"])),
        None => (root.to_owned(), None, None),
    };
    let class_names: Vec<String> = class_folders(&train)?.iter().map(|path| name(path)).collect();
    if class_names.is_empty() {
        return Err(DataError::Empty(train.display().to_string()));
    }
    let (train, channels) = read(&train, &class_names, channels)?;
    let read = |folder: PathBuf| read(&folder, &class_names, Some(channels)).map(|(raw, _)| raw);
    let validation = validation.map(read).transpose()?;
    let test = test.map(read).transpose()?;
    let preprocessing = Preprocessing { scale: 1.0 / 255.0, ..Preprocessing::default() };
    let mut parts = Parts::new(train, validation, test, preprocessing);
    parts.classes = Some(class_names.len());
    parts.class_names = Some(class_names);
    Ok(parts)
}

/// Samples of one part and their number of channels.
fn read(folder: &Path, class_names: &[String], channels: Option<usize>) -> Result<(Raw, usize)> {
    let (mut files, mut labels) = (Vec::new(), Vec::new());
    for class_folder in class_folders(folder)? {
        let class = class_names
            .binary_search(&name(&class_folder))
            .map_err(|_| DataError::format(&class_folder, "a class that there is to train on too", "another"))?;
        for file in entries(&class_folder)? {
            let extension = file.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
            if !file.is_file() || !matches!(extension.as_deref(), Some("png" | "jpg" | "jpeg")) {
                return Err(DataError::format(
                    &file,
                    "nothing but .png, .jpg and .jpeg files in the folder of a class",
                    "this",
                ));
            }
            files.push(file);
            labels.push(class as i64);
        }
    }
    let images = ImageFiles::open(files, channels)?;
    let channels = images.channels();
    Ok((Raw { inputs: vec![Array::of_images("x", images)], target: RawTarget::Labels(labels) }, channels))
}

#[cfg(test)]
mod tests {
    use super::super::{OpenOptions, Source};
    use super::*;
    use crate::image_file::tests::png;
    use crate::{Loader, LoaderOptions, Target};
    use png::ColorType;

    fn write(path: &Path, color: ColorType, size: [u32; 2], value: u8) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let bytes = vec![value; size[0] as usize * size[1] as usize * color.samples()];
        std::fs::write(path, png(color, size, &bytes)).unwrap();
    }

    fn open(text: &str) -> Result<crate::Splits> {
        Source::parse(text).unwrap().open(&OpenOptions::default())
    }

    #[test]
    fn folders_are_classes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for (file, value) in [("b/2.png", 3), ("a/9.png", 1), ("b/1.png", 2)] {
            write(&root.join(file), ColorType::Grayscale, [2, 3], value);
        }
        std::fs::write(root.join("a/.hidden"), b"").unwrap();
        std::fs::write(root.join("README.txt"), b"").unwrap();
        let text = root.display().to_string();
        let splits = open(&text).unwrap();
        assert_eq!(splits.class_names.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
        let dataset = splits.train.dataset();
        assert!(matches!(dataset.target(), Target::Classes { labels, classes: 2 } if labels == &[0, 1, 1]));
        let loader = Loader::new(splits.train.clone(), LoaderOptions::evaluation(3, Preprocessing::default())).unwrap();
        let batch = loader.epoch(0, 0).next().unwrap().unwrap();
        assert_eq!(batch.inputs()[0].shape, [3, 1, 2, 3]);
        assert_eq!(batch.inputs()[0].values.iter().step_by(6).copied().collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
        assert_eq!(
            open(&format!("{text}?channels=3")).unwrap().train.dataset().inputs()[0].sample_shapes(),
            [[3, 2, 3]]
        );

        write(&root.join("b/3.png"), ColorType::Rgb, [4, 4], 3);
        let splits = open(&text).unwrap();
        let load = |preprocessing: Preprocessing| {
            Loader::new(splits.train.clone(), LoaderOptions::evaluation(4, preprocessing))
        };
        assert!(load(Preprocessing::default()).is_err());
        let mut resized = Preprocessing::default();
        resized.set("resize", "2x2").unwrap();
        let batch = load(resized).unwrap().epoch(0, 0).next().unwrap().unwrap();
        assert_eq!(batch.inputs()[0].shape, [4, 3, 2, 2]);

        std::fs::write(root.join("b/note.txt"), b"").unwrap();
        assert!(open(&text).unwrap_err().to_string().contains("note.txt"));
    }

    #[test]
    fn parts_have_the_same_classes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in ["train/a/1.png", "train/b/1.png", "val/b/1.png", "test/b/1.png"] {
            write(&root.join(file), ColorType::Rgb, [2, 2], 1);
        }
        let splits = open(&root.display().to_string()).unwrap();
        assert_eq!((splits.train.len(), splits.validation.len()), (2, 1));
        let Target::Classes { labels, .. } = splits.test.as_ref().unwrap().dataset().target() else { panic!() };
        assert_eq!(labels, &[1]);
        write(&root.join("test/c/1.png"), ColorType::Rgb, [2, 2], 1);
        assert!(open(&root.display().to_string()).is_err());
        std::fs::remove_dir_all(root.join("train")).unwrap();
        std::fs::create_dir(root.join("train")).unwrap();
        assert!(matches!(open(&root.display().to_string()), Err(DataError::Empty(_))));
    }
}
