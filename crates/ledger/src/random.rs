//! Named random streams: Philox4x32-10 keyed by a seed and a name.
//!
//! Counter-based (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): value `i` of a stream is a
//! function of seed, name and `i` alone, so results do not depend on thread count, platform or how far another
//! stream was read. Only integer arithmetic and exact conversions are used.

/// A stream of random numbers. Streams of different names or seeds are independent.
#[derive(Clone, Debug)]
pub struct Stream {
    key: [u32; 2],
    /// Upper half of the counter: a second part of the name's hash.
    nonce: [u32; 2],
    /// Index of the next 32-bit value.
    position: u64,
    block: [u32; 4],
}

impl Stream {
    /// The stream called `name` of `seed`, at its beginning.
    pub fn new(seed: u64, name: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(name.as_bytes());
        let hash = *hasher.finalize().as_bytes();
        let word = |i: usize| u32::from_le_bytes([hash[i], hash[i + 1], hash[i + 2], hash[i + 3]]);
        Self { key: [word(0), word(4)], nonce: [word(8), word(12)], position: 0, block: [0; 4] }
    }

    /// The same stream, positioned before its value number `position` (in 32-bit values).
    pub fn at(&self, position: u64) -> Self {
        let mut stream = self.clone();
        stream.position = position;
        if !position.is_multiple_of(4) {
            stream.block = stream.block_at(position / 4);
        }
        stream
    }

    fn block_at(&self, index: u64) -> [u32; 4] {
        philox([index as u32, (index >> 32) as u32, self.nonce[0], self.nonce[1]], self.key)
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.position.is_multiple_of(4) {
            self.block = self.block_at(self.position / 4);
        }
        let value = self.block[(self.position % 4) as usize];
        self.position += 1;
        value
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// A number in `0..bound`, each equally likely (Lemire 2019); 0 if `bound` is 0 or 1.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        if bound < 2 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= threshold {
                return (product >> 64) as usize;
            }
        }
    }

    /// A number in `[0, 1)` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `items`, or `None` if there are none.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }

    /// Puts `items` into a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// `count` different indices of `0..length` in increasing order; all of them if `count ≥ length`.
    pub fn sample(&mut self, length: usize, count: usize) -> Vec<usize> {
        let mut indices: Vec<usize> = (0..length).collect();
        let count = count.min(length);
        for i in 0..count {
            let j = i + self.below(length - i);
            indices.swap(i, j);
        }
        indices.truncate(count);
        indices.sort_unstable();
        indices
    }
}

/// Ten rounds of Philox4x32 (Salmon et al. 2011, figure 2).
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // The published known-answer vectors of philox4x32-10.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            philox([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn positions_and_names() {
        let mut stream = Stream::new(7, "sampling");
        let values: Vec<u32> = (0..23).map(|_| stream.next_u32()).collect();
        for (i, value) in values.iter().enumerate() {
            assert_eq!(Stream::new(7, "sampling").at(i as u64).next_u32(), *value, "position {i}");
        }
        assert_ne!(Stream::new(8, "sampling").next_u64(), Stream::new(7, "sampling").next_u64());
        assert_ne!(Stream::new(7, "采样").next_u64(), Stream::new(7, "sampling").next_u64());
    }

    #[test]
    fn below_is_even_and_bounded() {
        let mut stream = Stream::new(1, "below");
        let mut counts = [0usize; 7];
        for _ in 0..70_000 {
            counts[stream.below(7)] += 1;
        }
        // Expected 10,000 each; six standard deviations are 555.
        assert!(counts.iter().all(|&count| count.abs_diff(10_000) < 555), "{counts:?}");
        assert_eq!((stream.below(0), stream.below(1)), (0, 0));
        assert!((0..1000).all(|_| (0.0..1.0).contains(&stream.uniform())));
    }

    #[test]
    fn shuffles_and_samples() {
        let mut items: Vec<usize> = (0..50).collect();
        Stream::new(3, "shuffle").shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
        let sample = Stream::new(3, "sample").sample(100, 10);
        assert!(sample.len() == 10 && sample.is_sorted_by(|a, b| a < b));
        assert_eq!(Stream::new(3, "sample").sample(3, 10), [0, 1, 2]);
        assert_eq!(Stream::new(3, "choose").choose::<u8>(&[]), None);
    }
}
