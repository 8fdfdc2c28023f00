//! `[levels]`: what is measured, and what counts as silence.

use std::time::Duration;

use programme::{MeterConfig, SilenceConfig};
use units::Dbfs;

use crate::document::Table;
use crate::quantity;

/// Under the noise of any line input; nothing could be told from silence there.
const LEAST: f32 = -100.0;

/// Pauses in speech last a second. After an hour an alarm is of no use to anybody.
const AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Longer than that would keep the alarm up over a programme that everybody hears.
const BACK_AFTER: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(60));

pub(crate) fn read(root: &Table<'_>) -> MeterConfig {
    let mut meters = MeterConfig::default();
    let Some(table) = root.get("levels").and_then(|value| value.table("[levels]")) else { return meters };
    meters.levels = table.get("meters").and_then(|value| value.flag()).unwrap_or(meters.levels);
    let example =
        "silence = { below = \"-50 dBFS\", after = \"20 s\", back = \"-45 dBFS\", back_after = \"0.5 s\" }";
    if let Some(table) = table.get("silence").and_then(|value| value.table(example)) {
        silence(table, &mut meters.silence);
    }
    table.done();
    meters
}

fn silence(table: Table<'_>, silence: &mut SilenceConfig) {
    let level = |key, example| {
        table.get(key).and_then(|value| value.parsed(example, |text| quantity::level(text, LEAST)))
    };
    let span = |key, example, (least, most)| {
        table.get(key).and_then(|value| value.parsed(example, |text| quantity::span(text, least, most)))
    };
    // Said alone, `below` takes `back` along: their distance is what keeps the flag from flapping.
    let distance = silence.back_above.db() - silence.below.db();
    silence.below = level("below", "-50 dBFS").unwrap_or(silence.below);
    let beside = Dbfs::new((silence.below.db() + distance).min(0.0));
    silence.back_above = level("back", "-45 dBFS").unwrap_or(beside);
    if silence.back_above < silence.below {
        let found = format!("back {} under below {}", silence.back_above, silence.below);
        table.refuse(found, format!("write a level for back that is no lower: \"{beside}\" for example"));
    }
    silence.after = span("after", "20 s", AFTER).unwrap_or(silence.after);
    silence.back_after = span("back_after", "0.5 s", BACK_AFTER).unwrap_or(silence.back_after);
    table.done();
}
