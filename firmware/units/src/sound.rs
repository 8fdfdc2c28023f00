//! Frames, rates and channels.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of frames (one sample per channel), or a position on the programme's frame counter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Frames(pub u64);

impl Frames {
    /// How long these frames last, rounded down to the microsecond.
    #[must_use]
    pub const fn duration(self, rate: SampleRate) -> Duration {
        let hz = rate.hz() as u64;
        Duration::from_micros((self.0 / hz) * 1_000_000 + (self.0 % hz) * 1_000_000 / hz)
    }

    /// How many frames fill `span`, rounded to the nearest frame.
    #[must_use]
    pub const fn in_span(span: Duration, rate: SampleRate) -> Self {
        let hz = rate.hz() as u128;
        Self(((span.as_nanos() * hz + 500_000_000) / 1_000_000_000) as u64)
    }
}

impl Add for Frames {
    type Output = Self;
    fn add(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }
}

impl AddAssign for Frames {
    fn add_assign(&mut self, more: Self) {
        *self = *self + more;
    }
}

impl Sub for Frames {
    type Output = Self;
    fn sub(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

/// A sample rate that the box captures and encodes at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum SampleRate {
    /// 44.1 kHz: MP3 packets alternate in length (padding).
    Hz44100,
    /// 48 kHz: every MP3 packet of a rendition has the same length.
    Hz48000,
}

impl SampleRate {
    /// The rate in frames per second.
    #[must_use]
    pub const fn hz(self) -> u32 {
        match self {
            Self::Hz44100 => 44_100,
            Self::Hz48000 => 48_000,
        }
    }
}

/// The box runs at 44100 or 48000 Hz only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnsupportedRate(pub u32);

impl fmt::Display for UnsupportedRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sample rate {} Hz is not supported; use 48000 or 44100", self.0)
    }
}

impl core::error::Error for UnsupportedRate {}

impl TryFrom<u32> for SampleRate {
    type Error = UnsupportedRate;
    fn try_from(hz: u32) -> Result<Self, UnsupportedRate> {
        match hz {
            44_100 => Ok(Self::Hz44100),
            48_000 => Ok(Self::Hz48000),
            other => Err(UnsupportedRate(other)),
        }
    }
}

impl From<SampleRate> for u32 {
    fn from(rate: SampleRate) -> Self {
        rate.hz()
    }
}

impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.hz())
    }
}

/// How many channels a programme or rendition has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// One channel.
    Mono,
    /// Left and right, interleaved in that order.
    Stereo,
}

impl Channels {
    /// Samples in one frame.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }
}

impl fmt::Display for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mono => "mono",
            Self::Stereo => "stereo",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_time_agree() {
        assert_eq!(Frames(48_000 * 3600).duration(SampleRate::Hz48000), Duration::from_secs(3600));
        assert_eq!(Frames::in_span(Duration::from_millis(24), SampleRate::Hz48000), Frames(1152));
        assert_eq!(Frames::in_span(Duration::from_secs(2), SampleRate::Hz44100), Frames(88_200));
    }

    #[test]
    fn odd_rates_are_refused_by_name() {
        let refused = SampleRate::try_from(22_050).unwrap_err();
        assert_eq!(refused, UnsupportedRate(22_050));
    }
}
