//! The backward pass written by hand, against finite differences.

use retune::model::{Adapter, Architecture, LoraShape, Packed, Random, Sample, Weights, gradient, loss};

const SMALL: Architecture = Architecture { vocabulary: 23, width: 16, layers: 2, heads: 2, hidden: 24, context: 32 };

fn sample(random: &mut Random, length: usize) -> Sample {
    let tokens = (0..length).map(|_| u32::try_from(random.below(SMALL.vocabulary)).expect("a token")).collect();
    Sample { tokens, learned: (0..length).map(|at| at % 3 != 1).collect() }
}

fn larger(mut weights: Weights) -> Weights {
    // At the usual start the attention hardly matters; larger weights let a mistake in it show.
    weights.values.iter_mut().filter(|value| value.abs() < 0.5).for_each(|value| *value *= 12.0);
    weights
}

/// Compares the slope along `direction` with the gradient.
fn holds(name: &str, direction: &[f32], gradient: &[f32], loss_at: impl Fn(f32) -> f64) {
    let wanted: f64 = direction.iter().zip(gradient).map(|(d, g)| f64::from(*d) * f64::from(*g)).sum();
    let step = 1e-3_f32;
    let found = (loss_at(step) - loss_at(-step)) / (2.0 * f64::from(step));
    // Along a normal direction the slope is about as large as the gradient is long; a wrong gradient is off by that much.
    let length: f64 = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
    assert!((wanted - found).abs() <= 2e-2 * length, "{name}: the gradient says {wanted} and the difference {found}, where {length} is usual");
}

#[test]
fn every_tensor_has_the_right_gradient() {
    let mut random = Random::new(5, "test");
    let weights = larger(Weights::random(SMALL, 1));
    let packed = Packed::new(&[sample(&mut random, 9), sample(&mut random, 5), sample(&mut random, 1), sample(&mut random, 12)]);
    let (_, full) = gradient(&weights, None, &packed);
    for (name, _, range) in weights.layout().tensors() {
        for _ in 0..3 {
            let direction: Vec<f32> = range.clone().map(|_| random.normal()).collect();
            holds(&name, &direction, &full[range.clone()], |step| {
                let mut moved = weights.clone();
                moved.values[range.clone()].iter_mut().zip(&direction).for_each(|(value, d)| *value += step * d);
                loss(&moved, &packed).0
            });
        }
    }
}

#[test]
fn an_adapter_has_the_right_gradient() {
    let mut random = Random::new(6, "test");
    let base = larger(Weights::random(SMALL, 2));
    let mut adapter = Adapter::new(SMALL, LoraShape { rank: 3, alpha: 6.0 }, 4);
    adapter.values.iter_mut().for_each(|value| *value += 0.1 * random.normal());
    let packed = Packed::new(&[sample(&mut random, 7), sample(&mut random, 11)]);
    let (_, found) = gradient(&adapter.merged(&base), Some(&adapter), &packed);
    for round in 0..10 {
        let direction: Vec<f32> = adapter.values.iter().map(|_| random.normal()).collect();
        holds(&format!("direction {round}"), &direction, &found, |step| {
            let mut moved = adapter.clone();
            moved.values.iter_mut().zip(&direction).for_each(|(value, d)| *value += 0.2 * step * d);
            loss(&moved.merged(&base), &packed).0 * 5.0
        });
    }
}

#[test]
fn packing_changes_no_loss() {
    let mut random = Random::new(7, "test");
    let weights = larger(Weights::random(SMALL, 3));
    let samples = [sample(&mut random, 8), sample(&mut random, 13), sample(&mut random, 4)];
    let together = loss(&weights, &Packed::new(&samples)).0;
    let alone: f64 = samples.iter().map(|sample| loss(&weights, &Packed::new([sample])).0).sum();
    assert!((together - alone).abs() < 1e-4 * alone, "{together} and {alone}");
}
