//! A card that is unplugged and comes back: mounts stay connected, and the gap is counted to the frame.

use anyhow::{Result, ensure};
use mainstay_e2e::card::Card;
use mainstay_e2e::daemon::Daemon;
use mainstay_e2e::icecast::Headend;
use mainstay_e2e::listener::Listener;
use mainstay_e2e::metronome;
use mainstay_e2e::proof::{contiguous, hear, unbroken};
use mainstay_e2e::settings::{Output, Settings};
use units::snapshot::InputState;

use crate::stage::{SOON, metronome as metronome_file};

#[test]
fn a_card_that_comes_back_leaves_silence_of_the_exact_length() -> Result<()> {
    let server = Headend::default().start()?;
    let card = Card::new()?;
    let settings = Settings::new(card.input(), Output::live(&server));
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    let rendition = settings.outputs[0].mounts[0].1.rendition();
    let witness = Listener::join(&server.url("/live"))?;
    hear(&witness, &rendition, 6)?;

    card.unplug()?;
    let lost = daemon.wait_for("the card is missed", SOON, |status| {
        matches!(status.input.state, InputState::Lost { .. })
    })?;
    hear(&witness, &rendition, 3)?;
    card.replug()?;
    let back = daemon.wait_for("the card is back", SOON, |status| {
        status.input.state == InputState::Capturing && status.input.gap_frames > lost.input.gap_frames
    })?;
    // The noise floor stood in, and is faded out once the card was good for a moment.
    hear(&witness, &rendition, 10)?;
    ensure!(back.input.gaps == 1 && back.input.gap_frames.0 > 0, "{:?}", back.input);

    let status = daemon.status()?;
    for mount in &status.outputs[0].mounts {
        ensure!((mount.accepted, mount.failures) == (1, 0) && mount.state.on_air(), "{mount:?}");
    }
    let proof = contiguous(&witness, &rendition)?;
    let slip = metronome::slip_over_silence(&proof.decoded)?;
    // MP3 moves the peak of a click by a frame or two.
    ensure!(slip.abs() <= 4, "after the gap the programme is {slip} frames off");
    Ok(())
}

#[test]
fn an_overrun_is_counted_and_no_mount_lost() -> Result<()> {
    let server = Headend::default().start()?;
    let card = Card::new()?;
    let settings = Settings::new(card.input(), Output::live(&server));
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;
    card.fault("overrun 100")?;
    let status = daemon.wait_for("the overrun is counted", SOON, |status| {
        status.input.xruns == 1 && status.input.state == InputState::Capturing
    })?;
    ensure!(status.input.gaps == 1 && status.input.gap_frames.0 > 0, "{:?}", status.input);
    let rendition = settings.outputs[0].mounts[0].1.rendition();
    // A listener's burst reaches back over the overrun unless some seconds have passed.
    let clear = status.input.frames.0 + 4 * u64::from(status.input.rate_hz);
    daemon.wait_for("the overrun is out of the burst", SOON, |status| status.input.frames.0 > clear)?;
    let witness = Listener::join(&server.url("/live"))?;
    hear(&witness, &rendition, 5)?;
    unbroken(&witness, &rendition)?;
    let after = daemon.status()?;
    ensure!(after.input.gaps == 1, "{:?}", after.input);
    for mount in &after.outputs[0].mounts {
        ensure!((mount.accepted, mount.failures) == (1, 0) && mount.state.on_air(), "{mount:?}");
    }
    Ok(())
}

#[test]
fn a_tone_and_a_file_need_no_card() -> Result<()> {
    let server = Headend::default().start()?;
    let (_folder, input) = metronome_file()?;
    for input in [input, mainstay_e2e::settings::Input::Tone(1000)] {
        let tone = matches!(input, mainstay_e2e::settings::Input::Tone(_));
        let settings = Settings::new(input, Output::live(&server));
        let mut daemon = Daemon::start(&settings)?;
        daemon.wait_until_verified(SOON)?;
        let rendition = settings.outputs[0].mounts[1].1.rendition();
        let listener = Listener::join(&server.url("/live_fallback"))?;
        hear(&listener, &rendition, 8)?;
        if tone {
            let levels = daemon.status()?.levels;
            ensure!(levels.is_some_and(|levels| !levels.silent && !levels.clipped), "a tone is no silence");
            contiguous(&listener, &rendition)?;
        } else {
            unbroken(&listener, &rendition)?;
        }
        ensure!(daemon.end()?.success(), "{}", daemon.log());
    }
    Ok(())
}
