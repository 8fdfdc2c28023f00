//! The test card, built and configured, and a listener that holds a capture to its promises.

#![expect(unsafe_code, reason = "the variable that points alsa-lib to the test's PCMs is set")]
#![expect(clippy::unwrap_used, reason = "part of the tests: what cannot be set up fails them")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use mainstay_capture::{
    Capture, Clock, Config, Device, Input, Next, PeriodKind, Pick, SampleFormat, now, start,
};
use units::SampleRate;
use units::snapshot::InputState;

/// The card's library and the PCMs of all tests, made once.
pub(crate) struct Bench {
    folder: PathBuf,
}

impl Bench {
    pub(crate) fn ready() -> &'static Self {
        static BENCH: OnceLock<Bench> = OnceLock::new();
        BENCH.get_or_init(|| {
            let folder = own_folder();
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/card/card.c");
            let library = folder.join("libasound_module_pcm_mainstay_card.so");
            let built = Command::new("cc")
                .args(["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-DPIC", "-o"])
                .args([&library, &source])
                .arg("-lasound")
                .output()
                .expect("cc has to be there: apt-get install gcc libc6-dev");
            let complaint = String::from_utf8_lossy(&built.stderr);
            assert!(
                built.status.success(),
                "the test card does not build (is libasound2-dev installed?): {complaint}"
            );
            let mut asoundrc = format!("pcm_type.mainstay_card {{ lib \"{}\" }}\n", library.display());
            for name in PCMS {
                let path = |what| folder.join(format!("{name}.{what}")).display().to_string();
                asoundrc += &format!(
                    "pcm.{name} {{ type mainstay_card control \"{}\" fault \"{}\" {} }}\n",
                    path("unplugged"),
                    path("fault"),
                    match *name {
                        "one_channel" => "channels 1",
                        "cd_rate" => "rate 44100",
                        "fast" => "ppm 200",
                        "slow" => "ppm -120",
                        "hasty" => "ppm 400",
                        "slower" => "ppm -300",
                        "faster" => "ppm 400",
                        _ => "",
                    },
                );
            }
            let file = folder.join("asoundrc");
            fs::write(&file, asoundrc).unwrap();
            // SAFETY: every test comes through here before its first thread or ALSA call, and `OnceLock` lets one through.
            unsafe { std::env::set_var("ALSA_CONFIG_PATH", &file) };
            Bench { folder }
        })
    }

    pub(crate) fn unplug(&self, name: &str) {
        fs::write(self.folder.join(format!("{name}.unplugged")), "").unwrap();
    }

    pub(crate) fn plug_in(&self, name: &str) {
        fs::remove_file(self.folder.join(format!("{name}.unplugged"))).unwrap();
    }

    pub(crate) fn order(&self, name: &str, order: &str) {
        fs::write(self.folder.join(format!("{name}.fault")), order).unwrap();
    }
}

const PCMS: &[&str] = &[
    "formats",
    "one_channel",
    "cd_rate",
    "overrun",
    "stall",
    "unplug",
    "absent",
    "late",
    "watched",
    "held",
    "fast",
    "slow",
    "hasty",
    "slower",
    "faster",
];

/// A folder of this process below the build's own, and away with those of processes that are over: what a static holds is
/// never dropped, and a runner may give every test a process.
fn own_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(root).unwrap().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(FOLDER));
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Another process may be tidying up as well.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = root.join(format!("{FOLDER}{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

const FOLDER: &str = "test-card-";

pub(crate) fn config(name: &str, format: SampleFormat, pick: Pick) -> Config {
    let device = Device::Pcm(name.into());
    Config {
        input: Input::Alsa { device, format },
        rate: SampleRate::Hz48000,
        pick,
        period: 480,
        clock: Clock::Report,
    }
}

/// Reads a capture and holds it to its promises.
pub(crate) struct Listener {
    pub(crate) capture: Capture,
    position: u64,
    /// The card's frame number less the programme's; the same for the whole run.
    offset: Option<u32>,
    pub(crate) sound: u64,
    pub(crate) silence: u64,
}

impl Listener {
    pub(crate) fn start(config: Config) -> Self {
        let capture = start(config).unwrap();
        Self { capture, position: 0, offset: None, sound: 0, silence: 0 }
    }

    /// One period, checked. The card counts in 32 bits over both channels.
    fn hear(&mut self) -> PeriodKind {
        let period = match self.capture.next(PATIENCE) {
            Next::Period(period) => period,
            missing @ (Next::Nothing | Next::Ended(_)) => panic!("no period: {missing:?}"),
        };
        assert_eq!(period.first.0, self.position, "a period begins where the last one ended");
        assert!(period.samples.len() <= 2 * 480, "{} samples in one period", period.samples.len());
        assert!(!period.samples.is_empty());
        for (frame, samples) in (self.position..).zip(period.samples.chunks_exact(2)) {
            match period.kind {
                PeriodKind::Sound => {
                    let bits = |sample: f32| u32::from((sample * 32_768.0) as i16 as u16);
                    let card = bits(samples[0]) | bits(samples[1]) << 16;
                    let offset = card.wrapping_sub(frame as u32);
                    assert_eq!(
                        *self.offset.get_or_insert(offset),
                        offset,
                        "at frame {frame} of the programme"
                    );
                }
                PeriodKind::Silence => assert_eq!(samples, [0.0, 0.0]),
            }
        }
        let frames = period.samples.len() as u64 / 2;
        self.position += frames;
        match period.kind {
            PeriodKind::Sound => self.sound += frames,
            PeriodKind::Silence => self.silence += frames,
        }
        period.kind
    }

    pub(crate) fn hear_frames(&mut self, frames: u64) {
        let until = self.position + frames;
        while self.position < until {
            self.hear();
        }
    }

    /// Until periods of this kind come; within a minute of sound, or the test fails.
    pub(crate) fn hear_until(&mut self, kind: PeriodKind) {
        for _ in 0..6_000 {
            if self.hear() == kind {
                return;
            }
        }
        panic!("no {kind:?} within 6000 periods");
    }

    /// After everything that was on its way was read, the counters agree with what came out.
    pub(crate) fn agrees(&self) {
        let report = self.capture.status().report(now());
        assert_eq!(report.gap_frames.0, self.silence);
        assert!(report.frames.0 >= self.position);
    }

    pub(crate) fn state(&self) -> InputState {
        self.capture.status().report(now()).state
    }
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
