//! Faults found and not found, in virtual time. The long clips with speech and music are in `cargo xtask bench programme`.

use std::f64::consts::TAU;

use super::*;

const RATE: SampleRate = SampleRate::Hz48000;
const SECOND: u64 = 48_000;

/// Stereo sound of so many seconds; `sound` is told the time in seconds.
fn sound(seconds: f64, mut sound: impl FnMut(f64) -> (f64, f64)) -> Vec<f32> {
    (0..(seconds * SECOND as f64) as u64)
        .map(|n| sound(n as f64 / SECOND as f64))
        .flat_map(|(left, right)| [left as f32, right as f32])
        .collect()
}

fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        // xorshift64 (Marsaglia 2003)
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / 8_388_608.0 - 1.0
    }
}

/// Something that moves like a programme: notes that come and go, different left and right.
fn music(seconds: f64) -> Vec<f32> {
    sound(seconds, |at| {
        let note = |hz: f64| (TAU * hz * at).sin() * (-(at * 2.0 % 1.0) * 2.0).exp() * 0.2;
        let step = (at * 2.0) as u32 % 5;
        let middle = note(220.0 * 1.5_f64.powf(f64::from(step) / 2.0));
        (middle + note(331.0) * 0.3, middle - note(443.0) * 0.3)
    })
}

fn watch(preset: Preset) -> Watch {
    Watch::new(Config::preset(preset), RATE, Channels::Stereo).unwrap()
}

/// Feeds in odd periods.
fn feed(watch: &mut Watch, pcm: &[f32]) -> Vec<Turn> {
    pcm.chunks(2 * 441).flat_map(|period| watch.feed(period)).collect()
}

/// What rose: kind, stage, and seconds since the start.
fn risen(turns: &[Turn]) -> Vec<(Kind, Stage, f64)> {
    turns
        .iter()
        .filter_map(|turn| match *turn {
            Turn::Rose { fault, stage, at, .. } => Some((fault.kind(), stage, at.0 as f64 / SECOND as f64)),
            Turn::Ended { .. } => None,
        })
        .collect()
}

#[test]
fn silence_alarms_then_acts_then_ends_in_every_preset() {
    for (preset, level, alarm, act) in [
        (Preset::Music, -48.0, 10.0, 20.0),
        (Preset::Talk, -53.0, 20.0, 40.0),
        (Preset::Classical, -63.0, 30.0, 60.0),
    ] {
        let mut watch = watch(preset);
        let mut dice = noise(5);
        // Even noise has an RMS of its height over the root of three.
        let height = 10_f64.powf(level / 20.0) * 3_f64.sqrt();
        let mut pcm = music(3.0);
        pcm.extend(sound(act + 2.0, |_| (dice() * height, dice() * height)));
        pcm.extend(music(3.0));
        let turns = feed(&mut watch, &pcm);
        let [(Kind::Silence, Stage::Alarm, alarmed), (Kind::Silence, Stage::Act, acted)] = risen(&turns)[..]
        else {
            panic!("{preset:?}: {turns:?}")
        };
        // The last note has faded a little before.
        assert!((alarmed - 3.0 - alarm).abs() < 0.3, "{alarmed}");
        assert!((acted - alarmed - (act - alarm)).abs() < 0.03, "{acted}");
        assert!(matches!(turns.last(), Some(Turn::Ended { kind: Kind::Silence, .. })), "{turns:?}");
        assert_eq!((watch.state().count(), watch.quiet_for()), (0, Duration::ZERO));
    }
}

#[test]
fn a_dead_line_with_hum_is_silence_and_says_which_hum() {
    let mut dice = noise(9);
    let mut hum = |mains: f64, seconds: f64| {
        sound(seconds, |at| {
            let parts = [(1.0, 1.0), (2.0, 0.3), (3.0, 0.5), (5.0, 0.2)];
            let all: f64 = parts.iter().map(|(n, part)| part * (TAU * mains * n * at + n).sin()).sum();
            (all * 0.01 + dice() * 3e-4, all * 0.008)
        })
    };
    for (mains, hz) in [(50, 50.03), (60, 59.96)] {
        let mut watch = watch(Preset::Music);
        feed(&mut watch, &music(5.0));
        let turns = feed(&mut watch, &hum(hz, 21.0));
        let found = risen(&turns);
        let [(Kind::Silence, Stage::Alarm, alarmed), (Kind::Silence, Stage::Act, acted)] = found[..] else {
            panic!("{turns:?}")
        };
        assert!((15.0..15.05).contains(&alarmed) && (25.0..25.05).contains(&acted), "{found:?}");
        let Some(Standing { fault: Fault::Silence { hum: Some(pitch) }, stage: Stage::Act, since }) =
            watch.state().next()
        else {
            panic!("{:?}", watch.state().collect::<Vec<_>>())
        };
        assert_eq!((pitch.mains, since.0 / 960), (Some(mains), 250));
        let turns = feed(&mut watch, &music(2.0));
        assert!(matches!(turns[..], [Turn::Ended { kind: Kind::Silence, .. }]), "{turns:?}");
        let mut config = Config::preset(Preset::Music);
        config.silence.through_hum = false;
        let mut watch = Watch::new(config, RATE, Channels::Stereo).unwrap();
        assert_eq!(risen(&feed(&mut watch, &hum(hz, 25.0))), [], "not if told so");
    }
}

#[test]
fn quiet_programme_is_no_dead_line_though_it_is_low_and_slow() {
    let mut watch = watch(Preset::Classical);
    let pcm = sound(40.0, |at| {
        let swell = 10_f64.powf((-52.0 + 6.0 * (TAU * at / 11.0).sin()) / 20.0);
        let all: f64 =
            [98.0, 147.0, 196.0].map(|hz| (TAU * hz * at + (TAU * 5.0 * at).sin()).sin()).iter().sum();
        (all * swell, all * swell)
    });
    assert_eq!(feed(&mut watch, &pcm), []);
}

#[test]
fn a_tone_left_on_is_named_and_alert_tones_are_not() {
    let mut watch_tone = watch(Preset::Talk);
    let tone = |hz: f64| move |at: f64| ((TAU * hz * at).sin() * 0.1, (TAU * hz * at).sin() * 0.1);
    let turns = feed(&mut watch_tone, &sound(31.0, tone(1000.0)));
    let [Turn::Rose { fault: Fault::Tone { pitch }, stage: Stage::Alarm, at, .. }] = turns[..] else {
        panic!("{turns:?}")
    };
    assert!((pitch.hz - 1000.0).abs() < 0.5 && !pitch.is_hum(), "{pitch:?}");
    assert_eq!(at, Frames(30 * SECOND));
    // 20 s, then another pitch at the same level; two at once; two in turn.
    let mut watch = watch(Preset::Talk);
    let turns = feed(&mut watch, &sound(20.0, tone(1050.0)));
    assert_eq!(turns, []);
    let turns = feed(&mut watch, &sound(20.0, tone(700.0)));
    assert_eq!(turns, []);
    let two = |at: f64| {
        ((TAU * 853.0 * at).sin() * 0.1 + (TAU * 960.0 * at).sin() * 0.1, 0.1 * (TAU * 853.0 * at).sin())
    };
    assert_eq!(feed(&mut watch, &sound(32.0, two)), []);
    let turn = |at: f64| tone(if at % 1.0 < 0.5 { 800.0 } else { 1000.0 })(at);
    assert_eq!(feed(&mut watch, &sound(35.0, turn)), []);
}

#[test]
fn a_dead_leg_is_found_and_a_one_sided_introduction_is_not() {
    let mut watch_leg = watch(Preset::Music);
    let leg = |pcm: Vec<f32>| pcm.chunks(2).flat_map(|frame| [frame[0], 0.0]).collect::<Vec<f32>>();
    feed(&mut watch_leg, &music(4.0));
    let turns = feed(&mut watch_leg, &leg(music(61.0)));
    let [Turn::Rose { fault: Fault::DeadChannel { side: Side::Right }, at, .. }] = turns[..] else {
        panic!("{turns:?}")
    };
    assert_eq!(at, Frames(64 * SECOND));
    let turns = feed(&mut watch_leg, &music(3.0));
    assert!(matches!(turns[..], [Turn::Ended { kind: Kind::DeadChannel, .. }]), "{turns:?}");
    let mut watch = watch(Preset::Music);
    let mut turns = feed(&mut watch, &leg(music(35.0)));
    turns.extend(feed(&mut watch, &music(40.0)));
    assert_eq!(turns, []);
}

#[test]
fn a_weak_and_an_inverted_channel_are_found_and_found_well_again() {
    let mut config = Config::default();
    config.unequal.when.alarm = Some(Duration::from_secs(12));
    let mut watch = Watch::new(config, RATE, Channels::Stereo).unwrap();
    let change = |pcm: Vec<f32>, right: f32| -> Vec<f32> {
        pcm.chunks(2).flat_map(|frame| [frame[0], frame[1] * right]).collect()
    };
    assert_eq!(feed(&mut watch, &music(30.0)), []);
    let turns = feed(&mut watch, &change(music(13.0), 0.25));
    let [Turn::Rose { fault: Fault::Unequal { louder: Side::Left, by_db }, at, .. }] = turns[..] else {
        panic!("{turns:?}")
    };
    assert!((by_db - 12.0).abs() < 1.0 && (at.0 as f64 / SECOND as f64 - 42.0).abs() < 0.06, "{turns:?}");
    let turns = feed(&mut watch, &music(11.0));
    assert!(matches!(turns[..], [Turn::Ended { kind: Kind::Unequal, .. }]), "{turns:?}");
    let turns = feed(&mut watch, &change(music(30.0), -1.0));
    let [Turn::Rose { fault: Fault::Inverted, at, .. }] = turns[..] else { panic!("{turns:?}") };
    assert!((at.0 as f64 / SECOND as f64 - 74.0).abs() < 0.06, "{turns:?}");
    let turns = feed(&mut watch, &music(20.0));
    assert!(matches!(turns[..], [Turn::Ended { kind: Kind::Inverted, .. }]), "{turns:?}");
}

#[test]
fn cut_tops_are_named_by_where_they_are_cut() {
    let cut = |rail: f32| -> Vec<f32> {
        music(5.0).iter().map(|sample| (sample * 20.0).clamp(-1.0, 1.0) * rail).collect()
    };
    let turns = feed(&mut watch(Preset::Music), &cut(1.0));
    assert!(
        matches!(turns[..], [Turn::Rose { fault: Fault::Clipping, stage: Stage::Alarm, .. }]),
        "{turns:?}"
    );
    let mut dice = noise(3);
    let noisy: Vec<f32> = cut(0.5).iter().map(|sample| sample + dice() as f32 * 1e-3).collect();
    let mut watch_cut = watch(Preset::Music);
    let turns = feed(&mut watch_cut, &noisy);
    let [Turn::Rose { fault: Fault::Overload { at }, stage: Stage::Alarm, .. }] = turns[..] else {
        panic!("{turns:?}")
    };
    assert!((at.db() - -6.0).abs() < 0.1, "{at}");
    let turns = feed(&mut watch_cut, &music(12.0));
    assert!(matches!(turns[..], [Turn::Ended { kind: Kind::Overload, .. }]), "{turns:?}");
    // Round tops at one level: sines of many pitches.
    for hz in [40.0, 63.0, 100.0, 250.0, 400.0, 480.0, 997.0, 3000.0] {
        let sine = sound(5.0, |at| ((TAU * hz * at).sin() * 0.7, (TAU * hz * at + 1.0).sin() * 0.7));
        assert_eq!(feed(&mut watch(Preset::Music), &sine), [], "{hz}");
    }
}

#[test]
fn a_lost_card_alarms_at_once_and_acts_soon() {
    let mut watch = watch(Preset::Classical);
    feed(&mut watch, &music(2.0));
    watch.lost(true);
    let turns = feed(&mut watch, &vec![0.0; 2 * 2 * SECOND as usize]);
    assert_eq!(risen(&turns), [(Kind::CardLost, Stage::Alarm, 2.02), (Kind::CardLost, Stage::Act, 3.0)]);
    watch.lost(false);
    let turns = feed(&mut watch, &music(2.1));
    assert!(matches!(turns[..], [Turn::Ended { kind: Kind::CardLost, .. }]), "{turns:?}");
}

#[test]
fn mono_has_no_sides_and_what_is_no_number_stops_nothing() {
    let mut watch = Watch::new(Config::default(), SampleRate::Hz44100, Channels::Mono).unwrap();
    let mut pcm: Vec<f32> = music(5.0).iter().step_by(2).copied().collect();
    (pcm[1000], pcm[2000], pcm[3000]) = (f32::NAN, f32::INFINITY, f32::MAX);
    pcm.extend(vec![0.0; 44_100 * 11]);
    let turns: Vec<Turn> = pcm.chunks(441).flat_map(|period| watch.feed(period)).collect();
    assert!(
        matches!(turns[..], [Turn::Rose { fault: Fault::Silence { hum: None }, stage: Stage::Alarm, .. }]),
        "{turns:?}"
    );
}

#[test]
fn rules_that_contradict_themselves_are_refused() {
    let mut config = Config::default();
    config.silence.back_above = Dbfs::new(-50.0);
    assert!(matches!(config.check(), Err(Refused::Hysteresis { .. })));
    let mut config = Config::default();
    config.tone.when.act = Some(Duration::from_secs(5));
    assert!(matches!(config.check(), Err(Refused::Order { kind: Kind::Tone, .. })));
    let mut config = Config::default();
    config.unequal.by_db = f32::NAN;
    assert!(config.check().unwrap_err().to_string().contains("channels unequal"));
}

#[test]
fn what_is_told_to_act_acts() {
    let mut config = Config::default();
    config.tone.when.act = Some(Duration::from_secs(32));
    let mut watch = Watch::new(config, RATE, Channels::Stereo).unwrap();
    let tone = sound(33.0, |at| ((TAU * 440.0 * at).sin() * 0.1, 0.09 * (TAU * 440.0 * at).sin()));
    let found = risen(&feed(&mut watch, &tone));
    assert_eq!(found, [(Kind::Tone, Stage::Alarm, 30.0), (Kind::Tone, Stage::Act, 32.0)]);
}

#[test]
fn a_line_at_rest_is_learnt() {
    let mut learn = Learn::new(RATE, Channels::Stereo);
    let mut dice = noise(21);
    let height = 10_f64.powf(-72.0 / 20.0) * 3_f64.sqrt();
    learn.feed(&sound(1.0, |_| (0.0, 0.0)));
    assert_eq!(learn.learnt(), None);
    let mut learn = Learn::new(RATE, Channels::Stereo);
    learn.feed(&sound(10.0, |_| (dice() * height + 0.01, dice() * height)));
    let learnt = learn.learnt().unwrap();
    assert_eq!((learnt.line, learnt.hum), (Line::Rest, None));
    assert!((learnt.floor.db() - -72.0).abs() < 1.0, "{learnt:?}");
    assert!((learnt.below.unwrap().db() - -62.0).abs() < 1.5, "{learnt:?}");
    assert!((learnt.dc[0].unwrap().db() - -40.0).abs() < 0.5 && learnt.dc[1].is_none(), "{learnt:?}");
    let mut learn = Learn::new(RATE, Channels::Stereo);
    learn.feed(&sound(10.0, |at| {
        let hum = (TAU * 50.0 * at).sin() * 0.005 + (TAU * 150.0 * at).sin() * 0.002;
        (hum + dice() * height, hum + dice() * height)
    }));
    let learnt = learn.learnt().unwrap();
    let hum = learnt.hum.unwrap();
    assert!(hum.mains == 50 && (hum.level.db() - -48.4).abs() < 1.0, "{learnt:?}");
    assert!(learnt.below.unwrap().db() < -58.0, "silence is found through hum: {learnt:?}");
}

#[test]
fn a_programme_is_learnt_by_its_pauses() {
    let mut learn = Learn::new(RATE, Channels::Stereo);
    let mut dice = noise(23);
    for _ in 0..6 {
        learn.feed(&music(2.0));
        learn.feed(&sound(0.5, |_| (dice() * 0.002, dice() * 0.002)));
    }
    let learnt = learn.learnt().unwrap();
    assert_eq!(learnt.line, Line::Programme);
    assert!((learnt.floor.db() - -58.8).abs() < 1.0, "{learnt:?}");
    assert!((learnt.below.unwrap().db() - -65.0).abs() < 1.5, "{learnt:?}");
    let mut learn = Learn::new(RATE, Channels::Mono);
    learn.feed(&sound(6.0, |_| (dice() * 0.05, dice() * 0.05)));
    assert_eq!(learn.learnt().unwrap().below, None, "no threshold fits a line this noisy");
}
