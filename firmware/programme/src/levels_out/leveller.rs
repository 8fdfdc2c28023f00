//! A slow leveller: brings the programme's loudness to a target over many seconds, and stands still in pauses.

use std::f64::consts::PI;
use std::time::Duration;

use units::{Channels, Frames, Lufs, SampleRate};

use super::gain::{Gain, Ramp};

/// The leveller's settings.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LevellerConfig {
    /// Where the programme's loudness shall lie.
    pub target: Lufs,
    /// How far it may raise the programme, in dB. Default 6.
    pub most_up_db: f32,
    /// How far it may lower it, in dB. Default 12.
    pub most_down_db: f32,
    /// How fast it moves, in dB per second. Default 0.5: slower than anybody hears.
    pub db_per_second: f32,
}

impl LevellerConfig {
    /// The defaults, to a target.
    #[must_use]
    pub const fn to(target: Lufs) -> Self {
        Self { target, most_up_db: 6.0, most_down_db: 12.0, db_per_second: 0.5 }
    }
}

/// Loudness is looked at every so often.
const TENTH: Duration = Duration::from_millis(100);
const TENTHS_PER_SECOND: f32 = 10.0;
/// Loudness is that of so long, later parts counting more.
const MEMORY_TENTHS: f64 = 200.0;
/// Below this nothing is programme...
const ABSOLUTE_GATE_LUFS: f64 = -50.0;
/// ... and so far under the loudness it is a pause...
const RELATIVE_GATE_LU: f64 = -12.0;
/// ... unless it lasts: then it is a quiet piece.
const LONGEST_PAUSE_TENTHS: u32 = 100;
/// No wish is acted on before so much was heard.
const FIRST_TENTHS: f64 = 30.0;
/// A wish smaller than this is none.
const DEAD_BAND_DB: f32 = 0.5;

#[derive(Clone, Debug)]
pub(super) struct Leveller {
    config: LevellerConfig,
    channels: usize,
    weights: [KWeight; 2],
    tenth: u64,
    filled: u64,
    /// Of the tenth that is being filled.
    energy: f64,
    /// Mean energy of what passed the gates, and of how many tenths.
    mean: f64,
    heard: f64,
    pause: u32,
    gain: Gain,
    ramp: Ramp,
}

impl Leveller {
    pub(super) fn new(config: LevellerConfig, rate: SampleRate, channels: Channels) -> Self {
        Self {
            config,
            channels: channels.count(),
            weights: [KWeight::new(rate); 2],
            tenth: Frames::in_span(TENTH, rate).0,
            filled: 0,
            energy: 0.0,
            mean: 0.0,
            heard: 0.0,
            pause: 0,
            gain: Gain::NONE,
            ramp: Ramp::new(1.0, rate),
        }
    }

    pub(super) const fn gain(&self) -> Gain {
        self.gain
    }

    pub(super) fn block(&mut self, mut pcm: &mut [f32]) {
        while pcm.len() >= self.channels {
            let room = (self.tenth - self.filled) as usize;
            let (now, later) = pcm.split_at_mut(room.min(pcm.len() / self.channels) * self.channels);
            pcm = later;
            for frame in now.chunks_exact(self.channels) {
                for (weight, sample) in self.weights.iter_mut().zip(frame) {
                    let weighted = weight.sample(f64::from(*sample));
                    self.energy += weighted * weighted;
                }
            }
            self.filled += (now.len() / self.channels) as u64;
            self.ramp.apply(now, self.channels);
            if self.filled == self.tenth {
                // Mono is heard from two loudspeakers.
                let energy = self.energy / self.tenth as f64 * (2.0 / self.channels as f64);
                (self.energy, self.filled) = (0.0, 0);
                self.end_tenth(energy);
            }
        }
    }

    fn end_tenth(&mut self, energy: f64) {
        let pause = self.mean * 10_f64.powf(RELATIVE_GATE_LU / 10.0);
        if energy < 10_f64.powf((ABSOLUTE_GATE_LUFS + 0.691) / 10.0) {
            return;
        }
        if energy < pause && self.pause < LONGEST_PAUSE_TENTHS {
            self.pause += 1;
            return;
        }
        if energy >= pause {
            self.pause = 0;
        }
        self.heard = (self.heard + 1.0).min(MEMORY_TENTHS);
        self.mean += (energy - self.mean) / self.heard;
        if self.heard < FIRST_TENTHS {
            return;
        }
        let loudness = -0.691 + 10.0 * self.mean.log10();
        let wish = (f64::from(self.config.target.lufs()) - loudness) as f32;
        let wish = wish.clamp(-self.config.most_down_db.abs(), self.config.most_up_db.abs());
        let off = wish - self.gain.db();
        if off.abs() > DEAD_BAND_DB {
            let step = (self.config.db_per_second / TENTHS_PER_SECOND).abs();
            self.gain = Gain::new(self.gain.db() + off.clamp(-step, step));
            self.ramp.aim_in(self.gain.factor(), self.tenth);
        }
    }
}

/// The K-weighting of ITU-R BS.1770-4 for one channel: a shelf for the head and a high-pass, each a biquad.
#[derive(Clone, Copy, Debug)]
struct KWeight {
    shelf: Biquad,
    high_pass: Biquad,
}

impl KWeight {
    /// The standard's filters at 48 kHz, as analogue prototypes, so that they fit 44.1 kHz as well: figures of
    /// annex 1 solved for frequency, gain and Q.
    fn new(rate: SampleRate) -> Self {
        let hz = f64::from(rate.hz());
        let k = (PI * 1_681.974_450_955_533 / hz).tan();
        let q = 0.707_175_236_955_419_6;
        let high = 10_f64.powf(3.999_843_853_973_347 / 20.0);
        let band = high.powf(0.499_666_774_154_541_6);
        let a0 = 1.0 + k / q + k * k;
        let shelf = Biquad::new(
            [
                (high + band * k / q + k * k) / a0,
                2.0 * (k * k - high) / a0,
                (high - band * k / q + k * k) / a0,
            ],
            [2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0],
        );
        let k = (PI * 38.135_470_876_024_44 / hz).tan();
        let q = 0.500_327_037_323_877_3;
        let a0 = 1.0 + k / q + k * k;
        let high_pass = Biquad::new([1.0, -2.0, 1.0], [2.0 * (k * k - 1.0) / a0, (1.0 - k / q + k * k) / a0]);
        Self { shelf, high_pass }
    }

    fn sample(&mut self, sample: f64) -> f64 {
        let shelved = self.shelf.sample(sample);
        self.high_pass.sample(shelved)
    }
}

/// A second-order filter, transposed direct form II.
#[derive(Clone, Copy, Debug)]
struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
    state: [f64; 2],
}

impl Biquad {
    const fn new(b: [f64; 3], a: [f64; 2]) -> Self {
        Self { b, a, state: [0.0; 2] }
    }

    fn sample(&mut self, sample: f64) -> f64 {
        let out = self.b[0] * sample + self.state[0];
        self.state[0] = self.b[1] * sample - self.a[0] * out + self.state[1];
        self.state[1] = self.b[2] * sample - self.a[1] * out;
        out
    }
}
