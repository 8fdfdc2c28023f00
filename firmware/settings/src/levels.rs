//! `[levels]`: what is measured; and `[levels_out]`: what is done to the programme's levels.

use programme::levels_out::{Feed, Gain, LevellerConfig, LevelsOutConfig, LimiterConfig};
use units::Lufs;

use crate::document::Table;
use crate::quantity;

/// A trim corrects a level; what is further off is a wrong input.
const MOST_TRIM: f32 = 20.0;
/// From quiet classical music to what the loudest stations do.
const LOUDNESS: (f32, f32) = (-36.0, -8.0);
/// A ceiling under this is a volume control.
const LOWEST_CEILING: f32 = -12.0;

pub(crate) fn read(root: &Table<'_>) -> bool {
    let Some(table) = root.get("levels").and_then(|value| value.table("[levels]")) else { return true };
    let meters = table.get("meters").and_then(|value| value.flag()).unwrap_or(true);
    table.done();
    meters
}

/// `[levels_out]`.
pub(crate) fn out(root: &Table<'_>) -> LevelsOutConfig {
    let table = root.get("levels_out").and_then(|value| value.table("[levels_out]"));
    let Some(table) = table else { return LevelsOutConfig::default() };
    let feed = table.get("feed");
    let feed = feed.and_then(|value| value.one_of(&[("processed", Feed::Processed), ("raw", Feed::Raw)]));
    let mut config = LevelsOutConfig::for_feed(feed.unwrap_or_default());
    if let Some(value) = table.get("trim") {
        let trim = value.parsed("-3 dB", |text| quantity::decibels(text, "dB", -MOST_TRIM, MOST_TRIM));
        config.trim = trim.map_or(config.trim, Gain::new);
    }
    if let Some(value) = table.get("leveller") {
        let read = |text: &str| {
            let (least, most) = LOUDNESS;
            if text == "off" { Ok(None) } else { quantity::decibels(text, "LUFS", least, most).map(Some) }
        };
        let target = value.parsed("-16 LUFS", read).flatten();
        config.leveller = target.and_then(|target| Lufs::new(target.into())).map(LevellerConfig::to);
    }
    if let Some(value) = table.get("limiter") {
        let read = |text: &str| {
            if text == "off" { Ok(None) } else { quantity::ceiling(text, LOWEST_CEILING).map(Some) }
        };
        let ceiling = value.parsed("-1 dBTP", read).flatten();
        config.limiter = ceiling.map(|ceiling| LimiterConfig { ceiling, ..LimiterConfig::default() });
    }
    table.done();
    config
}
