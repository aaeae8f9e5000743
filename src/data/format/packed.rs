//! Files that are packed, or in another encoding than UTF-8.

use std::io::{self, BufRead, BufReader, Read};

use encoding_rs::Encoding;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::super::DataError;

/// What a packed file may become, however small it is, in bytes.
const ALWAYS: u64 = 256 << 20;
/// How many times its size a packed file may become: text packs to a fiftieth at best, a bomb to a thousandth.
const TIMES: u64 = 300;

/// The name of a file without the ending that says how it is packed.
pub fn inner(file: &str) -> &str {
    file.strip_suffix(".gz").or_else(|| file.strip_suffix(".zst")).unwrap_or(file)
}

/// A file of so many bytes without its packing.
pub fn unpacked<'a>(file: &str, content: &'a mut dyn Read, size: u64) -> Result<Box<dyn Read + 'a>, DataError> {
    let left = size.saturating_mul(TIMES).max(ALWAYS);
    Ok(if file.ends_with(".gz") {
        Box::new(Bounded { content: flate2::read::MultiGzDecoder::new(content), size, left })
    } else if file.ends_with(".zst") {
        Box::new(Bounded { content: Frames { frame: None, rest: BufReader::new(content) }, size, left })
    } else {
        Box::new(content)
    })
}

/// The frames of a zstd file, one after the other.
struct Frames<R> {
    frame: Option<Box<FrameDecoder>>,
    rest: R,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(frame) = &mut self.frame else {
                if self.rest.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                let mut frame = Box::new(FrameDecoder::new());
                frame.init(&mut self.rest).map_err(io::Error::other)?;
                self.frame = Some(frame);
                continue;
            };
            while frame.can_collect() < into.len() && !frame.is_finished() {
                frame.decode_blocks(&mut self.rest, BlockDecodingStrategy::UptoBytes(into.len())).map_err(io::Error::other)?;
            }
            let read = frame.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            self.frame = None;
        }
    }
}

/// What is unpacked, up to where it is no data any more.
struct Bounded<R> {
    content: R,
    size: u64,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(into)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(format!("{} bytes become more than {TIMES} times as many: that is no data", self.size))),
        }
        Ok(read)
    }
}

/// What is told where a file cannot be read to its end.
pub fn failed(file: &str, error: &io::Error) -> DataError {
    let format = if inner(file) == file { "a file" } else { "a packed file" };
    DataError::MalformedFile { file: file.to_owned(), format, problem: error.to_string() }
}

/// Whether there is an encoding of this name.
#[must_use]
pub fn is_encoding(name: &str) -> bool {
    Encoding::for_label(name.as_bytes()).is_some()
}

/// A text in UTF-8.
pub fn decoded(file: &str, mut content: impl Read, encoding: &str) -> Result<Vec<u8>, DataError> {
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(|error| failed(file, &error))?;
    let Some(encoding) = Encoding::for_label(encoding.as_bytes()) else {
        return Ok(bytes);
    };
    let (text, _, had_errors) = encoding.decode(&bytes);
    if had_errors {
        let problem = format!("it is not in the encoding {}", encoding.name());
        return Err(DataError::MalformedFile { file: file.to_owned(), format: "text", problem });
    }
    Ok(text.into_owned().into_bytes())
}
