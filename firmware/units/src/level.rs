//! Loudness and level.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A level relative to digital full scale. Silence is negative infinity and stays representable here;
/// it is written as [`Dbfs::FLOOR`] wherever a finite number is needed (JSON has no infinity).
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Dbfs(f32);

impl Dbfs {
    /// The lowest level that is ever reported: under the noise of a 24-bit converter.
    pub const FLOOR: Self = Self(-144.0);

    /// A level in dBFS; NaN and anything under the floor become [`Dbfs::FLOOR`].
    #[must_use]
    pub fn new(db: f32) -> Self {
        if db.is_nan() || db < Self::FLOOR.0 { Self::FLOOR } else { Self(db) }
    }

    /// The number of decibels.
    #[must_use]
    pub const fn db(self) -> f32 {
        self.0
    }
}

impl fmt::Display for Dbfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} dBFS", self.0)
    }
}

/// Loudness after ITU-R BS.1770, in LUFS. `None` is used where nothing was loud enough to measure.
#[derive(Clone, Copy, PartialEq, PartialOrd, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lufs(f32);

impl Lufs {
    /// A loudness; `None` when the measure has no finite value (silence gives negative infinity).
    #[must_use]
    pub fn new(lufs: f64) -> Option<Self> {
        lufs.is_finite().then_some(Self(lufs as f32))
    }

    /// The number of LUFS.
    #[must_use]
    pub const fn lufs(self) -> f32 {
        self.0
    }
}

impl fmt::Display for Lufs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} LUFS", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_finite() {
        assert_eq!(Dbfs::new(f32::NEG_INFINITY), Dbfs::FLOOR);
        assert_eq!(Dbfs::new(f32::NAN), Dbfs::FLOOR);
        assert_eq!(Lufs::new(f64::NEG_INFINITY), None);
    }
}
