//! Leaving out inputs of an adapter at random while it is trained (Srivastava et al. 2014).

use crate::model::random::Random;

use super::layout::Matrix;

/// Which inputs are left out in one pass over some rows: the same each time it is asked, so that nothing needs to be kept for the way back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// The share that is left out.
    pub share: f32,
    /// What tells this pass from others.
    pub seed: u64,
}

impl Dropout {
    /// Leaves out some numbers of what goes into the adapter of a matrix, and makes the others larger by as much.
    pub fn apply(&self, layer: usize, matrix: Matrix, values: &mut [f32]) {
        let mut random = Random::new(self.seed ^ ((layer * Matrix::ALL.len() + matrix as usize) as u64).rotate_left(40), "dropout");
        let kept = 1.0 / (1.0 - self.share);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^32")]
        let bound = (f64::from(self.share) * f64::from(u32::MAX)) as u32;
        for two in values.chunks_mut(2) {
            let bits = random.next();
            for (value, bits) in two.iter_mut().zip([bits as u32, (bits >> 32) as u32]) {
                *value = if bits < bound { 0.0 } else { *value * kept };
            }
        }
    }
}
