//! A network stream as an input, from a server of the test's own making: bytes that come in a burst, then in time, then not.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mainstay_capture::{Capture, Clock, Config, Dial, Feed, Input, Next, PeriodKind, Pick, now, start};
use units::SampleRate;
use units::snapshot::InputState;

const HZ: u32 = 44_100;
const PATIENCE: Duration = Duration::from_secs(10);

/// A WAV that never ends by its own word: a sine of 441 Hz, mono. `burst` seconds come at once, then `paced` in time, then
/// the end.
struct Server {
    head: Vec<u8>,
    sent: usize,
    burst: f64,
    paced: f64,
    began: Option<units::Instant>,
}

impl Server {
    fn new(burst: f64, paced: f64) -> Self {
        let mut head = b"RIFF\xFF\xFF\xFF\xFFWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        head.extend(HZ.to_le_bytes());
        head.extend((HZ * 2).to_le_bytes());
        head.extend([2, 0, 16, 0]);
        head.extend(b"data\xFF\xFF\xFF\xFF");
        Self { head, sent: 0, burst, paced, began: None }
    }
}

impl Read for Server {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let began = *self.began.get_or_insert_with(now);
        if self.sent < self.head.len() {
            let count = out.len().min(self.head.len() - self.sent);
            out[..count].copy_from_slice(&self.head[self.sent..self.sent + count]);
            self.sent += count;
            return Ok(count);
        }
        loop {
            let frame = (self.sent - self.head.len()) / 2;
            let played = now().since(began).as_secs_f64();
            let due = ((played.min(self.paced) + self.burst) * f64::from(HZ)) as usize;
            if due > frame {
                let count = (out.len() / 2).min(due - frame).min(1_024);
                for (n, bytes) in (frame..).zip(out.chunks_exact_mut(2).take(count)) {
                    let sample = 8_000.0 * (n as f64 * 441.0 / f64::from(HZ) * std::f64::consts::TAU).sin();
                    bytes.copy_from_slice(&(sample as i16).to_le_bytes());
                }
                self.sent += 2 * count;
                return Ok(2 * count);
            }
            if played > self.paced {
                return Ok(0);
            }
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

struct Listener {
    capture: Capture,
    position: u64,
}

impl Listener {
    fn hear(&mut self) -> (PeriodKind, Vec<f32>) {
        match self.capture.next(PATIENCE) {
            Next::Period(period) => {
                assert_eq!(period.first.0, self.position);
                self.position += period.samples.len() as u64 / 2;
                assert!(
                    period.kind == PeriodKind::Sound || period.samples.iter().all(|sample| *sample == 0.0)
                );
                (period.kind, period.samples.to_vec())
            }
            missing @ (Next::Nothing | Next::Ended(_)) => panic!("no period: {missing:?}"),
        }
    }

    fn hear_until(&mut self, kind: PeriodKind) -> u64 {
        let from = self.position;
        for _ in 0..1_000 {
            if self.hear().0 == kind {
                return self.position - from;
            }
        }
        panic!("no {kind:?} within 24 s");
    }

    fn state(&self) -> InputState {
        self.capture.status().report(now()).state
    }
}

#[test]
fn a_stream_is_decoded_kept_ahead_and_dialled_again() {
    let dialled = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&dialled);
    let dial = Dial::new(move || match count.fetch_add(1, Ordering::SeqCst) {
        // A burst of four seconds, three more in time, and the far encoder goes.
        0 => Ok(Feed { bytes: Box::new(Server::new(4.0, 3.0)), content_type: Some("audio/wav".into()) }),
        1 | 2 => Err(io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens there")),
        3 => Ok(Feed { bytes: Box::new(&b"<html>this is no sound</html>"[..]), content_type: None }),
        _ => Ok(Feed { bytes: Box::new(Server::new(2.0, 3_600.0)), content_type: None }),
    });
    let input = Input::Stream { name: "http://b.example/studio".into(), dial };
    let config =
        Config { input, rate: SampleRate::Hz48000, pick: Pick::Stereo, period: 1_152, clock: Clock::Report };
    let mut listener = Listener { capture: start(config).unwrap(), position: 0 };
    let InputState::Lost { why, .. } = listener.state() else { panic!("{:?}", listener.state()) };
    assert!(why.contains("the stream does not come in"), "{why}");
    listener.hear_until(PeriodKind::Sound);
    assert_eq!(listener.state(), InputState::Capturing);

    // One pitch, both sides, whatever the rates: 441 Hz cross zero 882 times a second.
    let mut second = Vec::new();
    while second.len() < 96_000 {
        let (kind, samples) = listener.hear();
        assert_eq!(kind, PeriodKind::Sound);
        second.extend(samples);
    }
    assert!(second.chunks_exact(2).all(|frame| frame[0] == frame[1]));
    let left: Vec<f32> = second.iter().step_by(2).copied().collect();
    let crossings = left.windows(2).filter(|two| two[0].signum() != two[1].signum()).count();
    assert!(
        crossings.abs_diff(882 * left.len() / 48_000) <= 3,
        "{crossings} crossings in {} frames",
        left.len()
    );

    // The burst's older part was passed over, 2.5 s were kept, some 3 s came in time: never the whole of seven seconds.
    let heard = listener.hear_until(PeriodKind::Silence) + 48_000;
    println!("{heard} frames of the first connection");
    assert!((120_000..288_000).contains(&heard), "{heard} frames");
    let InputState::Lost { why, .. } = listener.state() else { panic!("{:?}", listener.state()) };
    assert!(why.contains("b.example") && why.contains("far encoder"), "{why}");
    let away = listener.hear_until(PeriodKind::Sound);
    assert_eq!(listener.state(), InputState::Capturing);
    for _ in 0..100 {
        assert_eq!(listener.hear().0, PeriodKind::Sound);
    }
    let report = listener.capture.status().report(now());
    println!("{away} frames away; {report:?}");
    assert!(dialled.load(Ordering::SeqCst) >= 5);
    assert_eq!((report.gaps, report.drift), (2, None), "{report:?}");
    // The silence is a gap of exactly its length; what is on its way is none.
    assert!(report.gap_frames.0 >= away - 1_152);
}
