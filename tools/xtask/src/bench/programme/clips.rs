//! The labelled clips: for each what must be found with which preset, and that nothing else is.

use std::f64::consts::TAU;
use std::path::Path;

use anyhow::Result;
use programme::fault::{Kind, Preset, Stage};
use programme::levels_out::{Feed, Gain, LevelsOut, LevelsOutConfig};
use units::{Channels, SampleRate};

use super::synth::{Dice, RATE, Sound, amplitude};

/// One clip.
pub(super) struct Clip {
    pub(super) name: &'static str,
    pub(super) sound: Sound,
    pub(super) cases: Vec<Case>,
    /// The card is lost from and to.
    pub(super) lost: Option<(f64, f64)>,
}

/// What must be found with a preset; all else is a false alarm.
pub(super) struct Case {
    pub(super) preset: Preset,
    pub(super) expected: Vec<Expected>,
}

/// A fault that must be found.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) kind: Kind,
    pub(super) stage: Stage,
    /// Where it begins, in seconds.
    pub(super) begins: f64,
    /// The preset's time for this stage.
    pub(super) after: f64,
}

const ALL: [Preset; 3] = [Preset::Music, Preset::Talk, Preset::Classical];

const SENTENCES: [&str; 4] = [
    "Good evening. Here is the news, read from the studio by the lake.",
    "The council has met until late at night. It has decided nothing, and will meet again on Thursday.",
    "In the mountains it rains; down here it is dry, and windy towards the morning.",
    "And now, after a short pause, a story from the coast, told by somebody who was there.",
];

/// Alarm and act of a fault that begins somewhere, as the preset has it, as far as the sound lasts.
fn stages(kind: Kind, preset: Preset, begins: f64, ends: f64) -> Vec<Expected> {
    let (alarm, act) = match kind {
        Kind::CardLost => (0.0, Some(1.0)),
        Kind::Silence => match preset {
            Preset::Music => (10.0, Some(20.0)),
            Preset::Talk => (20.0, Some(40.0)),
            Preset::Classical => (30.0, Some(60.0)),
        },
        Kind::DeadChannel => (60.0, None),
        Kind::Unequal => (120.0, None),
        Kind::Clipping => (3.0, None),
        Kind::Overload => (3.0, None),
        Kind::Inverted => (20.0, None),
        Kind::Tone => (30.0, None),
    };
    [(Stage::Alarm, Some(alarm)), (Stage::Act, act)]
        .into_iter()
        .filter_map(|(stage, after)| Some(Expected { kind, stage, begins, after: after? }))
        .filter(|expected| begins + expected.after < ends)
        .collect()
}

/// Everything that clips are made of.
pub(super) struct Studio {
    /// Two minutes of a band, -20 dBFS or so.
    band: Sound,
    /// Sentences with no pause about them.
    sentences: Vec<Vec<f32>>,
}

impl Studio {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let sentences = SENTENCES
            .iter()
            .enumerate()
            .map(|(number, words)| {
                crate::programme::speak(words, &folder.join(format!("sentence-{number}.wav")))
            })
            .collect::<Result<_>>()?;
        Ok(Self { band: Sound::of_s16(&crate::programme::render(&[])), sentences })
    }

    /// The band from its loudest part on.
    pub(super) fn music(&self, seconds: f64) -> Sound {
        self.band.part(20.0, seconds)
    }

    /// Speech, with pauses between the sentences that grow from one to the next, in a quiet room.
    fn speech(&self, seconds: f64, pauses: &[f64]) -> Sound {
        let mut words = Vec::new();
        let long = (seconds * RATE as f64) as usize;
        for (sentence, pause) in self.sentences.iter().cycle().zip(pauses.iter().cycle()) {
            words.extend_from_slice(sentence);
            words.resize(words.len() + (pause * RATE as f64) as usize, 0.0);
            if words.len() >= long {
                break;
            }
        }
        words.truncate(long);
        Sound::both(words).at_rms(-22.0).with(&Sound::noise(seconds, -66.0, 11))
    }

    /// All clips, made one by one: a clip is tens of megabytes.
    pub(super) fn clips(&self) -> impl Iterator<Item = Clip> + '_ {
        let makers: [fn(&Self) -> Clip; 34] = [
            |studio| sane("speech with pauses up to 9 s", &ALL, studio.speech(100.0, &[1.0, 4.0, 9.0, 0.5])),
            |_| sane("pianissimo strings, -62 to -44 dBFS", &[Preset::Classical], strings(100.0)),
            |_| sane("pianissimo organ with tremulant", &[Preset::Classical], organ(45.0)),
            fades,
            |_| sane("run-out groove", &ALL, groove(28.0)),
            phone_in,
            one_sided,
            |studio| {
                let pips = studio.speech(8.0, &[1.0]).then(pips()).then(studio.speech(10.0, &[1.0]));
                sane("time signal pips", &ALL, pips)
            },
            |studio| {
                let two = Sound::tone(25.0, 853.0, -12.0).with(&Sound::tone(25.0, 960.0, -12.0));
                sane("alert: two tones at once, 25 s", &ALL, studio.speech(5.0, &[1.0]).then(two))
            },
            |studio| {
                let one = Sound::tone(10.0, 1050.0, -9.0);
                sane(
                    "alert: 1050 Hz, 10 s",
                    &ALL,
                    studio.speech(5.0, &[1.0]).then(one).then(studio.music(5.0)),
                )
            },
            |_| {
                let phase = |at: f64| if at % 1.0 < 0.5 { 800.0 * at } else { 1000.0 * at };
                let wail = Sound::mono(45.0, |at| 0.3 * (TAU * phase(at)).sin());
                sane("alert: two tones in turn, 45 s", &ALL, wail)
            },
            |_| {
                sane(
                    "a minute's silence, open microphones at -47 dBFS",
                    &[Preset::Talk, Preset::Classical],
                    outdoors(62.0),
                )
            },
            |_| {
                // Applause, a minute with closed faders, applause: alarmed, not acted on.
                let applause = || Sound::noise(6.0, -24.0, 5).band(200.0, 6000.0).at_rms(-24.0);
                let minute = applause().then(Sound::noise(58.0, -75.0, 8)).then(applause());
                found(
                    "a minute's silence, faders closed",
                    &[Preset::Classical],
                    minute,
                    &[(Kind::Silence, 6.0, 64.0)],
                )
            },
            |_| {
                found(
                    "line-up tone, 1 kHz",
                    &ALL,
                    Sound::tone(45.0, 1000.0, -21.0),
                    &[(Kind::Tone, 0.0, 45.0)],
                )
            },
            |_| {
                let ident = Sound::tone(45.0, 1000.0, -21.0)
                    .map(|at, left, right| (if at % 3.0 < 0.25 { 0.0 } else { left }, right));
                found("line-up tone, left interrupted every 3 s", &ALL, ident, &[(Kind::Tone, 0.0, 45.0)])
            },
            |_| {
                let tone = Sound::tone(45.0, 400.0, -12.0).with(&Sound::noise(45.0, -50.0, 4));
                found("line-up tone, 400 Hz, noisy line", &ALL, tone, &[(Kind::Tone, 0.0, 45.0)])
            },
            |studio| hum_after(studio, "dead line with 50 Hz hum, -38 dBFS", 50.0, 0.03, -38.0),
            |studio| hum_after(studio, "dead line with 60 Hz hum, -30 dBFS", 60.0, -0.04, -30.0),
            |_| {
                let room = Sound::noise(65.0, -53.0, 21).band(60.0, 5000.0).at_rms(-53.0);
                found(
                    "open microphone, -53 dBFS",
                    &[Preset::Music, Preset::Talk],
                    room,
                    &[(Kind::Silence, 0.0, 65.0)],
                )
            },
            |_| {
                let room = Sound::noise(65.0, -53.0, 21).band(60.0, 5000.0).at_rms(-53.0);
                sane("open microphone, -53 dBFS", &[Preset::Classical], room)
            },
            |studio| {
                let dead = Sound::noise(65.0, -85.0, 2).map(|_, left, right| (left + 0.05, right - 0.02));
                found(
                    "DC of -26 dBFS on a dead line",
                    &ALL,
                    studio.music(5.0).then(dead),
                    &[(Kind::Silence, 5.0, 70.0)],
                )
            },
            |studio| {
                let biased = studio.music(40.0).gain(-3.0).map(|_, left, right| (left + 0.08, right + 0.08));
                sane("DC of -22 dBFS under a programme", &ALL, biased)
            },
            |studio| {
                let dead = Sound::noise(85.0, -80.0, 3);
                let legs =
                    studio.music(110.0).map(|at, left, right| (left, if at < 20.0 { right } else { 0.0 }));
                found(
                    "one leg, from 20 s on",
                    &ALL,
                    legs.with_at(20.0, &dead),
                    &[(Kind::DeadChannel, 20.0, 110.0)],
                )
            },
            |studio| {
                let weak = studio
                    .music(170.0)
                    .map(|at, left, right| (if at < 20.0 { left } else { left * 0.2 }, right));
                found("left 14 dB weaker, from 20 s on", &ALL, weak, &[(Kind::Unequal, 20.0, 170.0)])
            },
            |studio| {
                let stop = studio.music(20.0).then(Sound::zero(65.0));
                found("digital zero", &ALL, stop, &[(Kind::Silence, 20.0, 85.0)])
            },
            |studio| {
                let stop = studio.music(20.0).then(Sound::noise(65.0, -60.0, 13));
                found("-60 dB noise", &[Preset::Music, Preset::Talk], stop, &[(Kind::Silence, 20.0, 85.0)])
            },
            |studio| {
                let stop = studio.speech(20.0, &[0.5]).then(Sound::noise(65.0, -72.0, 13));
                let begins = last_above(&stop, -50.0).max(19.0);
                found("speech that does not go on", &ALL, stop, &[(Kind::Silence, begins, 85.0)])
            },
            |studio| clipped(studio, "clipping at full scale", 1.0, Kind::Clipping),
            |studio| clipped(studio, "overload: flat tops at -4.4 dBFS", 0.6, Kind::Overload),
            |studio| {
                let mut chain = LevelsOut::new(
                    LevelsOutConfig { trim: Gain::new(15.0), ..LevelsOutConfig::for_feed(Feed::Raw) },
                    SampleRate::Hz48000,
                    Channels::Stereo,
                );
                let mut loud = studio.music(40.0).interleaved();
                chain.process(&mut loud);
                let side = |side: usize| loud.iter().skip(side).step_by(2).copied().collect();
                sane(
                    "a processor's output, 15 dB into its limiter",
                    &ALL,
                    Sound { left: side(0), right: side(1) },
                )
            },
            |studio| {
                let wrong =
                    studio.music(55.0).map(|at, left, right| (left, if at < 20.0 { right } else { -right }));
                found("right channel inverted, from 20 s on", &ALL, wrong, &[(Kind::Inverted, 20.0, 55.0)])
            },
            |_| {
                let wide = Sound::noise(40.0, -22.0, 31).band(80.0, 7000.0).at_rms(-22.0);
                sane("wide stereo: unrelated channels", &ALL, wide)
            },
            |_| {
                let fall = Sound::both(Sound::noise(45.0, -25.0, 31).left);
                sane("a waterfall: steady noise", &ALL, fall)
            },
            |studio| {
                let lost = studio.music(20.0).then(Sound::zero(5.0)).then(studio.music(10.0));
                let clip = found("card lost for 5 s", &ALL, lost, &[(Kind::CardLost, 20.0, 25.0)]);
                Clip { lost: Some((20.0, 25.0)), ..clip }
            },
        ];
        makers.into_iter().map(move |make| make(self))
    }
}

/// A clip in which nothing is to be found.
fn sane(name: &'static str, presets: &[Preset], sound: Sound) -> Clip {
    found(name, presets, sound, &[])
}

/// A clip with faults, each with its beginning and end.
fn found(name: &'static str, presets: &[Preset], sound: Sound, faults: &[(Kind, f64, f64)]) -> Clip {
    let expected = |preset| {
        faults.iter().flat_map(|(kind, begins, ends)| stages(*kind, preset, *begins, *ends)).collect()
    };
    let cases = presets.iter().map(|preset| Case { preset: *preset, expected: expected(*preset) }).collect();
    Clip { name, sound, cases, lost: None }
}

/// Five voices with vibrato that swell and fade by turns, in a hall.
fn strings(seconds: f64) -> Sound {
    let voice = |hz: f64, at: f64| {
        let turn = TAU * hz * at + 3.0 * (TAU * 5.3 * at + hz).sin();
        turn.sin() + 0.5 * (2.0 * turn).sin() + 0.3 * (3.0 * turn).sin()
    };
    let swell = |at: f64| 10_f64.powf((-53.0 + 9.0 * (TAU * at / 17.0).sin()) / 20.0);
    let notes = [110.0, 164.8, 220.0, 277.2, 329.6];
    let sum = |at: f64, shift: f64| {
        let all: f64 = notes.iter().map(|hz| voice(hz + shift, at)).sum();
        all * swell(at) / 1.8
    };
    Sound::mono(seconds, |_| 0.0)
        .map(|at, _, _| (sum(at, 0.0) as f32, sum(at, 0.4) as f32))
        .with(&Sound::noise(seconds, -74.0, 17))
}

/// One long low note of a few pipes; the wind moves.
fn organ(seconds: f64) -> Sound {
    let note = |at: f64| {
        let wind = 1.0 + 0.25 * (TAU * 6.0 * at).sin();
        let pipes = [(49.0, 1.0), (98.0, 0.6), (146.8, 0.4), (196.0, 0.4), (246.9, 0.2)];
        pipes.iter().map(|(hz, part)| part * (TAU * hz * at).sin()).sum::<f64>() * wind
    };
    Sound::mono(seconds, note).at_rms(-52.0).with(&Sound::noise(seconds, -72.0, 19))
}

/// Three songs that fade out by 45 dB over 12 s, with 2 s between them.
fn fades(studio: &Studio) -> Clip {
    let song = |_| {
        let fade = |at: f64| if at < 20.0 { 1.0 } else { 10_f32.powf(-(at as f32 - 20.0) / 12.0 * 2.25) };
        studio
            .music(32.0)
            .map(|at, left, right| (left * fade(at), right * fade(at)))
            .then(Sound::noise(2.0, -80.0, 6))
    };
    let all = (0..3).map(song).reduce(Sound::then).unwrap_or_default();
    sane("fade-outs of 12 s", &ALL, all)
}

/// Surface noise, rumble, and the click of each turn.
fn groove(seconds: f64) -> Sound {
    let surface = Sound::noise(seconds, -50.0, 23).band(30.0, 9000.0).at_rms(-50.0);
    let mut dice = Dice(29);
    let click = Sound::mono(0.03, |at| f64::from(dice.sample()) * 0.2 * (-at * 150.0).exp());
    let turns = (seconds / 1.8) as usize;
    (0..turns).fold(surface, |sound, turn| sound.with_at(turn as f64 * 1.8 + 0.4, &click))
}

/// Studio and caller by turns, the caller narrow, noisy and 8 dB weaker.
fn phone_in(studio: &Studio) -> Clip {
    let host = studio.speech(80.0, &[0.3]);
    let caller = studio.speech(80.0, &[0.8]).band(300.0, 3400.0).at_rms(-30.0);
    let line = Sound::noise(80.0, -48.0, 37).band(300.0, 3400.0).at_rms(-48.0);
    let is_host = |at: f64| ((at / 9.0) as u32).is_multiple_of(2);
    let talk = host
        .map(|at, left, right| if is_host(at) { (left, right) } else { (0.0, 0.0) })
        .with(&caller.map(|at, left, right| if is_host(at) { (0.0, 0.0) } else { (left * 0.8, right * 1.1) }))
        .with(&line);
    sane("phone-in", &ALL, talk)
}

/// A guitar on the left for 35 s, then everybody.
fn one_sided(studio: &Studio) -> Clip {
    let song = studio
        .music(120.0)
        .map(|at, left, right| if at < 35.0 { (left, 0.0) } else { (left, right) })
        .with(&Sound::noise(120.0, -82.0, 41));
    sane("one-sided introduction, 35 s", &ALL, song)
}

/// Five short pips and a long one.
fn pips() -> Sound {
    let pip = |seconds: f64| Sound::tone(seconds, 1000.0, -18.0).then(Sound::noise(1.0 - seconds, -70.0, 7));
    (0..5).map(|_| 0.1).chain([0.5]).map(pip).reduce(Sound::then).unwrap_or_default()
}

/// A square with people who keep quiet: wind, and birds.
fn outdoors(seconds: f64) -> Sound {
    let wind = Sound::noise(seconds, -40.0, 43).band(80.0, 1500.0).at_rms(-47.0);
    let gust = |at: f64| 1.0 + 0.15 * (TAU * at / 7.3).sin() as f32;
    let bird = Sound::mono(0.2, |at| 0.01 * (TAU * (3000.0 + 4000.0 * at) * at).sin());
    (0..8).fold(wind.map(|at, left, right| (left * gust(at), right * gust(at))), |sound, n| {
        sound.with_at(3.0 + f64::from(n) * 7.7, &bird)
    })
}

/// A band, then nothing but mains hum with its harmonics over a quiet line.
fn hum_after(studio: &Studio, name: &'static str, mains: f64, off_hz: f64, dbfs: f64) -> Clip {
    let hz = mains + off_hz;
    let parts =
        [(1.0, 1.0), (2.0, 0.4), (3.0, 0.5), (5.0, 0.2), (6.0, 0.05), (7.0, 0.15), (9.0, 0.08), (13.0, 0.05)];
    let hum = Sound::mono(70.0, |at| {
        parts.iter().map(|(order, part)| part * (TAU * hz * order * at + order).sin()).sum()
    });
    let line = hum.at_rms(dbfs).with(&Sound::noise(70.0, -74.0, 47));
    let sound = studio.music(20.0).then(line);
    found(name, &ALL, sound, &[(Kind::Silence, 20.0, 90.0), (Kind::Tone, 20.0, 90.0)])
}

/// A band 12 dB too loud for what comes next, from 10 s on.
fn clipped(studio: &Studio, name: &'static str, rail: f32, kind: Kind) -> Clip {
    let driven = |at: f64, sample: f32| {
        let sample = sample * rail * if at < 10.0 { 0.8 } else { amplitude(18.0) };
        sample.clamp(-rail, rail)
    };
    let sound = studio
        .music(40.0)
        .map(|at, left, right| (driven(at, left), driven(at, right)))
        // The amplifier's own noise, which a digital clip has not.
        .with(&if rail < 1.0 { Sound::noise(40.0, -66.0, 53) } else { Sound::default() });
    let at_rail = |sample: &f32| sample.abs() >= rail * 0.999;
    let begins = [&sound.left, &sound.right]
        .iter()
        .filter_map(|channel| channel.windows(8).position(|eight| eight.iter().all(at_rail)))
        .min()
        .map_or(10.0, |frame| frame as f64 / RATE as f64);
    found(name, &ALL, sound, &[(kind, begins, 40.0)])
}

/// The end of the last 20 ms that are louder than this, in seconds.
fn last_above(sound: &Sound, dbfs: f64) -> f64 {
    let limit = f64::from(amplitude(dbfs)).powi(2);
    let window = RATE / 50;
    let loud =
        |part: &[f32]| part.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / part.len() as f64 >= limit;
    let last = sound.left.chunks(window).rposition(loud).unwrap_or_default();
    ((last + 1) * window) as f64 / RATE as f64
}
