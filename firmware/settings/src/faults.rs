//! `[silence]` and `[faults]`: what is wrong with an input's sound, and after how long.

use std::time::Duration;

use programme::fault::{Config, Preset, When};
use units::Dbfs;

use crate::document::{Table, Value};
use crate::quantity;

/// Under the noise of any line input; nothing could be told from silence there.
const LEAST: f32 = -100.0;

/// Pauses in speech last a second. After an hour an alarm is of no use to anybody.
const AFTER: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// Longer than that would keep the alarm up over a programme that everybody hears.
const BACK_AFTER: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(60));

/// What one fault may say.
const EXAMPLE: &str = "\"off\", or { alarm = \"60 s\" }, or { alarm = \"60 s\", act = \"120 s\" }";

pub(crate) fn read(root: &Table<'_>) -> Config {
    let silence = root.get("silence").and_then(|value| value.table("[silence]"));
    let preset = silence.as_ref().and_then(|table| table.get("preset")).and_then(|value| {
        value.one_of(&[("music", Preset::Music), ("talk", Preset::Talk), ("classical", Preset::Classical)])
    });
    let mut config = Config::preset(preset.unwrap_or_default());
    if let Some(table) = silence {
        self::silence(table, &mut config);
    }
    if let Some(table) = root.get("faults").and_then(|value| value.table("[faults]")) {
        for (key, when) in [
            ("dead_channel", &mut config.dead_channel.when),
            ("unequal", &mut config.unequal.when),
            ("clipping", &mut config.clipping.when),
            ("overload", &mut config.overload.when),
            ("inverted", &mut config.inverted.when),
            ("tone", &mut config.tone.when),
            ("card_lost", &mut config.card_lost),
        ] {
            if let Some(value) = table.get(key) {
                self::when(&value, when);
            }
        }
        table.done();
    }
    config
}

fn silence(table: Table<'_>, config: &mut Config) {
    let rule = &mut config.silence;
    let level = |key, example| {
        table.get(key).and_then(|value| value.parsed(example, |text| quantity::level(text, LEAST)))
    };
    // Said alone, `below` takes the others along: their distance is what keeps the flag from flapping.
    let distance = rule.back_above.db() - rule.below.db();
    let dead = config.dead_channel.below.db() - rule.below.db();
    rule.below = level("below", "-45 dBFS").unwrap_or(rule.below);
    config.dead_channel.below = Dbfs::new(rule.below.db() + dead);
    let beside = Dbfs::new((rule.below.db() + distance).min(0.0));
    rule.back_above = level("back", "-40 dBFS").unwrap_or(beside);
    if rule.back_above < rule.below {
        let found = format!("back {} under below {}", rule.back_above, rule.below);
        table.refuse(found, format!("write a level for back that is no lower: \"{beside}\" for example"));
    }
    rule.through_hum = table.get("hum").and_then(|value| value.flag()).unwrap_or(rule.through_hum);
    let back_after = span(&table, "back_after", "0.5 s", BACK_AFTER);
    rule.when.back_after = back_after.unwrap_or(rule.when.back_after);
    let (alarm, act) = (span(&table, "alarm", "10 s", AFTER), span(&table, "act", "20 s", AFTER));
    rule.when.act = act.or(rule.when.act);
    // An `act` that comes before the preset's alarm takes the alarm along.
    let before = rule.when.alarm.map(|alarm| rule.when.act.map_or(alarm, |act| alarm.min(act)));
    rule.when.alarm = alarm.or(before);
    ordered(&table, rule.when);
    table.done();
}

/// One fault's times.
fn when(value: &Value<'_>, when: &mut When) {
    if value.is_text() {
        if value.one_of(&[("off", ())]).is_some() {
            (when.alarm, when.act) = (None, None);
        }
        return;
    }
    let Some(table) = value.table(EXAMPLE) else { return };
    // A card that is gone may be told at once.
    let after = (Duration::ZERO, AFTER.1);
    (when.alarm, when.act) = (span(&table, "alarm", "60 s", after), span(&table, "act", "120 s", after));
    when.back_after = span(&table, "back_after", "5 s", BACK_AFTER).unwrap_or(when.back_after);
    if when.alarm.is_none() && when.act.is_none() {
        table.refuse("neither alarm nor act", format!("write {EXAMPLE}"));
    }
    ordered(&table, *when);
    table.done();
}

fn ordered(table: &Table<'_>, when: When) {
    if let (Some(alarm), Some(act)) = (when.alarm, when.act)
        && act < alarm
    {
        let found =
            format!("act after {} s, before the alarm after {} s", act.as_secs_f64(), alarm.as_secs_f64());
        table
            .refuse(found, "write the alarm's time first: somebody should know before the programme changes");
    }
}

fn span(
    table: &Table<'_>,
    key: &'static str,
    example: &str,
    (least, most): (Duration, Duration),
) -> Option<Duration> {
    table.get(key).and_then(|value| value.parsed(example, |text| quantity::span(text, least, most)))
}
