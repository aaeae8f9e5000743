//! The numbers of a model as they are read: in single precision, or in half the bytes where they have no more.

use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

use half::bf16;
use pulp::{Arch, Simd, WithSimd};

use super::architecture::Architecture;
use super::layout::Layout;
use super::weights::Weights;
use super::wide::wide;

/// From so many numbers on, half the bytes are worth what it takes to read them.
const LARGE: usize = 1 << 24;
/// So many numbers are widened at a time, where single precision is needed.
const BLOCK: usize = if cfg!(test) { 1 << 8 } else { 1 << 19 };

/// The numbers of a model, in one long vector.
#[derive(Clone, Debug)]
pub enum Numbers {
    /// In single precision.
    F32(Vec<f32>),
    /// In bfloat16, which is the upper half of single precision.
    Bf16(Vec<bf16>),
}

impl Numbers {
    /// Numbers of a model, in half the bytes where they are many and all of them are bfloat16, as most open weights are. They are the same
    /// numbers, wherever they came from.
    #[must_use]
    pub fn of(values: Vec<f32>) -> Self {
        let is_half = |value: &f32| value.to_bits() & 0xffff == 0;
        if values.len() >= LARGE && values.iter().all(is_half) {
            // The lower half is zero: nothing is rounded.
            return Self::Bf16(values.into_iter().map(bf16::from_f32).collect());
        }
        Self::F32(values)
    }
}

/// Some of the numbers of a model.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// In single precision.
    F32(&'a [f32]),
    /// In bfloat16.
    Bf16(&'a [bf16]),
}

impl<'a> Part<'a> {
    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::Bf16(values) => values.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Some of them.
    #[must_use]
    pub fn at(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(values) => Self::F32(&values[range]),
            Self::Bf16(values) => Self::Bf16(&values[range]),
        }
    }

    /// They in single precision.
    #[must_use]
    pub fn single(self) -> Cow<'a, [f32]> {
        match self {
            Self::F32(values) => Cow::Borrowed(values),
            Self::Bf16(values) => {
                let mut wide = vec![0.0; values.len()];
                widen(&mut wide, values);
                Cow::Owned(wide)
            }
        }
    }

    /// Shows rows of a matrix in single precision, with the number of the first: all of them, or as many as are widened at a time.
    pub fn rows(self, inputs: usize, mut show: impl FnMut(usize, &[f32])) {
        match self {
            Self::F32(values) => show(0, values),
            Self::Bf16(values) => {
                let rows = (BLOCK / inputs.max(1)).max(1);
                for (number, block) in values.chunks(rows * inputs).enumerate() {
                    widened(block, |block| show(number * rows, block));
                }
            }
        }
    }
}

thread_local! {
    /// Numbers that were widened, kept for the next.
    static WIDE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Shows numbers in single precision for a moment.
pub fn widened(values: &[bf16], show: impl FnOnce(&[f32])) {
    // Taken out, so that whoever is shown them may do the same.
    let mut wide = WIDE.take();
    if wide.len() < values.len() {
        wide.resize(values.len(), 0.0);
    }
    widen(&mut wide[..values.len()], values);
    show(&wide[..values.len()]);
    WIDE.set(wide);
}

wide! {
    /// Writes numbers in single precision.
    pub fn widen<'a>(out: &'a mut [f32], values: &'a [bf16]) -> () {
        for (out, value) in out.iter_mut().zip(values) {
            *out = f32::from_bits(u32::from(value.to_bits()) << 16);
        }
    }
}

/// The parameters of a model, wherever they are kept.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a> {
    /// The sizes.
    pub architecture: &'a Architecture,
    /// All of them, laid out as [`Layout`] says.
    pub all: Part<'a>,
}

impl<'a> Parameters<'a> {
    /// Numbers of a model of these sizes.
    #[must_use]
    pub const fn new(architecture: &'a Architecture, numbers: &'a Numbers) -> Self {
        let all = match numbers {
            Numbers::F32(values) => Part::F32(values.as_slice()),
            Numbers::Bf16(values) => Part::Bf16(values.as_slice()),
        };
        Self { architecture, all }
    }

    /// Where each tensor lies.
    #[must_use]
    pub const fn layout(self) -> Layout {
        Layout::new(*self.architecture)
    }

    /// Some of them.
    #[must_use]
    pub fn part(self, range: Range<usize>) -> Part<'a> {
        self.all.at(range)
    }

    /// A few of them in single precision: gains, biases, or one matrix.
    #[must_use]
    pub fn few(self, range: Range<usize>) -> Cow<'a, [f32]> {
        self.part(range).single()
    }

    /// All of them in single precision, to be changed.
    #[must_use]
    pub fn to_weights(self) -> Weights {
        Weights { architecture: *self.architecture, values: self.all.single().into_owned() }
    }
}

impl<'a> From<&'a Weights> for Parameters<'a> {
    fn from(weights: &'a Weights) -> Self {
        Self { architecture: &weights.architecture, all: Part::F32(&weights.values) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::adapter::{Adapter, Fitted, LoraShape, Targets};
    use super::super::architecture::Family;
    use super::super::backward::gradient;
    use super::super::decoder::loss;
    use super::super::packed::{Packed, Sample};
    use super::super::trace::Keep;
    use super::*;
    use crate::model::answering::generate::{Prompt, generate};
    use crate::model::answering::sampling::Sampling;
    use crate::model::random::Random;
    use crate::provider::Silent;

    /// What one does with a model, with all its numbers as `numbers` keeps them.
    fn used(architecture: &Architecture, numbers: &Numbers) -> (f64, Vec<f32>, Vec<f32>, Vec<Vec<u32>>) {
        let parameters = Parameters::new(architecture, numbers);
        let shape = LoraShape { is_dora: true, targets: Targets::ALL, ..LoraShape::plain(2, 4.0) };
        let mut adapter = Adapter::new(parameters, shape, 3);
        let mut random = Random::new(4, "adapter");
        adapter.values.iter_mut().for_each(|value| *value += random.normal() * 0.02);
        let fitted = Fitted::new(&adapter, parameters);
        let sample = |seed: u32| Sample { tokens: (0..12).map(|at| (seed + at * at) % 60).collect(), learned: vec![true; 12] };
        let samples = [sample(1), sample(5)];
        let packed = Packed::new(&samples);
        let (_, of_adapter) = gradient(parameters, Some(&fitted), &packed, Keep::All);
        let (_, of_all) = gradient(parameters, None, &packed, Keep::Inputs);
        let prompts = samples.map(|sample| Prompt { tokens: sample.tokens, sampling: Sampling::at(0.0) });
        let said = generate(parameters, Some(&fitted), &prompts, 10, &[], &Silent).expect("there is room");
        (loss(parameters, Some(&fitted), &packed).0, of_adapter, of_all, said.into_iter().map(|said| said.tokens).collect())
    }

    #[test]
    fn a_model_in_half_the_bytes_says_and_learns_the_same() {
        for family in [Family::Llama, Family::Qwen2, Family::Qwen3, Family::Gemma3] {
            let architecture = Architecture { family, ..Architecture::small(60, 24, 2, 2, 40, 64) };
            let mut weights = Weights::random(architecture, 1);
            weights.values.iter_mut().for_each(|value| *value = bf16::from_f32(*value * 3.0).to_f32());
            let brief = Numbers::Bf16(weights.values.iter().copied().map(bf16::from_f32).collect());
            let (loss, of_adapter, of_all, said) = used(&architecture, &Numbers::F32(weights.values));
            let found = used(&architecture, &brief);
            let far =
                |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / a.iter().fold(0.0, |most: f32, a| most.max(a.abs()));
            assert!((found.0 - loss).abs() < 1e-4 * loss, "{family:?}: {} and {loss}", found.0);
            let far = [far(&of_adapter, &found.1), far(&of_all, &found.2)];
            assert!(far.iter().all(|far| *far < 1e-4), "{family:?}: {far:?}");
            assert_eq!(found.3, said, "{family:?}");
        }
    }

    #[test]
    fn half_the_bytes_are_the_same_numbers() {
        let mut values: Vec<f32> = (0..LARGE).map(|at| bf16::from_f32((at as f32).sin()).to_f32()).collect();
        let numbers = Numbers::of(values.clone());
        assert!(matches!(numbers, Numbers::Bf16(_)));
        let architecture = Architecture::small(1, 1, 1, 1, 1, 1);
        let parameters = Parameters::new(&architecture, &numbers);
        assert!(parameters.few(0..LARGE) == values.as_slice());
        let (mut seen, inputs) = (0, 1 << 12);
        parameters.part(inputs..LARGE).rows(inputs, |first, rows| {
            assert!(rows == &values[(first + 1) * inputs..][..rows.len()]);
            seen += rows.len();
        });
        assert_eq!(seen, LARGE - inputs);
        values[7] = 0.1;
        assert!(matches!(Numbers::of(values), Numbers::F32(_)), "what needs more keeps it");
        assert!(matches!(Numbers::of(vec![1.0; 100]), Numbers::F32(_)), "what is small is faster as it is");
    }
}
