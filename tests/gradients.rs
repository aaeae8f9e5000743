//! The backward pass written by hand, against finite differences.

use retune::model::{
    Adapter, Architecture, Family, Fitted, Keep, Local, LoraShape, Matrix, Packed, Random, Rope, Sample, Stretch, Targets, Weights, gradient, loss,
};

/// A small decoder of each family, with all of its switches on.
fn small(family: Family) -> Architecture {
    let plain = Architecture::small(23, 16, 3, 4, 24, 64);
    let base = Architecture { family, epsilon: 1e-6, ..plain };
    match family {
        Family::Llama => Architecture { key_heads: 2, rope: Rope { base: 1000.0, stretch: Stretch::Linear(2.0) }, ..base },
        Family::Qwen2 => Architecture { key_heads: 1, tied: false, ..base },
        Family::Qwen3 => Architecture { key_heads: 2, head_width: 6, ..base },
        Family::Gemma3 => Architecture { key_heads: 2, head_width: 6, local: Some(Local { window: 4, every: 2, base: 100.0 }), ..base },
    }
}

const FAMILIES: [Family; 4] = [Family::Llama, Family::Qwen2, Family::Qwen3, Family::Gemma3];

fn sample(random: &mut Random, length: usize) -> Sample {
    let tokens = (0..length).map(|_| u32::try_from(random.below(23)).expect("a token")).collect();
    Sample { tokens, learned: (0..length).map(|at| at % 3 != 1).collect() }
}

fn larger(mut weights: Weights, random: &mut Random) -> Weights {
    // At the usual start the attention hardly matters; larger weights let a mistake in it show. Gains and biases are moved from where they begin.
    weights
        .values
        .iter_mut()
        .for_each(|value| *value = if value.abs() < 0.5 { *value * 12.0 + 0.05 * random.normal() } else { *value + 0.2 * random.normal() });
    weights
}

/// Compares the slope along `direction` with the gradient.
fn holds(name: &str, direction: &[f32], gradient: &[f32], loss_at: impl Fn(f32) -> f64) {
    let wanted: f64 = direction.iter().zip(gradient).map(|(d, g)| f64::from(*d) * f64::from(*g)).sum();
    let step = 3e-4_f32;
    let found = (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
    // Along a normal direction the slope is about as large as the gradient is long; a wrong gradient is off by that much.
    let length: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    assert!((wanted - found).abs() <= 2e-2 * length, "{name}: the gradient says {wanted} and the difference {found}, where {length} is usual");
}

#[test]
fn every_tensor_has_the_right_gradient() {
    for family in FAMILIES {
        let mut random = Random::new(5, "test");
        let weights = larger(Weights::random(small(family), 1), &mut random);
        let packed = Packed::new(&[sample(&mut random, 9), sample(&mut random, 5), sample(&mut random, 1), sample(&mut random, 12)]);
        let (_, full) = gradient(&weights, None, &packed, Keep::All);
        assert_eq!(gradient(&weights, None, &packed, Keep::Inputs).1, full, "what is computed a second time is the same");
        for tensor in weights.layout().tensors() {
            for _ in 0..3 {
                let direction: Vec<f32> = tensor.range.clone().map(|_| random.normal()).collect();
                holds(&format!("{family:?} {}", tensor.name), &direction, &full[tensor.range.clone()], |step| {
                    let mut moved = weights.clone();
                    moved.values[tensor.range.clone()].iter_mut().zip(&direction).for_each(|(value, d)| *value += step * d);
                    loss(&moved, None, &packed).0
                });
            }
        }
    }
}

#[test]
fn an_adapter_has_the_right_gradient() {
    for family in FAMILIES {
        for (is_dora, is_rank_stabilised, targets) in
            [(false, false, Targets::ALL), (false, true, Targets::of([Matrix::Query, Matrix::Value, Matrix::Down])), (true, false, Targets::ALL)]
        {
            let mut random = Random::new(6, "test");
            let base = larger(Weights::random(small(family), 2), &mut random);
            let mut adapter = Adapter::new(&base, LoraShape { is_dora, is_rank_stabilised, targets, ..LoraShape::plain(3, 6.0) }, 4);
            adapter.values.iter_mut().for_each(|value| *value += 0.1 * random.normal());
            let packed = Packed::new(&[sample(&mut random, 7), sample(&mut random, 11)]);
            let fitted = Fitted::new(&adapter, &base);
            let (beside, found) = gradient(&base, Some(&fitted), &packed, Keep::All);
            let merged = loss(&adapter.merged(&base), None, &packed).0;
            assert!((beside - merged).abs() < 1e-4 * merged, "{family:?}: {beside} beside the base, {merged} in it");
            for round in 0..8 {
                // The ratios of DoRA count as constants, so that only what stands beside them can be compared: its lengths.
                let lengths: Vec<usize> = (0..3)
                    .flat_map(|layer| targets.iter().map(move |matrix| (layer, matrix)))
                    .filter_map(|(layer, matrix)| adapter.layout().pair(layer, matrix))
                    .flat_map(|pair| pair.magnitude)
                    .collect();
                let moves = |at: usize| !is_dora || lengths.contains(&at);
                let direction: Vec<f32> = (0..adapter.values.len()).map(|at| if moves(at) { random.normal() } else { 0.0 }).collect();
                let part: Vec<f32> = found.iter().enumerate().map(|(at, g)| if moves(at) { *g } else { 0.0 }).collect();
                holds(&format!("{family:?}, direction {round}"), &direction, &part, |step| {
                    let mut moved = adapter.clone();
                    moved.values.iter_mut().zip(&direction).for_each(|(value, d)| *value += 0.2 * step * d);
                    loss(&base, Some(&Fitted::new(&moved, &base)), &packed).0 * 5.0
                });
            }
        }
    }
}

#[test]
fn packing_changes_no_loss_and_no_gradient() {
    for family in FAMILIES {
        let mut random = Random::new(7, "test");
        let weights = larger(Weights::random(small(family), 3), &mut random);
        let samples = [sample(&mut random, 8), sample(&mut random, 13), sample(&mut random, 4)];
        let (together, whole) = gradient(&weights, None, &Packed::new(&samples), Keep::All);
        let alone: Vec<(f64, Vec<f32>)> = samples.iter().map(|sample| gradient(&weights, None, &Packed::new([sample]), Keep::All)).collect();
        let sum: f64 = alone.iter().map(|(loss, _)| loss).sum();
        assert!((together - sum).abs() < 1e-5 * sum, "{together} and {sum}");
        let length: f32 = whole.iter().map(|g| g * g).sum::<f32>().sqrt();
        for (at, whole) in whole.iter().enumerate() {
            let parts: f32 = alone.iter().map(|(_, gradient)| gradient[at]).sum();
            assert!((whole - parts).abs() <= 1e-5 * length, "{family:?} at {at}: {whole} together, {parts} apart");
        }
    }
}
