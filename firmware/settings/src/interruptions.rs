//! What a reload would do to what is on air.

use std::fmt;

use delivery::config::{MountConfig, MountId};
use units::Rendition;

use crate::Settings;

/// What changes from old settings to new ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interruptions {
    /// Every mount of either, in the order of the new file, then those that go.
    pub mounts: Vec<(MountId, MountChange)>,
    /// Whether capture starts anew. Mounts stay connected meanwhile and carry exact silence.
    pub input: bool,
    /// Renditions whose encoder starts anew: their mounts stay connected, with one audible seam.
    pub encoders: Vec<Rendition>,
    /// Whether the control socket or the state folder moves, which takes a restart of the daemon.
    pub control: bool,
    /// Whether the log recording begins anew, or ends. Nothing on air is touched by that.
    pub recording: bool,
}

/// What becomes of one mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountChange {
    /// It stays as it is, untouched.
    Left,
    /// It is disconnected and opened anew, because of the keys named.
    Reopened(Vec<&'static str>),
    /// It is new.
    Added,
    /// It is disconnected for good.
    Removed,
}

impl Interruptions {
    /// Whether nothing on air is touched.
    #[must_use]
    pub fn is_none(&self) -> bool {
        !self.input
            && self.encoders.is_empty()
            && self.mounts.iter().all(|(_, change)| matches!(change, MountChange::Left | MountChange::Added))
    }
}

impl fmt::Display for Interruptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_none() {
            writeln!(f, "a reload interrupts nothing")?;
        }
        for (id, change) in &self.mounts {
            match change {
                MountChange::Left => writeln!(f, "{id}: left alone")?,
                MountChange::Reopened(keys) => {
                    writeln!(f, "{id}: interrupted ({} changed)", keys.join(", "))?
                }
                MountChange::Added => writeln!(f, "{id}: new")?,
                MountChange::Removed => writeln!(f, "{id}: disconnected for good")?,
            }
        }
        for rendition in &self.encoders {
            writeln!(
                f,
                "{rendition}: its encoder starts anew; mounts stay connected, with one audible seam"
            )?;
        }
        if self.input {
            writeln!(f, "input: capture starts anew; mounts stay connected")?;
        }
        if self.recording {
            writeln!(
                f,
                "recording: begins anew; what is recorded stays, unless it is too much by the new settings"
            )?;
        }
        if self.control {
            writeln!(f, "control: takes effect when mainstay-air is restarted")?;
        }
        Ok(())
    }
}

/// What a reload from `old` to `new` would interrupt.
#[must_use]
pub fn interrupted(old: &Settings, new: &Settings) -> Interruptions {
    let before = |id: &MountId| old.mounts.iter().find(|mount| mount.id == *id);
    let change = |mount: &MountConfig| match before(&mount.id) {
        None => MountChange::Added,
        Some(old) if old == mount => MountChange::Left,
        Some(old) => MountChange::Reopened(differences(old, mount)),
    };
    let mut mounts: Vec<_> = new.mounts.iter().map(|mount| (mount.id.clone(), change(mount))).collect();
    let gone = old.mounts.iter().filter(|mount| new.mounts.iter().all(|other| other.id != mount.id));
    mounts.extend(gone.map(|mount| (mount.id.clone(), MountChange::Removed)));
    let restarted = |(rendition, options): &(Rendition, _)| {
        new.encoders.iter().any(|(other, chosen)| other == rendition && chosen != options)
    };
    Interruptions {
        mounts,
        input: !same_input(old.input.as_ref(), new.input.as_ref()),
        encoders: old.encoders.iter().filter(|it| restarted(it)).map(|(rendition, _)| *rendition).collect(),
        control: old.control != new.control,
        recording: old.recording != new.recording,
    }
}

/// Whether capture may go on. Taken apart without `..`: a new field has to be compared.
fn same_input(old: Option<&capture::Config>, new: Option<&capture::Config>) -> bool {
    use capture::Input::{Alsa, File, Stream, Tone};
    let (Some(old), Some(new)) = (old, new) else { return old.is_none() && new.is_none() };
    let capture::Config { input, rate, pick, period, clock } = new;
    let same_source = match (&old.input, input) {
        (Alsa { device: a, format: af }, Alsa { device: b, format: bf }) => a == b && af == bf,
        (File { path: a }, File { path: b }) => a == b,
        (Tone { hz: a, level: al }, Tone { hz: b, level: bl }) => a.to_bits() == b.to_bits() && al == bl,
        (Stream { name: a, dial: _ }, Stream { name: b, dial: _ }) => a == b,
        (Alsa { .. } | File { .. } | Stream { .. } | Tone { .. }, _) => false,
    };
    same_source && *rate == old.rate && *pick == old.pick && *period == old.period && *clock == old.clock
}

/// The keys that differ between two configurations of one mount. Taken apart without `..`: a new field has to be named.
fn differences(old: &MountConfig, new: &MountConfig) -> Vec<&'static str> {
    let MountConfig { id: _, server, path, user, password, rendition, station, longest_lag } = new;
    [
        ("url", server.host != old.server.host || server.port != old.server.port || *path != old.path),
        ("server", server.kind != old.server.kind),
        ("method", server.method != old.server.method),
        ("tls", server.tls != old.server.tls),
        ("user", *user != old.user),
        ("password", *password != old.password),
        ("codec", rendition.codec != old.rendition.codec),
        ("bitrate", rendition.bitrate != old.rendition.bitrate),
        ("channels", rendition.channels != old.rendition.channels),
        ("rate", rendition.rate != old.rendition.rate),
        ("station", *station != old.station),
        ("longest_lag", *longest_lag != old.longest_lag),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}
