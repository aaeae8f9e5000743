//! Rotary positions.

use super::architecture::{Architecture, Rope, Stretch};

/// Cosines and sines of one set of frequencies: for each position, half a head's width of each.
#[derive(Clone, Debug)]
struct Table {
    frequencies: Vec<f32>,
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

/// Turns queries and keys by their positions.
#[derive(Clone, Debug)]
pub struct Rotary {
    whole: Table,
    /// Of the layers that see only a window.
    local: Option<Table>,
    context: usize,
    reached: usize,
}

/// The frequencies of each pair of a head, in radians a position.
pub fn frequencies(rope: Rope, head_width: usize) -> Vec<f32> {
    let half = head_width / 2;
    #[expect(clippy::cast_precision_loss, reason = "heads are narrow")]
    let plain = (0..half).map(|i| rope.base.powf(-(i as f64) / half as f64));
    let stretched = plain.map(|frequency| match rope.stretch {
        Stretch::None => frequency,
        Stretch::Linear(factor) => frequency / factor,
        Stretch::ByParts { factor, low, high, original } => {
            let turns = original * frequency / std::f64::consts::TAU;
            let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            frequency * (share + (1.0 - share) / factor)
        }
    });
    #[expect(clippy::cast_possible_truncation, reason = "angles are single precision")]
    stretched.map(|frequency| frequency as f32).collect()
}

/// By how much each frequency is lower than without a stretch.
pub fn factors(rope: Rope, head_width: usize) -> Vec<f32> {
    let plain = frequencies(Rope { stretch: Stretch::None, ..rope }, head_width);
    plain.iter().zip(frequencies(rope, head_width)).map(|(plain, stretched)| plain / stretched).collect()
}

impl Table {
    fn new(rope: Rope, head_width: usize) -> Self {
        Self { frequencies: frequencies(rope, head_width), cosines: Vec::new(), sines: Vec::new() }
    }

    fn extend(&mut self, from: usize, to: usize) {
        for position in from..to {
            #[expect(clippy::cast_precision_loss, reason = "contexts are far below 2^24")]
            let angles = self.frequencies.iter().map(|frequency| position as f32 * frequency);
            for angle in angles {
                self.cosines.push(angle.cos());
                self.sines.push(angle.sin());
            }
        }
    }

    fn turn(&self, row: &mut [f32], position: usize, direction: f32) {
        let half = self.frequencies.len();
        let place = position * half..(position + 1) * half;
        let (cosines, sines) = (&self.cosines[place.clone()], &self.sines[place]);
        for head in row.chunks_exact_mut(2 * half) {
            let (first, second) = head.split_at_mut(half);
            for (((a, b), cosine), sine) in first.iter_mut().zip(second).zip(cosines).zip(sines) {
                let (x, y, sine) = (*a, *b, sine * direction);
                *a = x * cosine - y * sine;
                *b = y * cosine + x * sine;
            }
        }
    }
}

impl Rotary {
    /// The tables for conversations of up to so many tokens.
    #[must_use]
    pub fn new(a: &Architecture, length: usize) -> Self {
        let local = a.local.map(|local| Table::new(Rope { base: local.base, stretch: Stretch::None }, a.head_width));
        let mut rotary = Self { whole: Table::new(a.rope, a.head_width), local, context: a.context, reached: 0 };
        rotary.reach(length);
        rotary
    }

    /// Makes the tables long enough, which are never longer than the model's context.
    pub fn reach(&mut self, length: usize) {
        let to = length.min(self.context);
        for table in std::iter::once(&mut self.whole).chain(&mut self.local) {
            table.extend(self.reached, to);
        }
        self.reached = self.reached.max(to);
    }

    /// Turns each head in a row by its position; `direction` is 1 forward and -1 for the way back. `is_local` says whose layer it is.
    pub fn turn(&self, row: &mut [f32], position: usize, direction: f32, is_local: bool) {
        let table = self.local.as_ref().filter(|_| is_local).unwrap_or(&self.whole);
        table.turn(row, position, direction);
    }
}
