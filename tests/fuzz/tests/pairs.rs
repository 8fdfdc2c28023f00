//! Random plays of a proven pair, the same ones in every run: what keeps its promises under libFuzzer keeps some of them here.

use std::collections::BTreeMap;
use std::panic;

/// Steps and how often each is drawn. `?` is a random byte.
const STEPS: [(&[u8], u32); 38] = [
    (b"pw", 30),
    (b"pm", 12),
    (b"p", 10),
    (b"w", 10),
    (b"m", 10),
    (b"s", 6),
    (b"z", 3),
    (b"h", 3),
    (b"o", 4),
    (b".", 8),
    (b":", 10),
    (b"+", 5),
    (b"Rrcg", 12),
    (b"R", 2),
    (b"rc", 3),
    (b"g", 5),
    (b"G?", 2),
    (b"N", 1),
    (b"x?", 3),
    (b"f?", 2),
    (b"a?", 6),
    (b"a\x00", 4),
    (b"n?", 3),
    (b"l???", 3),
    (b"L?", 6),
    (b"k?", 2),
    (b"k\x00", 2),
    (b"E\x03", 3),
    (b"E?", 3),
    (b"t?", 1),
    (b"U?", 2),
    (b"U\xff", 4),
    (b"u?", 3),
    (b"u\x00", 4),
    (b"*?", 4),
    (b"* ", 4),
    (b"|", 1),
    (b"C\x83", 1),
];

/// xorshift64* (Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) % u64::from(end)) as u32
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }
}

fn script(seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut script = Vec::new();
    if dice.below(3) > 0 {
        script.extend([b'O', dice.byte()]);
    }
    // Mostly on air first, with what is written acknowledged.
    script.extend(b"C\x83E\x03Rrcg");
    let packets = dice.below(120) as usize;
    script.extend(std::iter::repeat_n(b'p', packets));
    if dice.below(2) > 0 {
        script.extend(b"E\x00");
    }
    let sum = STEPS.iter().map(|(_, weight)| weight).sum();
    for _ in 0..dice.below(400) {
        let mut drawn = dice.below(sum);
        let step = STEPS.iter().find(|(_, weight)| {
            let here = drawn < *weight;
            drawn = drawn.saturating_sub(*weight);
            here
        });
        let (step, _) = step.expect("what is drawn is below the sum");
        script.extend(step.iter().map(|&byte| if byte == b'?' { dice.byte() } else { byte }));
    }
    script
}

#[test]
fn random_plays_of_a_pair_keep_every_promise() {
    let seeds = std::env::var("MAINSTAY_PLAYS").map_or(1500, |number| {
        number.parse().unwrap_or_else(|_| panic!("MAINSTAY_PLAYS is {number}; it has to be a whole number"))
    });
    let mut reached: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..seeds {
        let script = script(seed);
        match panic::catch_unwind(|| fuzz::core_inputs::phases(&script)) {
            Ok(phases) => phases.into_iter().for_each(|phase| *reached.entry(phase).or_default() += 1),
            Err(_) => panic!("play {seed}: b\"S{}\"", script.escape_ascii()),
        }
    }
    println!("of {seeds} plays: {reached:?}");
    for phase in ["calm", "doubt", "moving", "away", "returning"] {
        assert!(reached.contains_key(phase), "no play gets as far as {phase}: {reached:?}");
    }
}
