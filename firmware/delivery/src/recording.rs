//! The last ten minutes of inputs, so that what happened can be stepped through again: `cargo xtask replay`.
//!
//! A recording is a checkpoint of the core and the inputs since. Sound is not in it (inputs carry positions), nor are
//! secrets: they serialise as `***`, and a number beside new settings tells whether a mount's password is another than
//! before (then its connection is opened anew).

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};
use units::{Instant, Secret};

use crate::Delivery;
use crate::config::{Config, MountConfig, MountId};
use crate::event::{Input, Output, Transition};

/// Records inputs as they are handled.
///
/// Bounded twice: whole segments of five minutes are dropped once ten minutes lie in newer ones, and a segment is cut early
/// at [`Recorder::SEGMENT_BYTES`], so that a box with many mounts keeps fewer minutes instead of more memory.
#[derive(Debug)]
pub struct Recorder {
    segments: VecDeque<Segment>,
}

#[derive(Debug)]
struct Segment {
    began: Instant,
    last: Instant,
    checkpoint: Vec<u8>,
    /// Each entry: microseconds since the last one, and the input, in postcard; behind new settings the number of each
    /// mount's password.
    inputs: Vec<u8>,
    passwords: Passwords,
    digest: Digest,
}

/// Every password that a mount had within a segment, the checkpoint's first. They stay in here; their places go out.
#[derive(Debug, Default)]
struct Passwords(Vec<(MountId, Vec<Secret>)>);

impl Passwords {
    /// The place of a mount's password among those it had.
    fn number(&mut self, mount: &MountConfig) -> u32 {
        let at = self.0.iter().position(|(id, _)| *id == mount.id).unwrap_or_else(|| {
            self.0.push((mount.id.clone(), Vec::new()));
            self.0.len() - 1
        });
        let had = &mut self.0[at].1;
        let place = had.iter().position(|password| *password == mount.password).unwrap_or_else(|| {
            had.push(mount.password.clone());
            had.len() - 1
        });
        u32::try_from(place).unwrap_or(u32::MAX)
    }
}

/// What leaves the box: one JSON document.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Recording {
    /// Raised when older recordings cannot be read any more.
    pub version: u32,
    /// The segments, oldest first; each replays alone.
    pub segments: Vec<RecordedSegment>,
}

/// A checkpoint and the inputs after it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordedSegment {
    /// When the checkpoint was taken.
    pub began: Instant,
    /// The core's state, postcard in base64.
    pub checkpoint: String,
    /// The inputs, postcard in base64.
    pub inputs: String,
    /// Digest of every output.
    pub digest: u64,
}

/// One step of a replay.
#[derive(Clone, PartialEq, Debug)]
pub struct Replayed {
    /// When.
    pub at: Instant,
    /// What came in.
    pub input: Input,
    /// What people were told.
    pub transitions: Vec<Transition>,
}

/// Why a recording cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReplayError {
    /// The document is not a recording of this version.
    #[error(
        "this is no recording of version {VERSION}: {0}; take it with `mainstay events` from a box of this version"
    )]
    Unreadable(String),
    /// The core did not do the same again.
    #[error(
        "segment {segment} came out differently (digest {found:016x}, recorded {recorded:016x}); was it recorded by another build?"
    )]
    Diverged {
        /// Which segment, from zero.
        segment: usize,
        /// The digest now.
        found: u64,
        /// The digest then.
        recorded: u64,
    },
}

const VERSION: u32 = 1;
const SEGMENT: Duration = Duration::from_secs(300);
const KEPT_SEGMENTS: usize = 3;

impl Recorder {
    /// A segment ends at this size at the latest.
    pub const SEGMENT_BYTES: usize = 768 * 1024;

    /// An empty recorder.
    #[must_use]
    pub const fn new() -> Self {
        Self { segments: VecDeque::new() }
    }

    /// To be called before `core` handles `input`, with no output waiting in it.
    pub fn input(&mut self, now: Instant, core: &Delivery, input: &Input) {
        let full = self.segments.back().is_none_or(|segment| {
            now.since(segment.began) >= SEGMENT || segment.inputs.len() >= Self::SEGMENT_BYTES
        });
        if full {
            if self.segments.len() >= KEPT_SEGMENTS {
                self.segments.pop_front();
            }
            let checkpoint = postcard::to_allocvec(core).unwrap_or_default();
            let mut passwords = Passwords::default();
            for mount in core.configs() {
                passwords.number(mount);
            }
            self.segments.push_back(Segment {
                began: now,
                last: now,
                checkpoint,
                inputs: Vec::new(),
                passwords,
                digest: Digest::new(),
            });
        }
        let Some(segment) = self.segments.back_mut() else { return };
        let elapsed = now.as_micros().saturating_sub(segment.last.as_micros());
        segment.last = now;
        let inputs = core::mem::take(&mut segment.inputs);
        segment.inputs = postcard::to_extend(&(elapsed, input), inputs).unwrap_or_default();
        if let Input::Configure(config) = input {
            let numbers: Vec<u32> =
                config.mounts.iter().map(|mount| segment.passwords.number(mount)).collect();
            let inputs = core::mem::take(&mut segment.inputs);
            segment.inputs = postcard::to_extend(&numbers, inputs).unwrap_or_default();
        }
    }

    /// To be called with every output.
    pub fn output(&mut self, output: &Output) {
        if let Some(segment) = self.segments.back_mut() {
            segment.digest.output(output);
        }
    }

    /// Everything recorded, ready to leave the box.
    #[must_use]
    pub fn export(&self) -> Recording {
        use base64::Engine as _;
        let text = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let segments = self
            .segments
            .iter()
            .map(|segment| RecordedSegment {
                began: segment.began,
                checkpoint: text(&segment.checkpoint),
                inputs: text(&segment.inputs),
                digest: segment.digest.0,
            })
            .collect();
        Recording { version: VERSION, segments }
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Recording {
    /// Runs every segment again and hands each step to `see`.
    ///
    /// # Errors
    /// When the document cannot be read, or the outputs are not the recorded ones.
    pub fn replay(&self, mut see: impl FnMut(Replayed)) -> Result<(), ReplayError> {
        use base64::Engine as _;
        if self.version != VERSION {
            return Err(ReplayError::Unreadable(alloc::format!("it has version {}", self.version)));
        }
        let unreadable = |what: &str| ReplayError::Unreadable(what.into());
        let bytes = |text: &str| {
            base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| unreadable("broken base64"))
        };
        for (number, segment) in self.segments.iter().enumerate() {
            let checkpoint = bytes(&segment.checkpoint)?;
            let core: Option<Delivery> = postcard::from_bytes(&checkpoint).ok();
            let mut core = core.filter(Delivery::is_whole).ok_or_else(|| unreadable("broken checkpoint"))?;
            let inputs = bytes(&segment.inputs)?;
            let mut rest = inputs.as_slice();
            let mut now = segment.began;
            let mut digest = Digest::new();
            while !rest.is_empty() {
                let ((elapsed, mut input), after): ((u64, Input), _) =
                    postcard::take_from_bytes(rest).map_err(|_| unreadable("broken input"))?;
                rest = after;
                if let Input::Configure(config) = &mut input {
                    let (numbers, after): (Vec<u32>, _) =
                        postcard::take_from_bytes(rest).map_err(|_| unreadable("broken input"))?;
                    rest = after;
                    number_passwords(config, &numbers);
                }
                now += Duration::from_micros(elapsed);
                core.handle(now, &input);
                let mut transitions = Vec::new();
                while let Some(output) = core.poll() {
                    digest.output(&output);
                    if let Output::Log(transition) = output {
                        transitions.push(transition);
                    }
                }
                see(Replayed { at: now, input, transitions });
            }
            if digest.0 != segment.digest {
                return Err(ReplayError::Diverged {
                    segment: number,
                    found: digest.0,
                    recorded: segment.digest,
                });
            }
        }
        Ok(())
    }
}

/// Makes equal what was equal: the checkpoint's passwords all read `***`, which is number zero.
fn number_passwords(config: &mut Config, numbers: &[u32]) {
    for (mount, number) in config.mounts.iter_mut().zip(numbers) {
        if *number > 0 {
            mount.password = Secret::new(alloc::format!("*** {number}"));
        }
    }
}

/// FNV-1a (64 bits) over what each output asks for; request texts are left out, they hold secrets.
#[derive(Clone, Copy, Debug)]
struct Digest(u64);

impl Digest {
    const fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    fn word(&mut self, word: u64) {
        for byte in word.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }

    fn output(&mut self, output: &Output) {
        let (kind, link) = match output {
            Output::Resolve { link, .. } => (1, link.0),
            Output::Connect { link, .. } => (2, link.0),
            Output::Send { link, .. } => (3, link.0),
            Output::Write { link, rendition, from, to } => {
                self.word(from.0);
                self.word(to.0 << 16 | u64::from(rendition.0));
                (4, link.0)
            }
            Output::Measure { link } => (5, link.0),
            Output::Close { link } => (6, link.0),
            Output::Ask { link, .. } => (7, link.0),
            Output::Fill { link, bytes } => {
                self.word(u64::from(*bytes));
                (9, link.0)
            }
            Output::Head { link, rendition, at, after } => {
                self.word(at.0 << 16 | u64::from(rendition.0));
                self.word(after.map_or(u64::MAX, |after| after.0));
                (16, link.0)
            }
            Output::Request { link, .. } => (10, link.0),
            Output::Uplink(output) => match output {
                crate::uplink::Output::Check { check, uplink, .. } => {
                    self.word(u64::from(uplink.0));
                    (13, check.0)
                }
                crate::uplink::Output::Drop { check } => (14, check.0),
                crate::uplink::Output::Log(transition) => {
                    for byte in transition.why.bytes() {
                        self.word(u64::from(byte));
                    }
                    (15, u32::from(transition.uplink.0))
                }
            },
            Output::Listen { link, .. } => (11, link.0),
            Output::Tell(telling) => {
                for byte in telling.what.bytes() {
                    self.word(u64::from(byte));
                }
                (12, u32::from(telling.alarm))
            }
            Output::Log(transition) => {
                for byte in transition.why.bytes() {
                    self.word(u64::from(byte));
                }
                (8, transition.to as u32)
            }
        };
        self.word(u64::from(link) << 8 | kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use units::BytePos;

    #[test]
    fn ten_minutes_replay_to_the_same_outputs_and_hold_no_secret() {
        let mut recorder = Recorder::new();
        let mut core = Delivery::new();
        let mut now = Instant::ZERO;
        let mut feed = |core: &mut Delivery, now: Instant, input: Input| {
            recorder.input(now, core, &input);
            core.handle(now, &input);
            let mut outputs = Vec::new();
            while let Some(output) = core.poll() {
                recorder.output(&output);
                outputs.push(output);
            }
            outputs
        };
        feed(&mut core, now, Input::Configure(testing::config(&["main"]).into()));
        for second in 1..=700u64 {
            now += Duration::from_secs(1);
            let rendition = crate::RenditionId(0);
            let frames = units::Frames(second * 48_000);
            feed(
                &mut core,
                now,
                Input::Produced {
                    rendition,
                    end: BytePos(second * 40_000),
                    frames,
                    entry: true,
                    more: false,
                },
            );
            feed(&mut core, now, Input::Tick);
        }
        let recording = recorder.export();
        assert_eq!(recording.segments.len(), 3);
        let mut steps = 0;
        recording.replay(|_| steps += 1).unwrap();
        assert!(steps > 1200);
        let document = serde_json::to_string(&recording).unwrap();
        let clear = alloc::format!("{:?}", core.report());
        assert!(!document.contains("hackme") && !clear.contains("hackme"));
        let mut tampered = recording;
        tampered.segments[0].digest ^= 1;
        assert!(matches!(tampered.replay(|_| ()), Err(ReplayError::Diverged { segment: 0, .. })));
    }

    #[test]
    fn a_new_password_alone_replays() {
        let mut recorder = Recorder::new();
        let mut core = Delivery::new();
        let old = testing::config(&["main"]);
        let mut new = old.clone();
        new.mounts[0].password = Secret::new("hunter2".into());
        let mut closed = 0;
        for (second, config) in [&old, &new, &new, &old].into_iter().enumerate() {
            let (now, input) =
                (Instant::from_millis(second as u64 * 1000), Input::Configure(config.clone().into()));
            recorder.input(now, &core, &input);
            core.handle(now, &input);
            while let Some(output) = core.poll() {
                closed += usize::from(matches!(output, Output::Close { .. }));
                recorder.output(&output);
            }
        }
        assert_eq!(closed, 2, "there and back");
        let recording = recorder.export();
        recording.replay(|_| ()).unwrap();
        let inputs =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &recording.segments[0].inputs);
        assert!(!inputs.unwrap().windows(7).any(|bytes| bytes == b"hunter2"));
    }

    #[test]
    fn a_checkpoint_whose_parts_do_not_fit_is_refused() {
        let mut core = Delivery::new();
        core.handle(Instant::ZERO, &Input::Configure(testing::config(&["main"]).into()));
        while core.poll().is_some() {}
        let mut recorder = Recorder::new();
        recorder.input(Instant::ZERO, &core.without_renditions(), &Input::Tick);
        assert!(matches!(recorder.export().replay(|_| ()), Err(ReplayError::Unreadable(_))));
    }
}
