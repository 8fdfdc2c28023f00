//! What an output's two mounts are to each other: `standby`, `return`, `settle`, `lone_uplink`, `[output.proven]`.

use std::time::Duration;

use delivery::config::{Lone, OnAir, OutputConfig, Proven, Return, Standby};

use crate::document::Table;
use crate::quantity;

/// Long enough that a path which comes and goes does not move listeners with it.
const SETTLE: Duration = Duration::from_secs(60);
const LEAST_SETTLE: Duration = Duration::from_secs(1);
const MOST_SETTLE: Duration = Duration::from_secs(3600);

/// Icecast's own defaults (`burst-size`, `queue-size`, `source-timeout`).
const BURST: u32 = 65_536;
const QUEUE: u32 = 524_288;
const SOURCE_TIMEOUT: Duration = Duration::from_secs(10);
const MOST_TIMEOUT: Duration = Duration::from_secs(120);
const MOST_QUEUE: u32 = 64 * 1024 * 1024;

/// The rules of the output `name`; `paired` when it has both mounts.
pub(crate) fn read(table: &Table<'_>, name: &str, paired: bool) -> OutputConfig {
    let standby = table
        .get("standby")
        .and_then(|value| {
            value.one_of(&[
                ("auto", Standby::Auto),
                ("held", Standby::Held),
                ("full", Standby::Full),
                ("cold", Standby::Cold),
            ])
        })
        .unwrap_or_default();
    let on_air = table
        .get("on_air")
        .and_then(|value| {
            let on_air = value.one_of(&[("always", OnAir::Always), ("taken", OnAir::Taken)])?;
            if on_air == OnAir::Taken && paired {
                value.refuse(
                    "taken in an output with a fallback",
                    "leave the fallback out: what the server falls back to is somebody else's",
                );
            }
            Some(on_air)
        })
        .unwrap_or_default();
    let give_back = table
        .get("return")
        .and_then(|value| {
            value.one_of(&[
                ("auto", Return::Auto),
                ("at-silence", Return::AtSilence),
                ("manual", Return::Manual),
            ])
        })
        .unwrap_or_default();
    let settle = table
        .get("settle")
        .and_then(|value| value.parsed("60 s", |text| quantity::span(text, LEAST_SETTLE, MOST_SETTLE)))
        .unwrap_or(SETTLE);
    let lone = table
        .get("lone_uplink")
        .and_then(|value| {
            value.one_of(&[
                ("primary-only", Lone::PrimaryOnly),
                ("both", Lone::Both),
                ("lower-bitrate", Lone::LowerBitrate),
            ])
        })
        .unwrap_or_default();
    let proven = table.get("proven").and_then(|value| {
        if !paired {
            value.refuse(
                "it in an output with one mount",
                "leave it out: there is nothing to hand over to without a fallback",
            );
        }
        let table = value.table("[output.proven], as `mainstay survey` prints it")?;
        let proven = proven(&table);
        table.done();
        Some(proven)
    });
    OutputConfig { name: name.to_owned(), standby, on_air, give_back, settle, lone, proven }
}

fn proven(table: &Table<'_>) -> Proven {
    let flag = |key: &'static str| table.get(key).and_then(|value| value.flag()).unwrap_or(false);
    let bytes = |key: &'static str, default: u32| {
        table.get(key).and_then(|value| value.whole(0, MOST_QUEUE)).unwrap_or(default).into()
    };
    Proven {
        fallback: flag("fallback"),
        overrides: flag("override"),
        evict: flag("evict"),
        burst: bytes("burst", BURST),
        queue: bytes("queue", QUEUE),
        source_timeout: table
            .get("source_timeout")
            .and_then(|value| {
                value.parsed("10 s", |text| quantity::span(text, Duration::from_secs(1), MOST_TIMEOUT))
            })
            .unwrap_or(SOURCE_TIMEOUT),
    }
}
