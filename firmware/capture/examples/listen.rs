//! Captures from one ALSA device for some seconds and says, as JSON lines, what came of it: one line at each change of
//! state, one at the end. It looks for a tone in the left channel, so that a missing or doubled frame shows.
//! The VM floor (`tests/vm`) judges these lines; by hand: `listen --device hw:CARD=Device --seconds 10 --tone 997`.

use std::error::Error;
use std::f64::consts::TAU;
use std::time::Duration;

use mainstay_capture::{
    self as capture, Capture, Clock, Config, Device, Input, Next, PeriodKind, Pick, SampleFormat,
};
use units::snapshot::InputState;
use units::{Instant, SampleRate};

const RATE: SampleRate = SampleRate::Hz48000;
/// An MP3 packet: what the box itself asks for.
const PERIOD: u32 = 1152;
/// Longer than a period, and often enough to see a change of state that brings no period.
const PATIENCE: Duration = Duration::from_millis(100);

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { device, seconds, tone_hz } = Arguments::parse()?;
    let input = Input::Alsa { device, format: SampleFormat::Auto };
    let mut capture = capture::start(Config {
        input,
        rate: RATE,
        pick: Pick::Stereo,
        period: PERIOD,
        clock: Clock::Report,
    })?;
    for warning in capture.warnings() {
        eprintln!("listen: {warning}");
    }
    let heard = listen(&mut capture, seconds, tone_hz)?;
    heard.say(&capture);
    Ok(())
}

/// What was counted on the reader's side. Later periods' stamps are not asked: the frame counter is to be compared with a
/// clock that knows nothing of it, the reader's own.
struct Heard {
    began: Instant,
    ended: Instant,
    frames: u64,
    sound_periods: u64,
    sound_frames: u64,
    silence_periods: u64,
    silence_frames: u64,
    tone: Tone,
}

/// Reads until `seconds` of time have passed since the first period's first frame.
fn listen(capture: &mut Capture, seconds: u64, tone_hz: f64) -> Result<Heard, Box<dyn Error>> {
    let status = capture.status();
    let mut state = String::new();
    let mut heard: Option<Heard> = None;
    let started = capture::now();
    let limit = Duration::from_secs(seconds);
    loop {
        let next = capture.next(PATIENCE);
        let now = capture::now();
        match next {
            Next::Period(period) => {
                let frames = period.samples.len() as u64 / 2;
                let heard = heard.get_or_insert_with(|| Heard::new(period.stamp.min(now), frames, tone_hz));
                if period.first.0 != heard.frames {
                    return Err(format!("frame {} followed {}", period.first.0, heard.frames).into());
                }
                heard.frames += frames;
                heard.ended = now;
                match period.kind {
                    PeriodKind::Sound => {
                        heard.sound_periods += 1;
                        heard.sound_frames += frames;
                    }
                    PeriodKind::Silence => {
                        heard.silence_periods += 1;
                        heard.silence_frames += frames;
                    }
                }
                for frame in period.samples.chunks_exact(2) {
                    heard.tone.hear(frame[0].into());
                }
            }
            Next::Nothing => {}
            Next::Ended(why) => return Err(why.into()),
        }
        let report = status.report(now);
        let (name, why) = match &report.state {
            InputState::Starting => ("starting", ""),
            InputState::Capturing => ("capturing", ""),
            InputState::Lost { why, .. } => ("lost", why.as_str()),
        };
        if name != state {
            state = name.to_owned();
            let frames = heard.as_ref().map_or(0, |heard| heard.frames);
            println!(
                r#"{{"event":"state","uptime":{:.6},"state":"{name}","frames":{frames},"why":{why:?}}}"#,
                now.secs()
            );
        }
        // The state is looked at after the period, so the last line tells the end of the capture, not its middle.
        if let Some(done) = heard.take_if(|heard| heard.span() >= limit) {
            return Ok(done);
        }
        if now.since(started) > limit + LATE {
            return Err("too few frames came in the time".into());
        }
    }
}

/// How much later than asked a capture may be done before something is wrong with its clock.
const LATE: Duration = Duration::from_secs(20);

impl Heard {
    fn new(stamp: Instant, frames: u64, tone_hz: f64) -> Self {
        // The stamp is the last frame's, so the counter's zero lies the period's length before it.
        let length = frames * 1_000_000 / u64::from(RATE.hz());
        Self {
            began: Instant::from_micros(stamp.as_micros().saturating_sub(length)),
            ended: stamp,
            frames: 0,
            sound_periods: 0,
            sound_frames: 0,
            silence_periods: 0,
            silence_frames: 0,
            tone: Tone::new(tone_hz),
        }
    }

    fn span(&self) -> Duration {
        self.ended.since(self.began)
    }

    fn say(&self, capture: &Capture) {
        let now = capture::now();
        let report = capture.status().report(now);
        let stretches: Vec<String> = self
            .tone
            .stretches()
            .map(|Stretch { from, frames }| format!(r#"{{"from":{from},"frames":{frames}}}"#))
            .collect();
        println!(
            concat!(
                r#"{{"event":"end","uptime":{:.6},"seconds":{:.6},"rate":{},"period":{},"frames":{},"gaps":{},"gap_frames":{},"#,
                r#""xruns":{},"sound_periods":{},"sound_frames":{},"silence_periods":{},"silence_frames":{},"#,
                r#""real_time":{:?},"tone":[{}]}}"#
            ),
            now.secs(),
            self.span().as_secs_f64(),
            report.rate_hz,
            report.period,
            self.frames,
            report.gaps,
            report.gap_frames.0,
            report.xruns,
            self.sound_periods,
            self.sound_frames,
            self.silence_periods,
            self.silence_frames,
            report.real_time,
            stretches.join(",")
        );
    }
}

/// Finds a sine of a known pitch, sample by sample: of any three in a row, x[n] = 2 cos(w) x[n-1] - x[n-2], and their
/// amplitude follows from two. Sixteen-bit rounding is all that may be missing from that.
struct Tone {
    cosine: f64,
    before: [f64; 2],
    position: u64,
    current: Option<Stretch>,
    whole: Vec<Stretch>,
}

/// A piece of unbroken tone.
#[derive(Clone, Copy)]
struct Stretch {
    from: u64,
    frames: u64,
}

impl Tone {
    fn new(hz: f64) -> Self {
        let cosine = (TAU * hz / f64::from(RATE.hz())).cos();
        Self { cosine, before: [0.0; 2], position: 0, current: None, whole: Vec::new() }
    }

    fn hear(&mut self, sample: f64) {
        let [older, old] = self.before;
        let off = sample - 2.0 * self.cosine * old + older;
        let power = (sample * sample + old * old - 2.0 * self.cosine * sample * old)
            / (1.0 - self.cosine * self.cosine);
        if off.abs() < ROUNDING && power > FAINTEST * FAINTEST {
            // Two samples earlier the sine was there already.
            let stretch = self
                .current
                .get_or_insert_with(|| Stretch { from: self.position.saturating_sub(2), frames: 2 });
            stretch.frames += 1;
        } else {
            self.break_off();
        }
        self.before = [old, sample];
        self.position += 1;
    }

    fn break_off(&mut self) {
        self.whole.extend(self.current.take().filter(|stretch| stretch.frames >= SHORTEST));
    }

    fn stretches(&self) -> impl Iterator<Item = Stretch> {
        let last = self.current.filter(|stretch| stretch.frames >= SHORTEST);
        self.whole.iter().copied().chain(last)
    }
}

/// Four steps of 16 bits: three rounded samples, one of them doubled, are off by two at most.
const ROUNDING: f64 = 4.0 / 32_768.0;
/// Least amplitude that counts as the tone.
const FAINTEST: f64 = 0.05;
/// Ten milliseconds; shorter pieces are chance.
const SHORTEST: u64 = 480;

struct Arguments {
    device: Device,
    seconds: u64,
    tone_hz: f64,
}

impl Arguments {
    fn parse() -> Result<Self, Box<dyn Error>> {
        let (mut device, mut seconds, mut tone_hz) = (None, 10, 997.0);
        let mut words = std::env::args().skip(1);
        while let Some(option) = words.next() {
            let value = words.next().ok_or_else(|| format!("{option} wants a value"))?;
            match option.as_str() {
                "--device" => device = Some(Device::Pcm(value)),
                "--usb" => device = Some(Device::UsbPath(value)),
                "--seconds" => seconds = value.parse()?,
                "--tone" => tone_hz = value.parse()?,
                other => {
                    return Err(
                        format!("{other}: unknown; there are --device, --usb, --seconds and --tone").into()
                    );
                }
            }
        }
        let device = device.ok_or("name a card: --device hw:CARD=NAME, or --usb PATH such as 1-1.2")?;
        Ok(Self { device, seconds, tone_hz })
    }
}

/// Seconds since boot, for people and for `/proc/uptime`.
trait Seconds {
    fn secs(self) -> f64;
}

impl Seconds for Instant {
    fn secs(self) -> f64 {
        self.as_micros() as f64 / 1e6
    }
}
