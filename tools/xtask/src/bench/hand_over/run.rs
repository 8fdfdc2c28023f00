//! One run of one cell: fail-over, return and second fault, one after the other, before listeners who save everything.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::daemon::{self, Daemon};
use e2e::ears::{Ear, Ears, Heard, Manner};
use e2e::icecast::{ADMIN_PASSWORD, Headend, Icecast, SOURCE_PASSWORD};
use e2e::settings::{Input, Mount, Output, Settings};
use e2e::{Build, wait};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use units::SampleRate;
use units::snapshot::{MountState, Role};

use super::cell::{Cell, Strike, Transport};
use super::judge::{Phase, Verdict, judge};
use super::lane::{INGEST, Lane, Uplink};
use super::truth::{Packets, Truth};
use crate::interrupt::Interrupt;

/// What all runs share.
pub(super) struct Stage<'a> {
    pub(super) truth: Truth,
    pub(super) ears: Ears,
    /// The programme as the box's file input, at 48 kHz and at 44.1 kHz.
    pub(super) programmes: [PathBuf; 2],
    pub(super) certificate: Certificate,
    /// Where the logs of runs with flaws go.
    pub(super) kept: PathBuf,
    /// Whether what was heard in them goes there as well.
    pub(super) keep_streams: bool,
    pub(super) interrupt: &'a Interrupt,
}

/// How the box is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hand {
    /// Two unbound mounts, each at the address that leads over its uplink, and nothing known of the server: plain reconnect.
    PlainReconnect,
    /// Two uplinks and a proven server.
    Proven {
        /// Whether the source credentials are taken to be allowed to evict.
        evict: bool,
    },
}

impl Hand {
    pub(super) const EVICTS: Self = Self::Proven { evict: true };
    pub(super) const WAITS: Self = Self::Proven { evict: false };

    /// The server's address for the mount that belongs on this uplink.
    pub(super) const fn ingest(self, uplink: Uplink) -> Ipv4Addr {
        match self {
            Self::Proven { .. } => INGEST,
            Self::PlainReconnect => uplink.server(),
        }
    }
}

/// A server's certificate and key in one file, and its pin.
pub(super) struct Certificate {
    pub(super) file: PathBuf,
    pin: String,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) cell: String,
    pub(super) run: u32,
    /// What was done.
    pub(super) strike: String,
    /// Whether the listeners were back on the primary in time.
    pub(super) returned: bool,
    /// Gaps of the box's own input: a machine that is too slow judges nobody.
    pub(super) gaps: u64,
    /// The box did not answer any more at the end: why.
    pub(super) gone: Option<String>,
    /// Seconds from the start of the lane to: everybody listens, event, healing, second event, end.
    pub(super) seconds: Vec<f64>,
    pub(super) verdicts: Vec<Verdict>,
}

impl Outcome {
    /// Whether nothing at all was odd.
    fn is_perfect(&self) -> bool {
        let whole = |verdict: &Verdict| {
            verdict.complaints == 0
                && verdict.ended.is_none()
                && verdict.parts.iter().all(|part| part.lost + part.repeated + part.torn == 0)
                && verdict.parts.iter().all(|part| part.pause_ms < LONG_PAUSE_MS)
        };
        self.returned && self.gaps == 0 && self.gone.is_none() && self.verdicts.iter().all(whole)
    }
}

/// How long both mounts may take.
const START: Duration = Duration::from_secs(30);
/// A pause that is worth a log: no hand-over needs so long where the server may be asked to end a source.
const LONG_PAUSE_MS: u64 = 2_500;
/// How long a server keeps a silent source unless its provider says otherwise, in seconds.
pub(super) const SOURCE_TIMEOUT: u32 = 10;
/// Bytes of the newest sound that a new listener gets at once.
const BURST: u32 = 65_535;
/// How long nothing happens after all listeners have joined.
const CALM: Duration = Duration::from_secs(6);
/// How soon after an event steady sound is believed: the detection and its pause are over.
const SOONEST: Duration = Duration::from_secs(5);
/// How long a fail-over may take: source timeout, and catching up at twice real time.
const LATEST: Duration = Duration::from_secs(26);
/// How long a return may take, checks and settle time included.
const RETURN: Duration = Duration::from_secs(30);
/// Between the return and the second event: the fallback is being held again.
const REST: Duration = Duration::from_secs(3);
/// What is asked of the box as settle time.
const SETTLE: &str = "5 s";
/// The uplink is back for so long when the second fault hits the spare: less than the settle time.
const MEANWHILE: Duration = Duration::from_secs(2);
/// What steady sound means: no longer pause, for so long, and no catching up.
const STEADY_PAUSE: Duration = Duration::from_millis(800);
const STEADY: Duration = Duration::from_millis(2_500);
const STEADY_PACE: f64 = 1.3;

/// The listeners: name, and what they ask for; the slow one gets 1.25 times the primary's bitrate.
const LISTENERS: [(&str, bool, bool); 3] =
    [("plain", false, false), ("titles", true, false), ("slow", false, true)];
pub(super) const SLOW: &str = "slow";

/// Runs one cell in a lane of its own.
///
/// # Errors
/// The rig failed, not the box: no server, no start, interrupted.
pub(super) fn run(stage: &Stage<'_>, cell: Cell, number: u32) -> Result<Outcome> {
    let mut scene = Scene::set(stage, cell)?;
    scene.play(cell, number).with_context(|| {
        format!("{} run {number}\n{}\n{}", cell.name(), scene.server.log(), scene.box_.log())
    })
}

/// Server, box and listeners in their lane. Fields end in this order.
struct Scene<'a> {
    stage: &'a Stage<'a>,
    ears: Vec<Ear>,
    box_: Daemon,
    server: Icecast,
    lane: Lane,
    known: Vec<Arc<Packets>>,
    /// Bytes of the richer rendition in a second.
    per_second: u64,
    begun: Instant,
}

impl<'a> Scene<'a> {
    fn set(stage: &'a Stage<'a>, cell: Cell) -> Result<Self> {
        let begun = wait::now();
        let lane = Lane::lay()?;
        let headend = Headend {
            version: cell.server.version(),
            bind: Ipv4Addr::UNSPECIFIED,
            burst: BURST,
            source_timeout: SOURCE_TIMEOUT,
            tls: Some(stage.certificate.file.clone()),
            ..Headend::default()
        };
        let server = lane.world.inside(|| headend.start())??;
        if cell.hand == Hand::EVICTS {
            // Who may not end a source is told so before the server looks whether it is there.
            let user = ("source", SOURCE_PASSWORD);
            let status = lane.world.inside(|| end_source(server.port(), "/nobody", user))??;
            ensure!(!status.contains(" 401 "), "source credentials may not evict: {status}");
        }
        let output = output(stage, cell, &server);
        let mut known = Vec::new();
        for (_, mount) in &output.mounts {
            known.push(stage.truth.packets(mount.rendition())?);
        }
        known.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let [at_48, at_44] = &stage.programmes;
        let programme = match cell.pair.rate() {
            SampleRate::Hz48000 => at_48,
            SampleRate::Hz44100 => at_44,
        };
        let settings = Settings { meters: false, ..Settings::new(Input::File(programme.clone()), output) };
        let box_ = lane.home.inside(|| start(cell.hand, SOURCE_TIMEOUT, &settings))??;
        let per_second = u64::from(cell.pair.kbit().0) * 125;
        Ok(Self { stage, ears: Vec::new(), box_, server, lane, known, per_second, begun })
    }

    fn play(&mut self, cell: Cell, number: u32) -> Result<Outcome> {
        self.wait_until_on_air()?;
        // A new listener is to get the whole burst, as he does on any mount that did not begin just now.
        self.pause(Duration::from_secs_f64(f64::from(BURST) / self.per_second as f64))?;
        self.listen()?;
        let listening = wait::now();
        self.pause(CALM)?;

        let struck = self.strike(cell, number, Uplink::Preferred)?;
        self.wait_until_steady()?;
        let healed = wait::now();
        self.lane.heal()?;
        let returned = self.wait_until_returned()?;
        self.pause(REST)?;
        let again = self.strike(cell, number, Uplink::Preferred)?;
        self.wait_until_steady()?;
        self.lane.heal()?;
        match cell.event.strike(number) {
            Strike::Uplink(_) => {
                self.pause(MEANWHILE)?;
                self.strike(cell, number, Uplink::Spare)?;
                self.wait_until_steady()?;
            }
            Strike::Source | Strike::Nobody => {
                self.wait_until_returned()?;
            }
        }
        let end = wait::now();

        let marks = [
            (Phase::Calm, struck - CALM),
            (Phase::FailOver, struck),
            (Phase::Return, healed),
            (Phase::SecondFault, again),
        ];
        let (gaps, gone) = match self.box_.status() {
            Ok(status) => (status.input.gaps, None),
            Err(error) => (0, Some(format!("{error:#}"))),
        };
        let heard: Vec<(&str, Heard)> = LISTENERS
            .iter()
            .map(|&(listener, ..)| listener)
            .zip(self.ears.drain(..).map(Ear::finish))
            .collect();
        let verdicts = heard
            .iter()
            .map(|(listener, heard)| judge(listener, heard, &self.known, cell, &marks, end))
            .collect::<Result<_>>()?;
        let seconds =
            [listening, struck, healed, again, end].map(|at| (at - self.begun).as_secs_f64()).into();
        let strike = format!("{:?}", cell.event.strike(number));
        let outcome =
            Outcome { cell: cell.name(), run: number, strike, returned, gaps, gone, seconds, verdicts };
        if !outcome.is_perfect() {
            self.keep(&outcome, &heard).context("keeping what is known of a run with flaws")?;
        }
        Ok(outcome)
    }

    /// Writes down what helps to find out why: the box's log and the server's, and the streams if they are wanted.
    fn keep(&self, outcome: &Outcome, heard: &[(&str, Heard)]) -> Result<()> {
        let name = format!("{} {}", outcome.cell, outcome.run).replace(' ', "-");
        std::fs::create_dir_all(&self.stage.kept)?;
        // The logs tell the time of day; the run counts from its start.
        let now = clock_gettime(ClockId::CLOCK_REALTIME)?.tv_sec().rem_euclid(86_400) as f64;
        let begun = now - self.begun.elapsed().as_secs_f64();
        let time = |after: &f64| {
            let at = begun + after;
            format!("{:02}:{:02}:{:05.2}Z", at as u64 / 3_600 % 24, at as u64 / 60 % 60, at % 60.0)
        };
        let marks: Vec<String> = outcome.seconds.iter().map(time).collect();
        let text = format!(
            "{}\nlistening, event, healing, second event, end: {}\n{}\n{}\n{}\n",
            outcome.strike,
            marks.join(", "),
            serde_json::to_string_pretty(outcome)?,
            self.box_.log(),
            self.server.log()
        );
        std::fs::write(self.stage.kept.join(format!("{name}.log")), text)?;
        if self.stage.keep_streams {
            for (listener, heard) in heard {
                std::fs::write(self.stage.kept.join(format!("{name}-{listener}.stream")), &heard.bytes)?;
            }
        }
        Ok(())
    }

    /// The primary is verified, and the server shows both mounts.
    fn wait_until_on_air(&self) -> Result<()> {
        self.box_.wait_for("the primary is verified", START, |status| {
            daemon::mount(status, "main", Role::Primary)
                .is_ok_and(|mount| mount.state == MountState::Verified)
        })?;
        self.lane.world.inside(|| self.server.wait_for_source("/live", START))??;
        self.lane.world.inside(|| self.server.wait_for_source("/live_fallback", START))??;
        Ok(())
    }

    fn listen(&mut self) -> Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.server.port()));
        for (_, titles, slow) in LISTENERS {
            let limit = slow.then_some(self.per_second * 5 / 4);
            let join = || self.stage.ears.join(address, "/live", Manner { titles, limit });
            self.ears.push(self.lane.world.inside(join)??);
        }
        Ok(())
    }

    /// Makes the event happen, and says when.
    fn strike(&self, cell: Cell, number: u32, uplink: Uplink) -> Result<Instant> {
        let at = wait::now();
        match cell.event.strike(number) {
            Strike::Uplink(fault) => self.lane.strike(fault, uplink)?,
            Strike::Source => {
                let user = ("admin", ADMIN_PASSWORD);
                let status = self.lane.world.inside(|| end_source(self.server.port(), "/live", user))??;
                ensure!(status.contains(" 200 "), "ending the primary: {status}");
            }
            Strike::Nobody => {}
        }
        Ok(at)
    }

    /// Waits until the listeners hear steady sound at the pace of the programme again; bounded, since the verdict is not
    /// this function's.
    fn wait_until_steady(&self) -> Result<()> {
        let start = wait::now();
        self.pause(SOONEST)?;
        while start.elapsed() < LATEST && !self.is_steady() {
            self.pause(Duration::from_millis(200))?;
        }
        Ok(())
    }

    fn is_steady(&self) -> bool {
        let from = wait::now() - STEADY;
        let most = self.per_second as f64 * STEADY.as_secs_f64() * STEADY_PACE;
        self.ears.iter().all(|ear| {
            let even = ear.longest_pause_since(from) < STEADY_PAUSE;
            ear.has_ended() || (even && (ear.bytes_since(from) as f64) < most)
        })
    }

    /// Whether the listeners came back to the primary.
    fn wait_until_returned(&self) -> Result<bool> {
        let start = wait::now();
        let mut returned = false;
        self.pause(SOONEST)?;
        while start.elapsed() < RETURN && !(returned && self.is_steady()) {
            let here = self.ears.iter().filter(|ear| !ear.has_ended()).count() as u64;
            let source = self.lane.world.inside(|| self.server.source("/live"))??;
            // The box's own probe may be among them.
            returned = source.is_some_and(|source| listeners(&source) >= here);
            self.pause(Duration::from_millis(500))?;
        }
        Ok(returned)
    }

    fn pause(&self, span: Duration) -> Result<()> {
        pause(self.stage.interrupt, span)
    }
}

/// Lets time pass, unless somebody pressed Ctrl-C.
pub(super) fn pause(interrupt: &Interrupt, span: Duration) -> Result<()> {
    let start = wait::now();
    while let Some(left) = span.checked_sub(start.elapsed()) {
        if interrupt.came() {
            bail!("interrupted");
        }
        wait::pause(left.min(Duration::from_millis(100)));
    }
    Ok(())
}

/// The listeners that a server's status shows on a mount: a number in 2.4, in 2.5 a number or a text.
fn listeners(source: &serde_json::Value) -> u64 {
    let count = &source["listeners"];
    count.as_u64().or_else(|| count.as_str().and_then(|text| text.parse().ok())).unwrap_or(0)
}

/// Asks the server to end a source, and gives the status line of its answer.
fn end_source(port: u16, mount: &str, (user, password): (&str, &str)) -> Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connecting to the server")?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let user = STANDARD.encode(format!("{user}:{password}"));
    write!(stream, "GET /admin/killsource?mount={mount} HTTP/1.0\r\nAuthorization: Basic {user}\r\n\r\n")?;
    let mut answer = [0; 256];
    let count = stream.read(&mut answer).context("waiting for the server's answer")?;
    Ok(String::from_utf8_lossy(&answer[..count]).lines().next().unwrap_or_default().to_owned())
}

/// The pair of mounts.
fn output(stage: &Stage<'_>, cell: Cell, server: &Icecast) -> Output {
    let (high, low) = cell.pair.kbit();
    let mount = |path: &str, kbit, uplink: Uplink| {
        let address = cell.hand.ingest(uplink).to_string();
        let mount = match cell.transport {
            Transport::Plain => {
                Mount::icecast(server.url(path).replace("127.0.0.1", &address), cell.pair.codec(), kbit)
            }
            Transport::Tls => {
                Mount::icecast(server.tls_url(path).replace("localhost", &address), cell.pair.codec(), kbit)
                    .with(&format!("tls = {{ pin = \"sha256:{}\" }}", stage.certificate.pin))
            }
        };
        mount.rate(cell.pair.rate())
    };
    Output::pair("main", mount("/live", high, Uplink::Preferred), mount("/live_fallback", low, Uplink::Spare))
}

/// Starts the box with its uplinks and what a survey would have found, such as how many seconds the server keeps a silent
/// source.
pub(super) fn start(hand: Hand, source_timeout: u32, settings: &Settings) -> Result<Daemon> {
    let folder = tempfile::Builder::new().prefix("mainstay-box-").tempdir()?;
    let path = settings.write(folder.path())?;
    if let Hand::Proven { evict } = hand {
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, proven(&text, evict, source_timeout)?)?;
    }
    Daemon::start_in(Build::Release, settings, folder)
}

/// The settings file with two uplinks, and the server's profile in the output `main`.
fn proven(text: &str, evict: bool, source_timeout: u32) -> Result<String> {
    let name = "name = \"main\"\n";
    let (before, after) = text.split_once(name).context("the settings have no output main")?;
    let mut made = format!(
        "{before}{name}standby = \"auto\"\nreturn = \"auto\"\nsettle = \"{SETTLE}\"\nlone_uplink = \"primary-only\"\n\n\
         [output.proven]\nfallback = true\noverride = true\nevict = {evict}\nburst = {BURST}\nqueue = 524288\n\
         source_timeout = \"{source_timeout} s\"\n{after}"
    );
    for uplink in Uplink::BOTH {
        let interface = uplink.interface();
        write!(made, "\n[[uplink]]\nname = \"{interface}\"\ninterface = \"{interface}\"\nmetered = false\n")?;
    }
    Ok(made)
}

impl Certificate {
    /// Makes one for the server's address, valid for two days.
    ///
    /// # Errors
    /// openssl is not there, or refuses.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let (key, file) = (folder.join("server.key"), folder.join("server.pem"));
        let said = openssl(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
                .args(["-days", "2", "-subj", "/CN=ingest", "-addext"])
                .arg(format!(
                    "subjectAltName=IP:{INGEST},IP:{},IP:{}",
                    Uplink::Preferred.server(),
                    Uplink::Spare.server()
                ))
                .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
                .arg(&key),
        )?;
        std::fs::write(&file, said + &std::fs::read_to_string(&key)?)?;
        let said = openssl(
            Command::new("openssl").args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(&file),
        )?;
        let pin = said.trim().rsplit('=').next().unwrap_or_default().replace(':', "").to_lowercase();
        ensure!(pin.len() == 64, "openssl said {said:?}");
        Ok(Self { file, pin })
    }
}

fn openssl(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context("running openssl")?;
    ensure!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
