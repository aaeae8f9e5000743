//! Files that are packed, or in another encoding than UTF-8.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};

use encoding_rs::{Decoder, DecoderResult, Encoding};
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
    let format = if inner(file) == file { "text" } else { "a packed file" };
    DataError::MalformedFile { file: file.to_owned(), format, problem: error.to_string() }
}

/// Whether there is an encoding of this name.
#[must_use]
pub fn is_encoding(name: &str) -> bool {
    Encoding::for_label(name.as_bytes()).is_some()
}

/// A text in UTF-8, made of one in another encoding.
pub struct Decoded<R> {
    content: R,
    decoder: Decoder,
    /// What was read and is not decoded yet, and from where on.
    raw: Vec<u8>,
    at: usize,
    /// Bytes that were decoded before those.
    before: u64,
    /// There is nothing more to read.
    is_over: bool,
    /// There is nothing more to decode either.
    is_done: bool,
    /// Room for a character, where a reader wants less than one.
    few: VecDeque<u8>,
}

impl<R: Read> Decoded<R> {
    /// Decodes what is read, by the name of an encoding.
    pub fn of(content: R, encoding: &str) -> Self {
        let encoding = Encoding::for_label(encoding.as_bytes()).unwrap_or(encoding_rs::UTF_8);
        Self { content, decoder: encoding.new_decoder(), raw: Vec::new(), at: 0, before: 0, is_over: false, is_done: false, few: VecDeque::new() }
    }

    /// Decodes into a place that has room for a character.
    fn decode(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while !self.is_done {
            if self.at == self.raw.len() && !self.is_over {
                self.before += self.at as u64;
                self.at = 0;
                self.raw.resize(1 << 16, 0);
                let read = self.content.read(&mut self.raw);
                // What was read before must not come twice, whatever went wrong.
                self.raw.truncate(*read.as_ref().unwrap_or(&0));
                self.is_over = read? == 0;
            }
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(&self.raw[self.at..], into, self.is_over);
            self.at += read;
            match result {
                DecoderResult::Malformed(..) => {
                    let (encoding, end) = (self.decoder.encoding().name(), self.before + self.at as u64);
                    return Err(io::Error::other(format!("it is not in the encoding {encoding} by byte {end}")));
                }
                DecoderResult::InputEmpty => self.is_done = self.is_over,
                DecoderResult::OutputFull => {}
            }
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        /// As much as a character takes at most.
        const CHARACTER: usize = 4;
        if self.few.is_empty() && into.len() >= CHARACTER {
            return self.decode(into);
        }
        if self.few.is_empty() {
            let mut few = [0; 2 * CHARACTER];
            let written = self.decode(&mut few)?;
            self.few.extend(&few[..written]);
        }
        self.few.read(into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_decoded_whatever_is_read_at_once() {
        let text = "Grün, 中文 and more\n".repeat(9000);
        for encoding in [encoding_rs::UTF_16LE, encoding_rs::UTF_16BE, encoding_rs::GBK, encoding_rs::UTF_8] {
            let bytes: Vec<u8> = match encoding.name() {
                "UTF-16LE" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                "UTF-16BE" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
                _ => encoding.encode(&text).0.into_owned(),
            };
            for at_once in [1, 3, 4, 100, 1 << 20] {
                let mut decoded = Decoded::of(bytes.as_slice(), encoding.name());
                let (mut found, mut some) = (Vec::new(), vec![0; at_once]);
                loop {
                    match decoded.read(&mut some).expect("it is in that encoding") {
                        0 => break,
                        read => found.extend_from_slice(&some[..read]),
                    }
                }
                assert!(found == text.as_bytes(), "{} {at_once}", encoding.name());
            }
        }
        let wrong = Decoded::of(&b"caf\xe9"[..], "utf-8").read_to_end(&mut Vec::new()).expect_err("it is Latin");
        assert!(wrong.to_string().contains("not in the encoding UTF-8"), "{wrong}");
    }
}
