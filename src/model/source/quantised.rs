//! The number formats of GGUF files, as ggml lays out their blocks (`ggml-common.h`, `ggml-quants.c`), turned into single precision.

use half::{bf16, f16};
use rayon::prelude::*;

/// A number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

impl Format {
    /// The format of a number in the file.
    pub const fn of(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// Numbers in a block, and its bytes.
    pub const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// The bytes of so many numbers; nothing where they fill no whole blocks.
    pub fn size(self, numbers: usize) -> Option<usize> {
        let (length, bytes) = self.block();
        numbers.is_multiple_of(length).then(|| (numbers / length).checked_mul(bytes))?
    }

    /// Writes the numbers of some bytes.
    pub fn read(self, bytes: &[u8], out: &mut [f32]) {
        /// Blocks that one core takes at a time.
        const SOME: usize = 1024;
        let (length, size) = self.block();
        out.par_chunks_mut(length * SOME).zip(bytes.par_chunks(size * SOME)).for_each(|(out, bytes)| {
            for (out, block) in out.chunks_exact_mut(length).zip(bytes.chunks_exact(size)) {
                self.read_block(block, out);
            }
        });
    }

    fn read_block(self, block: &[u8], out: &mut [f32]) {
        match self {
            Self::F32 => out[0] = f32::from_le_bytes([block[0], block[1], block[2], block[3]]),
            Self::F16 => out[0] = half(block),
            Self::Bf16 => out[0] = bf16::from_le_bytes([block[0], block[1]]).to_f32(),
            Self::Q4_0 => nibbles(&block[2..], &[], out, |q| half(block) * (q - 8.0)),
            Self::Q4_1 => nibbles(&block[4..], &[], out, |q| half(block).mul_add(q, half(&block[2..]))),
            Self::Q5_0 => nibbles(&block[6..], &block[2..6], out, |q| half(block) * (q - 16.0)),
            Self::Q5_1 => nibbles(&block[8..], &block[4..8], out, |q| half(block).mul_add(q, half(&block[2..]))),
            Self::Q8_0 => out.iter_mut().zip(&block[2..]).for_each(|(out, q)| *out = half(block) * f32::from(q.cast_signed())),
            Self::Q4K => by_eighths(block, &[], &block[16..], out),
            Self::Q5K => by_eighths(block, &block[16..48], &block[48..], out),
            Self::Q6K => sixths(block, out),
        }
    }
}

fn half(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// 32 numbers of four bits, the low halves of the bytes first, with a fifth bit of each in `high`.
fn nibbles(low: &[u8], high: &[u8], out: &mut [f32], value: impl Fn(f32) -> f32) {
    let high = if let [a, b, c, d] = high { u32::from_le_bytes([*a, *b, *c, *d]) } else { 0 };
    for (at, out) in out.iter_mut().enumerate() {
        let byte = low[at % 16];
        let four = if at < 16 { byte & 15 } else { byte >> 4 };
        let fifth = if high >> at & 1 == 1 { 16.0 } else { 0.0 };
        *out = value(f32::from(four) + fifth);
    }
}

/// 256 numbers in eight parts, each with a scale and an offset of six bits that twelve bytes hold.
fn by_eighths(block: &[u8], high: &[u8], low: &[u8], out: &mut [f32]) {
    let (scale, offset, packed) = (half(block), half(&block[2..]), &block[4..16]);
    for (part, out) in out.chunks_exact_mut(32).enumerate() {
        let (own_scale, own_offset) = if part < 4 {
            (packed[part] & 63, packed[part + 4] & 63)
        } else {
            (packed[part + 4] & 15 | packed[part - 4] >> 6 << 4, packed[part + 4] >> 4 | packed[part] >> 6 << 4)
        };
        let (scale, offset) = (scale * f32::from(own_scale), offset * f32::from(own_offset));
        for (at, out) in out.iter_mut().enumerate() {
            let byte = low[part / 2 * 32 + at];
            let four = if part % 2 == 0 { byte & 15 } else { byte >> 4 };
            let fifth = high.get(at).is_some_and(|high| high >> part & 1 == 1);
            *out = scale * (f32::from(four) + if fifth { 16.0 } else { 0.0 }) - offset;
        }
    }
}

/// 256 numbers of six bits: four in `ql`, two in `qh`, with a scale for each sixteen.
fn sixths(block: &[u8], out: &mut [f32]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, whole) = rest.split_at(16);
    let whole = half(whole);
    for (at, out) in out.iter_mut().enumerate() {
        let (part, place) = (at / 128, at % 128);
        let (quarter, within) = (place / 32, place % 32);
        let byte = low[part * 64 + quarter % 2 * 32 + within];
        let four = if quarter < 2 { byte & 15 } else { byte >> 4 };
        let two = high[part * 32 + within] >> (2 * quarter) & 3;
        let scale = scales[part * 8 + quarter * 2 + within / 16].cast_signed();
        *out = whole * f32::from(scale) * (f32::from(four | two << 4) - 32.0);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// What the `gguf` package makes of random blocks (`tests/reference/quantised.py`).
    const RECORDED: &str = include_str!("../../../tests/reference/quantised.json");

    #[test]
    fn each_format_is_read_as_the_package_of_its_makers_reads_it() {
        let recorded: Value = serde_json::from_str(RECORDED).expect("JSON");
        let formats = recorded.as_object().expect("formats");
        assert_eq!(formats.len(), 10);
        for (name, format) in formats {
            let kind = Format::of(u32::try_from(format["number"].as_u64().expect("a number")).expect("a number")).expect(name);
            let hex = format["bytes"].as_str().expect("bytes");
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect();
            let wanted: Vec<f64> = format["values"].as_array().expect("values").iter().map(|value| value.as_f64().expect("a value")).collect();
            assert_eq!(kind.size(wanted.len()), Some(bytes.len()), "{name}");
            let mut found = vec![0.0; wanted.len()];
            kind.read(&bytes, &mut found);
            for (at, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
                assert!((f64::from(*found) - wanted).abs() <= 1e-5 * wanted.abs().max(1e-3), "{name} at {at}: {found} and not {wanted}");
            }
        }
    }
}
