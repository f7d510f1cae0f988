//! Seeded draws: one stream of random numbers per input name.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `count` numbers strictly between 0 and 1 for the input called `name`.
///
/// The stream depends on the seed and the name alone: neither the order of inputs nor the number of threads changes a
/// draw, and two variants that share an input share its draws, which is what makes their savings paired.
#[must_use]
pub fn uniforms(seed: u64, name: &str, count: usize) -> Vec<f64> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(name));
    (0..count).map(|_| ((generator.next_u64() >> 12) as f64 + 0.5) / (1_u64 << 52) as f64).collect()
}

/// The 64-bit FNV-1a hash (Fowler, Noll, Vo): the same on every platform and release, unlike the standard hasher.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_inside_the_unit_interval_and_depend_on_seed_and_name() {
        let a = uniforms(1, "power", 10_000);
        assert!(a.iter().all(|u| *u > 0.0 && *u < 1.0));
        assert_eq!(a, uniforms(1, "power", 10_000));
        assert_ne!(a, uniforms(2, "power", 10_000));
        assert_ne!(a, uniforms(1, "price", 10_000));
        let mean = a.iter().sum::<f64>() / a.len() as f64;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }
}
