//! The settings file: one documented, versioned TOML document beside a second one for secrets, parsed once into what
//! each room is told. `example.toml` in this folder shows every key.
//!
//! Invariants
//! - [`Settings`] that exist are right: each value is in its range, and all of them fit together.
//! - All faults are told at once, each with file, line, key, what was found and what would be right.
//! - No message holds a password, nor any text of the secrets file.
//! - Nothing on the box changes here: the caller swaps old settings for new ones, or keeps the old.
#![forbid(unsafe_code)]

mod address;
mod agreement;
mod document;
mod faults;
mod hand_over;
mod input;
mod interruptions;
mod levels;
mod load;
mod output;
mod quantity;
mod recording;
mod refusal;
mod secrets;
mod tiers;
mod title;
mod trust;
mod uplink;

use std::io;
use std::path::{Path, PathBuf};

use delivery::config::{MountConfig, OutputConfig};
use delivery::uplink::UplinkConfig;
use units::Rendition;

pub use interruptions::{Interruptions, MountChange, interrupted};
pub use load::load;
pub use refusal::{Refusal, Refusals};
pub use tiers::{
    Backup, BackupSource, Emergency, EmergencyFile, StreamAddress, TierSettings, stream_address,
};
pub use title::{TitleFile, TitleSettings};

use document::{Manner, Sheet, Table};
use secrets::{Secrets, SecretsText};

/// Version of the file's language that this box understands.
pub const VERSION: u32 = 1;

/// Everything the file says, as the rooms take it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The station's name; may be empty.
    pub station: String,
    /// Where the sound comes from; `None` without `[input]`.
    pub input: Option<capture::Config>,
    /// Whether levels and loudness are measured.
    pub meters: bool,
    /// What is wrong with the sound of an input.
    pub faults: programme::fault::Config,
    /// What is put on air when the input fails.
    pub tiers: TierSettings,
    /// What is done to the programme's levels.
    pub levels_out: programme::levels_out::LevelsOutConfig,
    /// What the titles are, and where they come from.
    pub titles: TitleSettings,
    /// How the box is asked, and where it keeps what must outlive a restart.
    pub control: Control,
    /// The network interfaces to use, best first; none leaves all to the kernel's routes.
    pub uplinks: Vec<UplinkConfig>,
    /// Every mount, in the order of the file, each output's primary first.
    pub mounts: Vec<MountConfig>,
    /// What the mounts of each output are to each other.
    pub outputs: Vec<OutputConfig>,
    /// One encoder a rendition, in order of first mention.
    pub encoders: Vec<(Rendition, encode::Options)>,
    /// The log recording; `None` without `[recording]`.
    pub recording: Option<archive::Config>,
}

/// `[control]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Control {
    /// The local socket.
    pub socket: PathBuf,
    /// Folder for what must outlive a restart.
    pub state: PathBuf,
}

/// What the files are called in messages, and where relative paths begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// The settings file.
    pub settings: String,
    /// The secrets file.
    pub secrets: String,
    /// The settings file's folder.
    pub base: PathBuf,
}

/// Understands both texts. `read` is called for each authority (`tls = { ca = ... }`) with its path.
///
/// # Errors
/// All faults of both files. After a syntax error, or in a file of a newer version, only that.
pub fn parse(
    text: &str,
    secrets: &str,
    places: &Places,
    read: &mut dyn FnMut(&Path) -> io::Result<String>,
) -> Result<Settings, Refusals> {
    understand(text, SecretsText::Text(secrets), places, read)
}

pub(crate) fn understand(
    text: &str,
    secrets: SecretsText<'_>,
    places: &Places,
    read: &mut dyn FnMut(&Path) -> io::Result<String>,
) -> Result<Settings, Refusals> {
    let sheet = Sheet::new(&places.settings, text, Manner::Open);
    let mut secrets = Secrets::read(&places.secrets, secrets);
    let settings =
        sheet.document().and_then(|document| settings(sheet.root(&document), &mut secrets, places, read));
    let mut refusals = sheet.verdict();
    refusals.extend(secrets.verdict());
    match settings {
        Some(settings) if refusals.is_empty() => Ok(settings),
        Some(_) | None => Err(Refusals(refusals)),
    }
}

/// `None` for a file of a newer version.
fn settings(
    root: Table<'_>,
    secrets: &mut Secrets<'_>,
    places: &Places,
    read: &mut dyn FnMut(&Path) -> io::Result<String>,
) -> Option<Settings> {
    if is_newer(&root) {
        return None;
    }
    // Its reader was here already: the file had to be found before it could be read.
    if let Some(value) = root.get("secrets") {
        value.some_text("secrets.toml");
    }
    let station = root.get("station").and_then(|value| value.table("[station]")).map_or_else(
        delivery::config::Station::default,
        |table| {
            let station = output::station(&table, &delivery::config::Station::default(), None);
            table.done();
            station
        },
    );
    let programme = input::read(&root, places);
    let (meters, levels_out) = (levels::read(&root), levels::out(&root));
    let faults = faults::read(&root);
    let titles = title::read(&root, places);
    let control = control(&root, places);
    let uplinks = uplink::read(&root);
    let mut around = output::Surroundings { places, station, programme, read };
    let mut outputs = output::read(&root, secrets, &mut around);
    let tiers = tiers::read(&root, &mut around);
    let output::Surroundings { station, programme, .. } = around;
    let recording = recording::read(&root, places, &programme, &mut outputs);
    root.done();
    // Whole packets of the first rendition a wake-up; with none, of MP3.
    let packet = outputs.encoders.first().map_or(units::Codec::Mp3, |(rendition, _)| rendition.codec);
    let input = programme.input.map(|input| capture::Config {
        input,
        rate: programme.rate,
        pick: programme.pick,
        clock: programme.clock,
        period: packet.frames_per_packet() * (LONGEST_PERIOD / packet.frames_per_packet()).max(1),
    });
    Some(Settings {
        station: station.name,
        input,
        meters,
        faults,
        tiers,
        levels_out,
        titles,
        control,
        uplinks,
        mounts: outputs.mounts,
        outputs: outputs.rules,
        encoders: outputs.encoders,
        recording,
    })
}

/// Frames of the longest period: two MP3 packets, 48 ms. Waking costs more than all of our own code per packet, so packets
/// are made two at a time; twice as many would keep a server's listeners waiting for 100 ms.
const LONGEST_PERIOD: u32 = 2304;

/// Whether the file is of a version that this box does not understand. An empty file needs none.
fn is_newer(root: &Table<'_>) -> bool {
    if root.is_empty() {
        return false;
    }
    let value = root.need("version", &format!("write version = {VERSION} at the top"));
    let Some(value) = value else { return false };
    let newer = value.whole(1, u32::MAX).is_some_and(|version| version > VERSION);
    if newer {
        let remedy = format!("this box understands version {VERSION}: update the box, or write that");
        value.refuse("a newer version", remedy);
    }
    newer
}

fn control(root: &Table<'_>, places: &Places) -> Control {
    /// A Unix socket's path ends with a zero byte in 108 (sys/un.h).
    const LONGEST_SOCKET: usize = 107;
    let mut control = Control { socket: units::snapshot::SOCKET.into(), state: "/var/lib/mainstay".into() };
    let Some(table) = root.get("control").and_then(|value| value.table("[control]")) else { return control };
    if let Some(value) = table.get("socket")
        && let Some(text) = value.some_text(units::snapshot::SOCKET)
    {
        control.socket = places.base.join(text);
        if control.socket.as_os_str().len() > LONGEST_SOCKET {
            value.refuse_text(
                text,
                format!("choose a path of at most {LONGEST_SOCKET} bytes: the kernel takes no longer"),
            );
        }
    }
    if let Some(text) = table.get("state").and_then(|value| value.some_text("/var/lib/mainstay")) {
        control.state = places.base.join(text);
    }
    table.done();
    control
}
