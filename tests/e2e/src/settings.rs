//! Writing the settings file and the secrets beside it, as an engineer would.

use std::fmt::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use units::snapshot::Role;
use units::{BitRate, Channels, Codec, Rendition, SampleRate};

use crate::icecast::{Icecast, SOURCE_PASSWORD};

/// What the box captures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Input {
    /// A PCM of the test card.
    Card {
        /// Its name.
        pcm: String,
        /// The alsa-lib configuration that defines it: the daemon's `ALSA_CONFIG_PATH`.
        asoundrc: PathBuf,
    },
    /// A PCM of the machine, by name.
    Alsa(String),
    /// A file, paced and looped.
    File(PathBuf),
    /// A sine of so many hertz.
    Tone(u32),
}

/// One mount to feed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Its address.
    pub url: String,
    /// The key `server`: `icecast`, `icecast-kh`, `harbor`, `shoutcast-1`, `generic`.
    pub server: &'static str,
    /// How it is coded.
    pub codec: Codec,
    /// In kbit/s.
    pub kbit: u32,
    /// The programme's rate: the same for all mounts of a box.
    pub rate: SampleRate,
    /// The password, for the secrets file.
    pub password: String,
    /// More lines for its table: `tls = { ca = "..." }`.
    pub more: String,
}

impl Mount {
    /// A mount of an Icecast with the usual password.
    #[must_use]
    pub fn icecast(url: String, codec: Codec, kbit: u32) -> Self {
        Self {
            url,
            server: "icecast",
            codec,
            kbit,
            rate: SampleRate::Hz48000,
            password: SOURCE_PASSWORD.to_owned(),
            more: String::new(),
        }
    }

    /// What it carries, with the stereo programme that [`Settings`] asks for.
    ///
    /// # Panics
    /// The mount's bitrate is zero.
    #[must_use]
    pub fn rendition(&self) -> Rendition {
        Rendition {
            codec: self.codec,
            rate: self.rate,
            channels: Channels::Stereo,
            bitrate: BitRate::from_kbit(self.kbit).expect("a mount carries something"),
        }
    }

    /// With another value of `server`.
    #[must_use]
    pub fn server(mut self, server: &'static str) -> Self {
        self.server = server;
        self
    }

    /// With one more line in its table.
    #[must_use]
    pub fn with(mut self, line: &str) -> Self {
        self.more.push_str(line);
        self.more.push('\n');
        self
    }

    /// Of a programme at another rate.
    #[must_use]
    pub fn rate(mut self, rate: SampleRate) -> Self {
        self.rate = rate;
        self
    }

    /// With another password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }
}

/// One output: a name and its mounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its mounts.
    pub mounts: Vec<(Role, Mount)>,
    /// More lines for its table, and whole tables after them: `settle = "3 s"`, `[output.proven]`.
    pub rules: String,
}

/// What a survey finds where everything is as it should be.
pub const PROVEN: &str = "\n[output.proven]\nfallback = true\noverride = true\nevict = true\n";

impl Output {
    /// One primary and nothing else.
    #[must_use]
    pub fn alone(name: &str, primary: Mount) -> Self {
        Self { name: name.to_owned(), mounts: vec![(Role::Primary, primary)], rules: String::new() }
    }

    /// A primary and its fallback.
    #[must_use]
    pub fn pair(name: &str, primary: Mount, fallback: Mount) -> Self {
        let mounts = vec![(Role::Primary, primary), (Role::Fallback, fallback)];
        Self { name: name.to_owned(), mounts, rules: String::new() }
    }

    /// With more lines in its table, and tables after them.
    #[must_use]
    pub fn with(mut self, rules: &str) -> Self {
        self.rules.push_str(rules);
        self
    }

    /// The usual pair on one Icecast: `/live` in MP3 at 320 kbit/s and `/live_fallback` at 192.
    #[must_use]
    pub fn live(server: &Icecast) -> Self {
        Self::pair(
            "main",
            Mount::icecast(server.url("/live"), Codec::Mp3, 320),
            Mount::icecast(server.url("/live_fallback"), Codec::Mp3, 192),
        )
    }
}

/// The whole settings: stereo at the rate of the first mount (48 kHz unless it says otherwise), with meters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What comes in.
    pub input: Input,
    /// Where it goes.
    pub outputs: Vec<Output>,
    /// Whether levels are measured.
    pub meters: bool,
    /// A file that is watched for titles.
    pub title_file: Option<PathBuf>,
}

impl Settings {
    /// Settings with one output.
    #[must_use]
    pub fn new(input: Input, output: Output) -> Self {
        Self { input, outputs: vec![output], meters: true, title_file: None }
    }

    /// The settings file, with socket and state in `folder`.
    #[must_use]
    pub fn toml(&self, folder: &Path) -> String {
        let mut text = String::from("version = 1\n\n[station]\nname = \"Radio Loopback\"\n\n[input]\n");
        match &self.input {
            Input::Alsa(name) => line(&mut text, "alsa", name),
            Input::Card { pcm, .. } => {
                line(&mut text, "alsa", pcm);
                // What its programme is made of, and what peers on the same card open: the card converts nothing.
                line(&mut text, "format", "s16");
            }
            Input::File(path) => line(&mut text, "file", &path.display().to_string()),
            Input::Tone(hertz) => {
                line(&mut text, "tone", &format!("{hertz} Hz"));
                line(&mut text, "level", "-20 dBFS");
            }
        }
        let mount = self.outputs.first().and_then(|output| output.mounts.first());
        let rate = match mount.map_or(SampleRate::Hz48000, |(_, mount)| mount.rate) {
            SampleRate::Hz44100 => "44.1 kHz",
            SampleRate::Hz48000 => "48 kHz",
        };
        line(&mut text, "rate", rate);
        line(&mut text, "channels", "stereo");
        text.push_str("\n[control]\n");
        line(&mut text, "socket", &folder.join("air.sock").display().to_string());
        line(&mut text, "state", &folder.join("state").display().to_string());
        if let Some(file) = &self.title_file {
            text.push_str("\n[title]\n");
            line(&mut text, "file", &file.display().to_string());
        }
        write!(text, "\n[levels]\nmeters = {}\n", self.meters).expect("a String takes everything");
        for output in &self.outputs {
            text.push_str("\n[[output]]\n");
            line(&mut text, "name", &output.name);
            text.push_str(&output.rules);
            for (role, mount) in &output.mounts {
                write!(text, "\n[output.{role}]\n").expect("a String takes everything");
                line(&mut text, "url", &mount.url);
                line(&mut text, "server", mount.server);
                line(&mut text, "codec", mount.codec.name());
                line(&mut text, "bitrate", &format!("{} kbit/s", mount.kbit));
                text.push_str(&mount.more);
            }
        }
        text
    }

    /// The secrets file.
    #[must_use]
    pub fn secrets(&self) -> String {
        let mut text = String::new();
        for output in &self.outputs {
            writeln!(text, "[{}]", quoted(&output.name)).expect("a String takes everything");
            for (role, mount) in &output.mounts {
                line(&mut text, &role.to_string(), &mount.password);
            }
        }
        text
    }

    /// Writes both files into `folder`, the secrets readable by nobody else, and gives the settings file's path.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("mainstay.toml");
        std::fs::create_dir_all(folder.join("state"))?;
        std::fs::write(&path, self.toml(folder)).with_context(|| format!("writing {}", path.display()))?;
        let secrets = folder.join("secrets.toml");
        std::fs::File::options()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&secrets)
            .and_then(|mut file| std::io::Write::write_all(&mut file, self.secrets().as_bytes()))
            .with_context(|| format!("writing {}", secrets.display()))?;
        Ok(path)
    }
}

fn line(text: &mut String, key: &str, value: &str) {
    writeln!(text, "{key} = {}", quoted(value)).expect("a String takes everything");
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
