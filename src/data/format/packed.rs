//! Files that are packed, or in another encoding than UTF-8.

use std::borrow::Cow;
use std::io::Read;

use encoding_rs::Encoding;

use super::super::DataError;

/// What a packed file may become, however small it is, in bytes.
const ALWAYS: u64 = 256 << 20;
/// How many times its size a packed file may become: text packs to a fiftieth at best, a bomb to a thousandth.
const TIMES: u64 = 300;

/// A file without its packing, and its name without the ending that says so.
pub fn unpacked<'a>(file: &'a str, bytes: Cow<'a, [u8]>) -> Result<(&'a str, Cow<'a, [u8]>), DataError> {
    let malformed = |problem: String| DataError::MalformedFile { file: file.to_owned(), format: "a packed file", problem };
    let most = (bytes.len() as u64).saturating_mul(TIMES).max(ALWAYS);
    let mut plain = Vec::new();
    let inner = if let Some(inner) = file.strip_suffix(".gz") {
        flate2::read::MultiGzDecoder::new(bytes.as_ref()).take(most + 1).read_to_end(&mut plain).map_err(|error| malformed(error.to_string()))?;
        inner
    } else if let Some(inner) = file.strip_suffix(".zst") {
        let mut rest = bytes.as_ref();
        // A file may be several frames.
        while !rest.is_empty() && plain.len() as u64 <= most {
            let frame = ruzstd::decoding::StreamingDecoder::new(&mut rest).map_err(|error| malformed(error.to_string()))?;
            frame.take(most + 1 - plain.len() as u64).read_to_end(&mut plain).map_err(|error| malformed(error.to_string()))?;
        }
        inner
    } else {
        return Ok((file, bytes));
    };
    if plain.len() as u64 > most {
        return Err(malformed(format!("{} bytes become more than {most}: that is no data", bytes.len())));
    }
    Ok((inner, plain.into()))
}

/// Whether there is an encoding of this name.
#[must_use]
pub fn is_encoding(name: &str) -> bool {
    Encoding::for_label(name.as_bytes()).is_some()
}

/// A text in UTF-8.
pub fn decoded<'a>(file: &str, bytes: Cow<'a, [u8]>, encoding: Option<&str>) -> Result<Cow<'a, [u8]>, DataError> {
    let Some(encoding) = encoding.and_then(|name| Encoding::for_label(name.as_bytes())) else {
        return Ok(bytes);
    };
    let (text, _, had_errors) = encoding.decode(&bytes);
    if had_errors {
        let problem = format!("it is not in the encoding {}", encoding.name());
        return Err(DataError::MalformedFile { file: file.to_owned(), format: "text", problem });
    }
    Ok(text.into_owned().into_bytes().into())
}
