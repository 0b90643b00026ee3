//! The generator's dice: xoshiro256++, seeded by splitmix64.
//!
//! Test data must be the same for one seed, also years later and with other versions of every
//! dependency, so the few lines are here. Nothing secret may ever come from them.

/// A stream of pseudo-random numbers that depends on its seed alone.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// Begins the stream of `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let mut z = seed;
        let state = std::array::from_fn(|_| {
            z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut x = z;
            x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        });
        Self { state }
    }

    /// Begins a stream of its own for one purpose, so that two that began with one seed never
    /// write the same message keys.
    pub(crate) fn for_purpose(purpose: &str, seed: u64, number: u64) -> Self {
        let mut hash = blake3::Hasher::new_derive_key("keyhaven corpus v1 stream");
        hash.update(&seed.to_le_bytes());
        hash.update(&number.to_le_bytes());
        hash.update(purpose.as_bytes());
        let mut state = [0; 4];
        for (word, eight) in state
            .iter_mut()
            .zip(hash.finalize().as_bytes().as_chunks::<8>().0)
        {
            *word = u64::from_le_bytes(*eight);
        }
        Self { state }
    }

    /// The next 64 bits.
    pub(crate) fn word(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let out = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let t = b << 17;
        let c = c ^ a;
        let d = d ^ b;
        self.state = [a ^ d, b ^ c, c ^ t, d.rotate_left(45)];
        out
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.word()) * u128::from(bound);
        (wide >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// True in `share` of all cases.
    pub(crate) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// One of the choices.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len() as u64) as usize)
    }

    /// A log-normal number with the given median.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        // Twelve uniform numbers add up to a good enough bell, without a call to sin or ln.
        let bell: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        median * (sigma * bell).exp()
    }

    /// An exponentially distributed number with the given mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Fills `out`.
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        let (words, rest) = out.as_chunks_mut::<8>();
        for word in words {
            *word = self.word().to_le_bytes();
        }
        let last = self.word().to_le_bytes();
        for (to, from) in rest.iter_mut().zip(last) {
            *to = from;
        }
    }

    /// `len` random bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.fill(&mut out);
        out
    }

    /// A message key as WhatsApp writes them: upper-case hex.
    pub(crate) fn message_key(&mut self, sent: bool) -> String {
        let (a, b) = (self.word(), self.word());
        if sent {
            format!("3EB0{:012X}{b:016X}", a >> 16)
        } else {
            format!("{a:016X}{b:016X}")
        }
    }
}
