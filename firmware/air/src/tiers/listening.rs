//! Listening on somebody's behalf: to the line for its noise, to the programme for its loudness. What follows from it is put
//! into words here.

use std::time::Duration;

use programme::fault::{Learn, Learnt, Line};
use programme::levels_out::{
    Calibration, Gain, Headroom, Measured, Short, TrimProposal, trim_to, trim_to_match,
};
use tokio::sync::oneshot;
use units::{Channels, Frames, Lufs, SampleRate};

/// What is listened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wanted {
    /// The line's own noise.
    Floor,
    /// The line's loudness, before any gain.
    Line,
    /// The programme's, as listeners get it.
    Programme,
}

/// What was heard; `None` where it was too little, or too quiet.
#[derive(Debug)]
pub(crate) enum Heard {
    Floor(Option<Learnt>),
    Loudness(Option<Measured>),
}

pub(super) struct Listening {
    ear: Ear,
    left: Frames,
    channels: usize,
    done: Option<oneshot::Sender<Heard>>,
}

enum Ear {
    Floor(Box<Learn>),
    Line(Box<Calibration>),
    Programme(Box<Calibration>),
}

impl Listening {
    pub(super) fn new(
        wanted: Wanted,
        span: Duration,
        rate: SampleRate,
        channels: Channels,
    ) -> anyhow::Result<(Self, oneshot::Receiver<Heard>)> {
        let ear = match wanted {
            Wanted::Floor => Ear::Floor(Box::new(Learn::new(rate, channels))),
            Wanted::Line => Ear::Line(Box::new(Calibration::new(rate, channels)?)),
            Wanted::Programme => Ear::Programme(Box::new(Calibration::new(rate, channels)?)),
        };
        let (done, heard) = oneshot::channel();
        let left = Frames::in_span(span, rate);
        Ok((Self { ear, left, channels: channels.count(), done: Some(done) }, heard))
    }

    pub(super) fn line(&mut self, pcm: &[f32]) {
        match &mut self.ear {
            Ear::Floor(learn) => learn.feed(pcm),
            Ear::Line(calibration) => calibration.feed(pcm),
            Ear::Programme(_) => {}
        }
        self.left = self.left - Frames((pcm.len() / self.channels) as u64);
    }

    pub(super) fn programme(&mut self, pcm: &[f32]) {
        match &mut self.ear {
            Ear::Programme(calibration) => calibration.feed(pcm),
            Ear::Floor(_) | Ear::Line(_) => {}
        }
    }

    /// Whether all was heard, or nobody wants to know any more.
    pub(super) fn is_over(&mut self) -> bool {
        if self.done.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return true;
        }
        if self.left > Frames(0) {
            return false;
        }
        let heard = match &mut self.ear {
            Ear::Floor(learn) => Heard::Floor(learn.learnt()),
            Ear::Line(calibration) | Ear::Programme(calibration) => Heard::Loudness(calibration.measured()),
        };
        if let Some(done) = self.done.take() {
            let _ = done.send(heard);
        }
        true
    }
}

/// Listens to another stream, which the capture brings. Blocks for as long.
pub(crate) fn loudness_of(config: capture::Config, span: Duration) -> Result<Option<Measured>, String> {
    let (rate, channels) = (config.rate, config.pick.channels());
    let mut capture = capture::start(config).map_err(|error| crate::sound::chain(&error))?;
    let mut calibration = Calibration::new(rate, channels).map_err(|error| crate::sound::chain(&error))?;
    let until = crate::clock::now() + span + CONNECT;
    while calibration.heard() < span && crate::clock::now() < until {
        match capture.next(Duration::from_millis(500)) {
            // Silence that stands in for what has not come is not the other's.
            capture::Next::Period(period) if period.kind == capture::PeriodKind::Sound => {
                calibration.feed(period.samples);
            }
            capture::Next::Period(_) | capture::Next::Nothing => {}
            capture::Next::Ended(error) => return Err(crate::sound::chain(&error)),
        }
    }
    if calibration.heard().is_zero()
        && let units::snapshot::InputState::Lost { why, .. } =
            capture.status().report(crate::clock::now()).state
    {
        return Err(why);
    }
    Ok(calibration.measured())
}

/// How long the other stream may take to begin.
const CONNECT: Duration = Duration::from_secs(15);

/// What follows from what was heard of the line.
pub(crate) fn propose(
    heard: &Heard,
    target: Option<Lufs>,
    headroom: Headroom,
) -> Result<Vec<String>, String> {
    match heard {
        Heard::Floor(Some(learnt)) => Ok(floor(learnt)),
        Heard::Loudness(Some(measured)) => {
            let target = target.ok_or("no loudness was asked for")?;
            let mut lines =
                vec![format!("the line: {}, true peak {} dBTP", measured.loudness, measured.true_peak.db())];
            lines.extend(trim(&trim_to(*measured, target, headroom)));
            Ok(lines)
        }
        Heard::Floor(None) => Err("too little was heard; listen for longer".to_string()),
        Heard::Loudness(None) => Err(TOO_QUIET.to_string()),
    }
}

/// What follows from what was heard of our programme and of another.
pub(crate) fn propose_match(
    ours: Option<Measured>,
    theirs: Option<Measured>,
    set: Gain,
    headroom: Headroom,
) -> Result<Vec<String>, String> {
    let ours = ours.ok_or(TOO_QUIET)?;
    let theirs =
        theirs.ok_or("the other stream was too quiet to measure, or ended; listen while it plays")?;
    let mut lines = vec![
        format!("ours:   {}, true peak {:.1} dBTP, with a trim of {set}", ours.loudness, ours.true_peak.db()),
        format!("theirs: {}, true peak {:.1} dBTP", theirs.loudness, theirs.true_peak.db()),
    ];
    lines.extend(trim(&trim_to_match(ours, theirs.loudness, set, headroom)));
    Ok(lines)
}

fn floor(learnt: &Learnt) -> Vec<String> {
    let what = match learnt.line {
        Line::Rest => "the line is at rest; its noise",
        Line::Programme => "a programme is on the line; its quietest moments",
    };
    let mut lines = vec![format!("{what}: {}", learnt.floor)];
    if let Some(hum) = learnt.hum {
        lines.push(format!(
            "mains hum of {} Hz at {}: a ground loop, or a cable beside the mains",
            hum.mains, hum.level
        ));
    }
    for (side, dc) in ["left", "right"].into_iter().zip(learnt.dc) {
        lines.extend(
            dc.map(|dc| format!("{side}: the converter adds a constant of {dc}; it does no harm here")),
        );
    }
    lines.push(match learnt.below {
        Some(below) => format!("write in [silence]: below = \"{below}\""),
        None => "no threshold tells silence from this noise: look for its cause first".to_string(),
    });
    lines
}

fn trim(proposal: &TrimProposal) -> Vec<String> {
    let mut lines = vec![
        format!("write in [levels_out]: trim = \"{}\"", proposal.trim),
        format!("that gives {}", proposal.expected),
    ];
    lines.extend(proposal.short_of.map(|short| {
        match short {
            Short::Peaks => {
                "more would lift peaks over the ceiling: switch the limiter on (limiter = \"-1 dBTP\") for it"
            }
            Short::TooFar => "it would take more: set the console's output or the sound card's gain first",
        }
        .to_string()
    }));
    lines
}

const TOO_QUIET: &str = "too little was heard, or it was too quiet to measure; listen for at least 10 s while the programme plays";
