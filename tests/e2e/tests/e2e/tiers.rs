//! No dead air: what is on air when an input falls silent or goes, as a listener hears it.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use mainstay_e2e::card::Card;
use mainstay_e2e::daemon::{Daemon, mounts};
use mainstay_e2e::icecast::{Headend, SOURCE_PASSWORD};
use mainstay_e2e::listener::Listener;
use mainstay_e2e::metronome::write_wav;
use mainstay_e2e::proof::{contiguous, hear};
use mainstay_e2e::settings::{Input, Output, Settings};
use mainstay_e2e::source::foreign;
use programme::levels_out::Calibration;
use units::snapshot::Snapshot;
use units::{Channels, SampleRate};

use crate::stage::{LATER, SOON};

const HZ: usize = 48_000;

/// A stereo sine at half of full scale and less.
fn sine(hz: f64, amplitude: f64, seconds: usize) -> Vec<i16> {
    (0..seconds * HZ)
        .flat_map(|n| {
            let sample = (n as f64 * TAU * hz / HZ as f64).sin() * amplitude * 32_767.0;
            [sample as i16; 2]
        })
        .collect()
}

fn on_air(status: &Snapshot) -> &str {
    status.programme.as_ref().map_or("", |programme| &programme.on_air)
}

/// How much of a tenth of a second is this pitch, in dBFS.
fn level_at(hz: f64, pcm: &[i16]) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (n, &sample) in pcm.iter().enumerate() {
        let (sin, cos) = (n as f64 * TAU * hz / HZ as f64).sin_cos();
        re += cos * f64::from(sample);
        im += sin * f64::from(sample);
    }
    20.0 * (2.0 * re.hypot(im) / pcm.len() as f64 / 32_767.0).max(1e-9).log10()
}

/// Integrated loudness of a stretch of one channel, heard from both loudspeakers.
fn loudness(pcm: &[i16]) -> Result<f32> {
    let mut ear = Calibration::new(SampleRate::Hz48000, Channels::Stereo)?;
    let stereo: Vec<f32> = pcm.iter().flat_map(|&sample| [f32::from(sample) / 32_768.0; 2]).collect();
    ear.feed(&stereo);
    Ok(ear.measured().context("too short a stretch to measure")?.loudness.lufs())
}

/// The first longest run of tenths of a second for which `is` holds.
fn longest_run(tenths: &[bool]) -> (usize, usize) {
    let (mut best, mut begin) = ((0, 0), None);
    for (at, &is) in tenths.iter().chain([&false]).enumerate() {
        match (is, begin) {
            (true, None) => begin = Some(at),
            (false, Some(from)) => {
                if at - from > best.1 - best.0 {
                    best = (from, at);
                }
                begin = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    best
}

fn undisturbed(status: &Snapshot) -> Result<()> {
    for mount in mounts(status) {
        ensure!((mount.accepted, mount.failures) == (1, 0) && mount.state.on_air(), "{mount:?}");
    }
    Ok(())
}

const ACT_SECONDS: usize = 4;

/// Settings as an engineer would write them, with quick thresholds.
fn rules(emergency: &Path, more: &str) -> String {
    format!(
        "\n[silence]\nalarm = \"2 s\"\nact = \"{ACT_SECONDS} s\"\n{more}\n[emergency]\nfiles = [{{ file = \"{}\", title = \
         \"Back in a moment\" }}]\nsettle = \"2 s\"\n",
        emergency.display()
    )
}

#[test]
fn a_line_that_falls_silent_gives_way_to_the_file_and_comes_back() -> Result<()> {
    let server = Headend::default().start()?;
    let folder = tempfile::Builder::new().prefix("mainstay-e2e-").tempdir()?;
    // Twenty seconds of programme, then the line is dead for a minute.
    let (programme, emergency) = (folder.path().join("programme.wav"), folder.path().join("emergency.wav"));
    let mut line = sine(440.0, 0.25, 20);
    line.extend(std::iter::repeat_n(0, 60 * HZ * 2));
    write_wav(&programme, &line)?;
    write_wav(&emergency, &sine(1_000.0, 0.03, 7))?;
    let shelf = folder.path().join("recordings");
    let recording =
        format!("\n[recording]\nfolder = \"{}\"\noutput = \"main\"\nbudget = \"100 MB\"\n", shelf.display());
    let output = Output::live(&server).with(&rules(&emergency, &recording));
    let settings = Settings::new(Input::File(programme), output);
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    let rendition = settings.outputs[0].mounts[0].1.rendition();
    let witness = Listener::join(&server.url("/live"))?;
    daemon.wait_for("the file is on air", LATER, |status| on_air(status) == "emergency")?;
    let titled = daemon
        .wait_for("its title shows", SOON, |status| status.title.as_deref() == Some("Back in a moment"))?;
    undisturbed(&titled)?;
    daemon.wait_for("the line is back on air", LATER, |status| on_air(status) == "line-in")?;
    hear(&witness, &rendition, 14)?;
    let after = daemon.status()?;
    undisturbed(&after)?;
    ensure!(after.title.as_deref() != Some("Back in a moment"), "{:?}", after.title);

    let proof = contiguous(&witness, &rendition)?;
    let tenths: Vec<&[i16]> = proof.decoded.chunks_exact(HZ / 10).collect();
    let is = |hz: f64| tenths.iter().map(|tenth| level_at(hz, tenth) > -40.0).collect::<Vec<_>>();
    let (line, file) = (is(440.0), is(1_000.0));
    let dead: Vec<bool> = line.iter().zip(&file).map(|(line, file)| !line && !file).collect();
    let (from, to) = longest_run(&dead);
    // The act's time, and the part of the crossfade of 1 s in which the file is still faint; a tenth at each end.
    ensure!(to - from <= 10 * ACT_SECONDS + 10 + 2, "{} tenths of a second of dead air", to - from);
    // On the way back nothing but the crossfade.
    let (from, to) =
        longest_run(&dead.iter().enumerate().map(|(at, &is)| is && at >= to).collect::<Vec<_>>());
    ensure!(to - from <= 10 + 2, "{} tenths of a second of dead air on the way back", to - from);
    let (from, to) = longest_run(&file);
    // Without the fades.
    let heard = loudness(&proof.decoded[(from + 12) * HZ / 10..(to - 12) * HZ / 10])?;
    let (from, to) = longest_run(&line);
    let meant = loudness(&proof.decoded[(from + 12) * HZ / 10..(to - 12) * HZ / 10])?;
    ensure!((heard - meant).abs() < 1.0, "the file is heard at {heard} LUFS, the programme at {meant}");
    // What was sent around the change, and around the way back, is kept apart.
    for change in ["line-in-to-emergency", "emergency-to-line-in"] {
        mainstay_e2e::wait::until("the moment is kept apart", SOON, || {
            let clips = fs::read_dir(shelf.join("incidents")).map_err(|error| error.to_string())?;
            let mut names =
                clips.filter_map(Result::ok).map(|clip| clip.file_name().to_string_lossy().into_owned());
            let is_it = |name: &String| name.contains(change) && name.ends_with(".mp3");
            names.find(is_it).ok_or_else(|| format!("no clip of {change}"))
        })?;
    }
    Ok(())
}

#[test]
fn each_tier_gives_way_to_the_next_and_back_up_in_order() -> Result<()> {
    let server = Headend::default().start()?;
    let folder = tempfile::Builder::new().prefix("mainstay-e2e-").tempdir()?;
    let emergency = folder.path().join("emergency.wav");
    write_wav(&emergency, &sine(1_000.0, 0.1, 5))?;
    let studio_b = || foreign(&server.url("/studio-b"), SOURCE_PASSWORD, folder.path());
    let mut feed = studio_b()?;
    server.wait_for_source("/studio-b", SOON)?;
    let card = Card::new()?;
    let backup = format!(
        "\n[[backup]]\nname = \"studio-b\"\nstream = \"{}\"\nsettle = \"2 s\"\n",
        server.url("/studio-b")
    );
    let output = Output::live(&server).with(&rules(&emergency, &backup));
    let settings = Settings::new(card.input(), output);
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    let tier = |status: &Snapshot, name: &str| {
        let programme = status.programme.as_ref();
        programme.and_then(|programme| programme.tiers.iter().find(|tier| tier.name == name).cloned())
    };
    daemon.wait_for("all tiers are good", LATER, |status| {
        ["line-in", "studio-b", "emergency"].into_iter().all(|name| {
            tier(status, name).is_some_and(|tier| tier.condition == units::snapshot::TierCondition::Good)
        })
    })?;
    // The metronome is quieter than any threshold for most of the time: the card is lost, not silent.
    card.unplug()?;
    daemon.wait_for("B is on air", LATER, |status| on_air(status) == "studio-b")?;
    feed.kill()?;
    daemon.wait_for("the file is on air", LATER, |status| on_air(status) == "emergency")?;
    let ready = daemon.folder().join("state/emergency");
    let forms: Vec<_> = fs::read_dir(&ready)?.collect::<Result<_, _>>()?;
    ensure!(!forms.is_empty(), "no ready form in {}", ready.display());
    for form in &forms {
        fs::write(form.path(), b"damaged")?;
    }
    daemon.wait_for("the floor is on air", LATER, |status| on_air(status) == "floor")?;
    // Made anew, as a person would: the same file, put there once more.
    for form in &forms {
        fs::remove_file(form.path())?;
    }
    write_wav(&emergency, &sine(1_000.0, 0.1, 6))?;
    daemon.wait_for("the file is back", LATER, |status| on_air(status) == "emergency")?;
    feed = studio_b()?;
    daemon.wait_for("B is back", LATER, |status| on_air(status) == "studio-b")?;
    card.replug()?;
    let back = daemon.wait_for("the line-in is back", LATER, |status| on_air(status) == "line-in")?;
    undisturbed(&back)?;
    drop(feed);
    Ok(())
}

#[test]
fn a_platform_with_a_fallback_of_its_own_gets_its_chance() -> Result<()> {
    let server = Headend::default().start()?;
    let folder = tempfile::Builder::new().prefix("mainstay-e2e-").tempdir()?;
    let programme = folder.path().join("programme.wav");
    let mut line = sine(440.0, 0.25, 12);
    line.extend(std::iter::repeat_n(0, 14 * HZ * 2));
    write_wav(&programme, &line)?;
    let rules = "\n[silence]\nalarm = \"1 s\"\nact = \"2 s\"\n\n[programme]\non_silence = \"drop-primary\"\ntake_up = \"1 s\"\n";
    let settings = Settings::new(Input::File(programme), Output::live(&server).with(rules));
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    daemon.wait_for("the mounts are closed", LATER, |status| {
        status.programme.as_ref().is_some_and(|programme| programme.primary_dropped)
            && mounts(status).next().is_none()
    })?;
    mainstay_e2e::wait::until("the server has nothing of ours", SOON, || {
        match server.source("/live").map_err(|error| error.to_string())? {
            None => Ok(()),
            Some(source) => Err(source.to_string()),
        }
    })?;
    daemon.wait_for("the mounts are back", LATER, |status| {
        mounts(status).count() == 2 && mounts(status).all(|mount| mount.state.on_air())
    })?;
    Ok(())
}

#[test]
fn a_person_may_play_and_stay_and_an_order_outlives_a_restart() -> Result<()> {
    let server = Headend::default().start()?;
    let folder = tempfile::Builder::new().prefix("mainstay-e2e-").tempdir()?;
    let emergency = folder.path().join("emergency.wav");
    write_wav(&emergency, &sine(1_000.0, 0.1, 5))?;
    let output = Output::live(&server).with(&rules(&emergency, ""));
    let settings = Settings::new(Input::Tone(440), output);
    let mut daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    let ready = |status: &Snapshot| {
        let programme = status.programme.as_ref();
        programme.is_some_and(|programme| programme.tiers.iter().any(|tier| tier.name == "emergency"))
    };
    daemon.wait_for("the file is ready", SOON, ready)?;
    let played = daemon.cli(&["play", "--minutes", "5"])?;
    ensure!(played.status.success(), "{played:?}");
    let status = daemon.wait_for("it plays", SOON, |status| on_air(status) == "emergency")?;
    ensure!(status.programme.is_some_and(|programme| programme.order.is_some()), "the order does not show");
    let kept = daemon.folder().join("state/programme.json");
    mainstay_e2e::wait::until("the order is kept", SOON, || {
        let text = fs::read_to_string(&kept).map_err(|error| error.to_string())?;
        if text.contains("files") { Ok(()) } else { Err(text) }
    })?;
    let state = tempfile::tempdir()?;
    fs::create_dir_all(state.path().join("state"))?;
    fs::copy(&kept, state.path().join("state/programme.json"))?;
    ensure!(daemon.end()?.success(), "{}", daemon.log());
    settings.write(state.path())?;
    let again = Daemon::start_in(mainstay_e2e::Build::Debug, &settings, state)?;
    again.wait_for("the order goes on", LATER, |status| on_air(status) == "emergency")?;
    ensure!(again.cli(&["auto"])?.status.success());
    again.wait_for("the box chooses again", SOON, |status| on_air(status) == "line-in")?;
    let refused = again.cli(&["play", "nowhere"])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success() && said.contains("there is no tier nowhere"), "{said}");
    Ok(())
}

#[test]
fn the_box_says_which_trim_and_threshold_fit() -> Result<()> {
    let server = Headend::default().start()?;
    let folder = tempfile::Builder::new().prefix("mainstay-e2e-").tempdir()?;
    let other = foreign(&server.url("/other"), SOURCE_PASSWORD, folder.path())?;
    server.wait_for_source("/other", SOON)?;
    let settings = Settings::new(Input::Tone(440), Output::live(&server));
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    // The tone peaks at -20 dBFS on both sides.
    let said = daemon.cli(&["calibrate", "--seconds", "12", "--target", "-23"])?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(said.status.success() && text.contains("write in [levels_out]: trim = \"-"), "{text} {said:?}");
    let said = daemon.cli(&["match-loudness", &server.url("/other"), "--seconds", "12"])?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    ensure!(
        said.status.success() && text.contains("theirs: ") && text.contains("trim = "),
        "{text} {said:?}"
    );
    let said = daemon.cli(&["learn", "--seconds", "6"])?;
    ensure!(said.status.success(), "{said:?}");
    let gone = daemon.cli(&["match-loudness", &server.url("/nowhere"), "--seconds", "5"])?;
    ensure!(!gone.status.success(), "{gone:?}");
    drop(other);
    Ok(())
}
