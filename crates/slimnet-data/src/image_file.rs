//! Images in PNG and JPEG files, decoded when they are asked for.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufReader, Cursor};
use std::path::{Path, PathBuf};

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::error::{DataError, Result};

/// Images with more pixels are refused: a small file can declare a picture that no memory holds.
const MOST_PIXELS: usize = 1 << 27;

/// What an image file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    height: u32,
    width: u32,
    gray: bool,
}

/// Image files that are read with the same number of channels: 1 (luma of ITU-R BT.601) or 3 (RGB). Transparency is
/// dropped, 16 bits are cut to 8, orientation tags are not followed.
#[derive(Debug)]
pub(crate) struct ImageFiles {
    files: Vec<(PathBuf, Header)>,
    channels: usize,
}

impl ImageFiles {
    /// Looks at the header of every file. Without a number of channels: 1 if every image is gray, else 3.
    pub(crate) fn open(paths: Vec<PathBuf>, channels: Option<usize>) -> Result<Self> {
        let with_header = |path: PathBuf| header(&path).map(|header| (path, header));
        let files = paths.into_iter().map(with_header).collect::<Result<Vec<_>>>()?;
        let channels = channels.unwrap_or_else(|| if files.iter().all(|(_, header)| header.gray) { 1 } else { 3 });
        Ok(Self { files, channels })
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels
    }

    pub(crate) fn shapes(&self) -> Vec<Vec<usize>> {
        let sizes: BTreeSet<_> = self.files.iter().map(|(_, header)| (header.height, header.width)).collect();
        sizes.into_iter().map(|(height, width)| vec![self.channels, height as usize, width as usize]).collect()
    }

    /// Puts an image's pixels (0 to 255, `[C, H, W]`) into a vector and gives its shape.
    pub(crate) fn read(&self, index: usize, values: &mut Vec<f32>) -> Result<Vec<usize>> {
        let (path, header) = &self.files[index];
        let (pixels, found, samples) = decode(path)?;
        if (found.height, found.width) != (header.height, header.width) {
            let size = |header: &Header| format!("an image of {} x {} pixels", header.width, header.height);
            return Err(DataError::format(path, format!("{} as when it was opened", size(header)), size(&found)));
        }
        values.clear();
        let pixels = pixels.chunks_exact(samples);
        match (self.channels, samples) {
            (1, 1 | 2) => values.extend(pixels.map(|pixel| f32::from(pixel[0]))),
            (1, _) => values.extend(pixels.map(|pixel| {
                let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
                ((299 * red + 587 * green + 114 * blue + 500) / 1000) as f32
            })),
            (_, 1 | 2) => {
                for _ in 0..3 {
                    values.extend(pixels.clone().map(|pixel| f32::from(pixel[0])));
                }
            }
            _ => {
                for channel in 0..3 {
                    values.extend(pixels.clone().map(|pixel| f32::from(pixel[channel])));
                }
            }
        }
        Ok(vec![self.channels, found.height as usize, found.width as usize])
    }
}

fn is_png(start: &[u8]) -> bool {
    start.starts_with(b"\x89PNG")
}

fn is_jpeg(start: &[u8]) -> bool {
    start.starts_with(b"\xff\xd8\xff")
}

fn refuse(path: &Path, found: impl Into<String>) -> DataError {
    DataError::format(path, "a whole PNG or JPEG image", found)
}

fn checked(path: &Path, header: Header) -> Result<Header> {
    let pixels = (header.height as usize).checked_mul(header.width as usize);
    match pixels {
        Some(1..=MOST_PIXELS) => Ok(header),
        _ => Err(DataError::format(
            path,
            format!("an image of 1 to {MOST_PIXELS} pixels"),
            format!("{} x {}", header.width, header.height),
        )),
    }
}

fn header(path: &Path) -> Result<Header> {
    let file = fs::File::open(path).map_err(DataError::io(path))?;
    let mut reader = BufReader::new(file);
    let start = std::io::BufRead::fill_buf(&mut reader).map_err(DataError::io(path))?;
    if is_png(start) {
        let reader = png::Decoder::new(reader).read_info().map_err(|error| refuse(path, error.to_string()))?;
        png_header(path, reader.info())
    } else if is_jpeg(start) {
        let mut decoder = JpegDecoder::new(reader);
        decoder.decode_headers().map_err(|error| refuse(path, error.to_string()))?;
        jpeg_header(path, &decoder)
    } else {
        Err(refuse(path, "neither signature"))
    }
}

fn png_header(path: &Path, info: &png::Info) -> Result<Header> {
    let gray = matches!(info.color_type, png::ColorType::Grayscale | png::ColorType::GrayscaleAlpha);
    checked(path, Header { height: info.height, width: info.width, gray })
}

fn jpeg_header<T: zune_jpeg::zune_core::bytestream::ZByteReaderTrait>(
    path: &Path,
    decoder: &JpegDecoder<T>,
) -> Result<Header> {
    let info = decoder.info().ok_or_else(|| refuse(path, "a file without a size"))?;
    let gray = decoder.input_colorspace() == Some(ColorSpace::Luma);
    checked(path, Header { height: info.height.into(), width: info.width.into(), gray })
}

/// The bytes of an image, row-major with the samples of a pixel together, its size, and samples a pixel (1 to 4).
fn decode(path: &Path) -> Result<(Vec<u8>, Header, usize)> {
    let bytes = fs::read(path).map_err(DataError::io(path))?;
    let (pixels, header, samples) = if is_png(&bytes) {
        let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: 8 * MOST_PIXELS });
        decoder.set_transformations(png::Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(|error| refuse(path, error.to_string()))?;
        let header = png_header(path, reader.info())?;
        let size = reader.output_buffer_size().ok_or_else(|| refuse(path, "an image too large"))?;
        let mut pixels = vec![0; size];
        let frame = reader.next_frame(&mut pixels).map_err(|error| refuse(path, error.to_string()))?;
        (pixels, header, frame.color_type.samples())
    } else if is_jpeg(&bytes) {
        // A first look, since the colours that come out are to be those that went in.
        let mut decoder = JpegDecoder::new(Cursor::new(&bytes));
        decoder.decode_headers().map_err(|error| refuse(path, error.to_string()))?;
        let header = jpeg_header(path, &decoder)?;
        let colours = if header.gray { ColorSpace::Luma } else { ColorSpace::RGB };
        let options = DecoderOptions::default().set_strict_mode(true).jpeg_set_out_colorspace(colours);
        let pixels = JpegDecoder::new_with_options(Cursor::new(&bytes), options).decode();
        (pixels.map_err(|error| refuse(path, error.to_string()))?, header, if header.gray { 1 } else { 3 })
    } else {
        return Err(refuse(path, "neither signature"));
    };
    if pixels.len() != header.height as usize * header.width as usize * samples {
        return Err(refuse(path, format!("{} bytes of pixels", pixels.len())));
    }
    Ok((pixels, header, samples))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A PNG file of 8 bits a sample.
    pub(crate) fn png(color: png::ColorType, [height, width]: [u32; 2], pixels: &[u8]) -> Vec<u8> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(color);
        encoder.write_header().unwrap().write_image_data(pixels).unwrap();
        file
    }

    fn read(file: &[u8], channels: Option<usize>) -> Result<(Vec<usize>, Vec<f32>)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        fs::write(&path, file).unwrap();
        let mut values = vec![1.0];
        let shape = ImageFiles::open(vec![path], channels)?.read(0, &mut values)?;
        Ok((shape, values))
    }

    #[test]
    fn colours_become_planes() {
        let rgb = png(png::ColorType::Rgb, [1, 2], &[255, 0, 0, 1, 2, 3]);
        assert_eq!(read(&rgb, None).unwrap(), (vec![3, 1, 2], vec![255., 1., 0., 2., 0., 3.]));
        assert_eq!(read(&rgb, Some(1)).unwrap(), (vec![1, 1, 2], vec![76., 2.]));
        let rgba = png(png::ColorType::Rgba, [1, 1], &[9, 8, 7, 0]);
        assert_eq!(read(&rgba, None).unwrap().1, [9., 8., 7.]);
        let gray = png(png::ColorType::Grayscale, [2, 1], &[4, 5]);
        assert_eq!(read(&gray, None).unwrap(), (vec![1, 2, 1], vec![4., 5.]));
        assert_eq!(read(&gray, Some(3)).unwrap().1, [4., 5., 4., 5., 4., 5.]);
        let with_alpha = png(png::ColorType::GrayscaleAlpha, [1, 1], &[4, 200]);
        assert_eq!(read(&with_alpha, None).unwrap().1, [4.]);
    }

    #[test]
    fn jpeg_files() {
        let (shape, values) = read(include_bytes!("../data/test-red-8x16.jpg"), None).unwrap();
        assert_eq!(shape, [3, 8, 16]);
        for (channel, expected) in [200.0, 40.0, 30.0].into_iter().enumerate() {
            assert!(values[channel * 128..][..128].iter().all(|value| (value - expected).abs() <= 3.0));
        }
    }

    #[test]
    fn hostile_files_are_errors() {
        let png = png(png::ColorType::Rgb, [5, 4], &(0..60).collect::<Vec<_>>());
        let files: [&[u8]; 2] = [&png, include_bytes!("../data/test-red-8x16.jpg")];
        for file in files {
            for end in 0..file.len() - 2 {
                let _ = read(&file[..end], None);
            }
            assert!(read(&file[..file.len() / 2], None).is_err());
            for place in 0..file.len() {
                let mut changed = file.to_vec();
                changed[place] ^= 0x55;
                let _ = read(&changed, None);
            }
        }
        assert!(read(b"GIF89a", None).is_err());
    }
}
