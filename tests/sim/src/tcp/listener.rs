//! Model listeners: a decoder, a buffer that plays at the nominal rate, and a way that may be narrow.
//!
//! Their way is fluid: what matters between box and server is TCP's temper; here it is only how fast bytes may come.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use units::Instant;

use super::content::{Count, Decoder};

/// Who listens, and how.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// The mount's path.
    pub mount: String,
    /// Seconds since the start at which he connects.
    pub at: f64,
    /// Bytes per second that his way carries; no limit if left out.
    #[serde(default)]
    pub rate: Option<u32>,
    /// Seconds of sound that his player gathers before it plays, and again after a stall.
    #[serde(default = "second")]
    pub gathers: f64,
}

const fn second() -> f64 {
    1.0
}

impl Listener {
    /// Connects to `mount` at `at` seconds, with no limit and a player that gathers a second.
    #[must_use]
    pub fn of(mount: &str, at: f64) -> Self {
        Self { mount: mount.to_string(), at, rate: None, gathers: second() }
    }
}

/// What he heard.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Heard {
    /// What came of the packets.
    pub packets: Count,
    /// Times the server took his connection.
    pub connections: u64,
    /// Times he lost it.
    pub drops: u64,
    /// Times his player ran dry.
    pub stalls: u64,
    /// How long it was dry.
    pub stalled: Duration,
    /// The longest time without a byte on one connection.
    pub longest_pause: Duration,
    /// When the newest byte came.
    pub last_byte: Instant,
    /// Sound that the player holds now.
    pub buffered: Duration,
    /// Body bytes.
    pub bytes: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Player {
    pub wants: Listener,
    pub connected: bool,
    heard: Heard,
    decoder: Decoder,
    packet: Duration,
    /// In the sockets between server and player.
    under_way: VecDeque<u8>,
    /// Up to when his way was counted, in whole bytes.
    carried: Instant,
    play: Play,
    /// Up to when the player was counted.
    counted: Instant,
}

#[derive(Clone, Copy, Debug)]
enum Play {
    /// Nothing was heard yet.
    Silent,
    Playing,
    Dry,
}

impl Player {
    pub(crate) fn new(wants: Listener, packet: Duration) -> Self {
        Self {
            wants,
            connected: false,
            heard: Heard::default(),
            decoder: Decoder::default(),
            packet,
            under_way: VecDeque::new(),
            carried: Instant::ZERO,
            play: Play::Silent,
            counted: Instant::ZERO,
        }
    }

    /// The server takes his request.
    pub(crate) fn connect(&mut self, now: Instant) {
        self.connected = true;
        self.heard.connections += 1;
        self.heard.last_byte = now;
        self.carried = now;
        self.decoder.rejoin();
    }

    /// The server ends the connection; what is under way still comes.
    pub(crate) fn drop_off(&mut self, now: Instant) {
        self.carry(now);
        let rest: Vec<u8> = self.under_way.drain(..).collect();
        self.hear(now, &rest);
        self.heard.longest_pause = self.heard.longest_pause.max(now.since(self.heard.last_byte));
        self.connected = false;
        self.heard.drops += 1;
    }

    /// Takes as much as his sockets hold.
    pub(crate) fn offer(&mut self, now: Instant, bytes: &[u8]) -> usize {
        if self.wants.rate.is_none() {
            self.hear(now, bytes);
            return bytes.len();
        }
        self.carry(now);
        if self.under_way.is_empty() {
            self.carried = now;
        }
        let taken = bytes.len().min(SOCKETS - self.under_way.len());
        self.under_way.extend(&bytes[..taken]);
        taken
    }

    /// What his way carried since it was last looked at.
    fn carry(&mut self, now: Instant) {
        let Some(rate) = self.wants.rate else { return };
        // In pieces, so that each has its own time.
        while !self.under_way.is_empty() {
            let piece = self.under_way.len().min(PIECE);
            let takes = Duration::from_micros(piece as u64 * 1_000_000 / u64::from(rate));
            if self.carried + takes > now {
                return;
            }
            self.carried += takes;
            let bytes: Vec<u8> = self.under_way.drain(..piece).collect();
            self.hear(self.carried, &bytes);
        }
    }

    fn hear(&mut self, now: Instant, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.heard.bytes += bytes.len() as u64;
        self.heard.longest_pause = self.heard.longest_pause.max(now.since(self.heard.last_byte));
        self.heard.last_byte = now;
        self.play_on(now);
        let packets = self.decoder.feed(bytes) as u32;
        self.heard.buffered += self.packet * packets;
        match self.play {
            Play::Silent | Play::Dry if self.heard.buffered.as_secs_f64() >= self.wants.gathers => {
                self.play = Play::Playing;
            }
            Play::Silent | Play::Dry | Play::Playing => {}
        }
    }

    /// Time passes for the player.
    fn play_on(&mut self, now: Instant) {
        let passed = now.since(self.counted);
        self.counted = now.max(self.counted);
        match self.play {
            Play::Silent => {}
            Play::Dry => self.heard.stalled += passed,
            Play::Playing if passed > self.heard.buffered => {
                self.heard.stalls += 1;
                self.heard.stalled += passed - self.heard.buffered;
                self.heard.buffered = Duration::ZERO;
                self.play = Play::Dry;
            }
            Play::Playing => self.heard.buffered -= passed,
        }
    }

    /// What he heard up to now.
    pub(crate) fn heard(&self, now: Instant) -> Heard {
        let mut then = self.clone();
        then.carry(now);
        then.play_on(now);
        if then.connected {
            then.heard.longest_pause = then.heard.longest_pause.max(now.since(then.heard.last_byte));
        }
        Heard { packets: then.decoder.count, ..then.heard }
    }
}

/// A kernel's send and receive buffers for one slow listener, about.
const SOCKETS: usize = 128 * 1024;
/// An Ethernet's worth of sound.
const PIECE: usize = 1448;

#[cfg(test)]
mod tests {
    use units::{BitRate, Channels, Codec, Rendition, SampleRate};

    use super::super::content::Encoder;
    use super::*;

    fn sound() -> (Vec<u8>, Duration, u64) {
        let rendition = Rendition {
            codec: Codec::Mp3,
            rate: SampleRate::Hz48000,
            channels: Channels::Stereo,
            bitrate: BitRate::from_kbit(128).unwrap(),
        };
        let mut encoder = Encoder::new(rendition, 0);
        let bytes = (0..500).flat_map(|_| encoder.packet().0).collect();
        (bytes, Encoder::packet_time(&rendition), rendition.bitrate.bytes_per_second())
    }

    #[test]
    fn a_player_runs_dry_and_gathers_again() {
        let (bytes, packet, rate) = sound();
        let mut player = Player::new(Listener::of("/live", 0.0), packet);
        player.connect(Instant::ZERO);
        player.offer(Instant::ZERO, &bytes[..rate as usize * 2]);
        let before = player.heard(Instant::from_millis(1500));
        assert_eq!(before.stalls, 0);
        player.offer(Instant::from_millis(5000), &bytes[rate as usize * 2..rate as usize * 4]);
        let after = player.heard(Instant::from_millis(5000));
        assert_eq!((after.stalls, after.packets.torn, after.packets.lost), (1, 0, 0));
        assert!(after.stalled > Duration::from_millis(2900) && after.stalled < Duration::from_millis(3100));
        assert_eq!(after.longest_pause, Duration::from_secs(5));
    }

    #[test]
    fn a_narrow_way_fills_and_empties_at_its_rate() {
        let (bytes, packet, _) = sound();
        let wants = Listener { rate: Some(20_000), ..Listener::of("/live", 0.0) };
        let mut player = Player::new(wants, packet);
        player.connect(Instant::ZERO);
        assert_eq!(player.offer(Instant::ZERO, &bytes), SOCKETS);
        assert_eq!(player.offer(Instant::from_millis(10), &bytes[SOCKETS..]), 0);
        let heard = player.heard(Instant::from_millis(2000)).bytes;
        assert!((38_000..=40_000).contains(&heard), "{heard}");
        assert!(player.offer(Instant::from_millis(2000), &bytes[SOCKETS..]) >= 38_000);
    }
}
