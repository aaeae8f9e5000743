/// A number from 0 up to 1, drawn from what was hashed: the same for the same, whatever else there is.
#[must_use]
pub fn point(hashed: &blake3::Hasher) -> f64 {
    let mut word = [0; 8];
    word.copy_from_slice(&hashed.finalize().as_bytes()[..8]);
    #[expect(clippy::cast_precision_loss, reason = "53 bits of the hash are plenty")]
    let point = (u64::from_le_bytes(word) >> 11) as f64 / (1_u64 << 53) as f64;
    point
}
