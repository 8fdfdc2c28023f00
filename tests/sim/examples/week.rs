//! A week of a card that is 100 ppm fast or slow, in each clock mode, with the box's own fit and control laws: what becomes
//! of the box's latency, and of the backlog at a server-side player that plays at the nominal rate.
//! `cargo run --release -p mainstay-sim --example week [DAYS]`; a week if left out.
//!
//! Sound is fluid here (frames are counted, not made); the stamps are as bad as a real machine's: tens of microseconds late
//! nearly always, milliseconds now and then, on a card that counts in steps of a millisecond, whose crystal warms and cools
//! by 3 ppm a day. Every night an overrun of 0.3 s, once a machine stopped for 20 s, once a card unplugged for an hour.

use std::process::ExitCode;

use capture::drift::Fit;
use capture::steer::{Level, ToSystem};
use units::SampleRate;

const HZ: f64 = 48_000.0;
const PERIOD: u64 = 2_304;
const DAY: f64 = 86_400.0;
/// What Icecast sends a new listener at once, and what it lets one lag behind: 64 KiB and 512 KiB at 128 kbit/s.
const BURST: f64 = 65_536.0 / 16_000.0;
const QUEUE: f64 = 524_288.0 / 16_000.0;
/// Frames of an MP3 packet.
const PACKET: f64 = 1_152.0;
/// Seconds that a resampled programme may be off, at any time of the week.
const BOUND: f64 = 0.05;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Report,
    Resample,
}

fn main() -> ExitCode {
    let days = std::env::args().nth(1).map_or(7, |text| text.parse().expect("DAYS is a whole number"));
    let mut held = true;
    for mode in [Mode::Report, Mode::Resample] {
        for ppm in [100.0, -100.0] {
            held &= week(mode, ppm, days);
        }
    }
    for ppm in [100.0, -100.0] {
        held &= second_card(ppm, days);
        held &= stream(ppm, days);
    }
    if held {
        ExitCode::SUCCESS
    } else {
        println!("A BOUND WAS BROKEN");
        ExitCode::FAILURE
    }
}

/// A cheap repeatable dice, 0 to 1.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Seconds by which a thread stamps late.
    fn late(&mut self) -> f64 {
        if self.roll() < 0.01 { 0.02 * self.roll() } else { -20e-6 * self.roll().max(1e-9).ln() }
    }
}

/// The least and the most of a figure.
#[derive(Clone, Copy)]
struct Range(f64, f64);

impl Range {
    const NONE: Self = Self(f64::INFINITY, f64::NEG_INFINITY);

    fn see(&mut self, value: f64) {
        *self = Self(self.0.min(value), self.1.max(value));
    }
}

/// A listener's player behind Icecast, which plays at the nominal rate.
struct Player {
    /// Seconds of sound that are at hand: in the player, the sockets and the server's queue.
    buffer: f64,
    /// Seconds of pause that are left.
    pause: f64,
    pauses: u32,
    cut_off: u32,
}

impl Player {
    fn play(&mut self, came: f64, elapsed: f64) {
        self.buffer += came;
        if self.pause > 0.0 {
            self.pause -= elapsed;
            return;
        }
        self.buffer -= elapsed;
        if self.buffer <= 0.0 {
            // It waits until it has as much again.
            self.pauses += 1;
            self.pause = BURST;
        } else if self.buffer > QUEUE + BURST {
            // The server takes it for too slow; it joins again.
            self.cut_off += 1;
            self.buffer = BURST;
        }
    }
}

/// A card that is read period by period.
struct Card {
    ppm: f64,
    /// True time, in seconds.
    now: f64,
    frames: u64,
}

impl Card {
    fn read(&mut self) -> f64 {
        let warmth = 3.0 * (self.now / DAY * std::f64::consts::TAU).sin();
        let elapsed = PERIOD as f64 / HZ / (1.0 + (self.ppm + warmth) / 1e6);
        self.now += elapsed;
        self.frames += PERIOD;
        elapsed
    }
}

fn week(mode: Mode, ppm: f64, days: u32) -> bool {
    let name = if mode == Mode::Report { "report" } else { "resample" };
    println!("clock = \"{name}\", a card at {ppm:+} ppm");
    println!(
        "  day   drift told, ppm   box's latency, ms   backlog at the nominal player, ms   a player's buffer, s"
    );
    let (mut fit, mut law) = (Fit::new(SampleRate::Hz48000), ToSystem::new(SampleRate::Hz48000));
    let (mut dice, mut card) = (Dice(1), Card { ppm, now: 0.0, frames: 0 });
    let mut player = Player { buffer: BURST, pause: 0.0, pauses: 0, cut_off: 0 };
    let (mut made, mut position) = (0.0, 0_u64);
    let (mut fit_ok, mut worst) = (true, Range::NONE);
    for day in 1..=days {
        let (mut latency, mut backlog, mut buffer) = (Range::NONE, Range::NONE, Range::NONE);
        let ends = f64::from(day) * DAY;
        let mut trouble = [(ends - 0.3 * DAY, 0.3), (ends - 0.2 * DAY, 0.0)];
        trouble[1].1 = match day {
            3 => 20.0,
            5 => 3_600.0,
            _ => 0.0,
        };
        for (at, missing) in trouble {
            while card.now < at {
                step(
                    mode,
                    &mut card,
                    &mut dice,
                    &mut fit,
                    &mut law,
                    &mut made,
                    &mut position,
                    |latest, came, elapsed, now, made| {
                        latency.see(latest);
                        player.play(came, elapsed);
                        buffer.see(player.buffer);
                        backlog.see(made / HZ - now);
                    },
                );
            }
            if missing > 0.0 {
                // Silence by the system's clock, to within two frames.
                let silence = missing * HZ + (dice.roll() * 4.0 - 2.0).round();
                made += silence * if mode == Mode::Report { 1.0 } else { law.standing_in() };
                position += silence as u64;
                card.now += missing;
                player.play(missing, missing);
                if missing > 1_000.0 {
                    fit.restart()
                } else {
                    fit.interrupted()
                }
                law.back();
            }
        }
        while card.now < ends {
            step(
                mode,
                &mut card,
                &mut dice,
                &mut fit,
                &mut law,
                &mut made,
                &mut position,
                |latest, came, elapsed, now, made| {
                    latency.see(latest);
                    player.play(came, elapsed);
                    buffer.see(player.buffer);
                    backlog.see(made / HZ - now);
                },
            );
        }
        let drift = fit.drift().expect("a day is enough");
        // What the crystal did over the window is part of what it may be off by.
        fit_ok &= (drift.ppm - ppm).abs() <= 3.5;
        println!(
            "  {day:3}   {:8.3} +- {:5.3}   {:6.1} to {:6.1}   {:12.1} to {:9.1}   {:17.2} to {:5.2}",
            drift.ppm,
            drift.uncertainty_ppm,
            latency.0 * 1e3,
            latency.1 * 1e3,
            backlog.0 * 1e3,
            backlog.1 * 1e3,
            buffer.0,
            buffer.1
        );
        worst = Range(worst.0.min(backlog.0), worst.1.max(backlog.1));
        fit_ok &= latency.1 < 0.2;
    }
    println!("  the player paused {} times and was cut off {} times\n", player.pauses, player.cut_off);
    match mode {
        Mode::Resample => {
            fit_ok && worst.0 > -BOUND && worst.1 < BOUND && player.pauses + player.cut_off == 0
        }
        // All of the drift arrives at the player, or this is no card of that drift.
        Mode::Report => {
            let due = ppm / 1e6 * DAY * f64::from(days);
            let came = if ppm > 0.0 { worst.1 } else { worst.0 };
            fit_ok && (came / due - 1.0).abs() < 0.05
        }
    }
}

/// One period: read, stamped, fitted, resampled, encoded, sent. Tells the oldest frame's age in s at the encoder, what came
/// to the player, the time that passed, the time, and the frames made.
#[expect(clippy::too_many_arguments, reason = "a step of the model touches all of it")]
fn step(
    mode: Mode,
    card: &mut Card,
    dice: &mut Dice,
    fit: &mut Fit,
    law: &mut ToSystem,
    made: &mut f64,
    position: &mut u64,
    mut see: impl FnMut(f64, f64, f64, f64, f64),
) {
    let elapsed = card.read();
    let late = dice.late();
    // Its counter moves in steps of 48 frames: the stamp is late by what of them has not been told.
    let told = late + dice.roll() * 0.001;
    let ratio = match mode {
        Mode::Report => 1.0,
        Mode::Resample => law.ratio(fit, *position, PERIOD, *made),
    };
    *position += PERIOD;
    fit.observe(((card.now + told) * 1e9) as i64, *position);
    let waiting = *made % PACKET;
    let came = PERIOD as f64 * ratio;
    *made += came;
    // The filter's half length, in resample mode.
    let filter = if mode == Mode::Resample { 64.0 } else { 0.0 };
    see((waiting + came + filter) / HZ + late, came / HZ, elapsed, card.now, *made);
}

/// A second card at `ppm` beside a first at the opposite: how far it lies behind over the week.
fn second_card(ppm: f64, days: u32) -> bool {
    let (mut dice, mut law) = (Dice(2), Level::of_stamps());
    let (mut now, mut captured, mut read, mut seen) = (0.0, 0.0, 0.0, Range::NONE);
    let mut step = PERIOD as f64 / HZ;
    while now < f64::from(days) * DAY {
        let elapsed = PERIOD as f64 / HZ / (1.0 - ppm / 1e6);
        now += elapsed;
        captured += elapsed * HZ * (1.0 + ppm / 1e6);
        let excess = (captured - read) / HZ - step + dice.late() - dice.late();
        if now > 600.0 {
            seen.see((captured - read) / HZ - step);
        }
        step = PERIOD as f64 / HZ;
        read += PERIOD as f64 * law.speed(excess, step);
    }
    println!(
        "a second card {:+} ppm beside the first: {:.2} to {:.2} ms from where it sat down; {:.1} ppm learned",
        2.0 * ppm,
        seen.0 * 1e3,
        seen.1 * 1e3,
        law.learned_ppm()
    );
    seen.0 > -0.02 && seen.1 < 0.02
}

/// A stream whose encoder is `ppm` fast, which arrives in lumps of half a second and stands still for two seconds every
/// hour: how full its buffer of 2.5 s is over the week.
fn stream(ppm: f64, days: u32) -> bool {
    let (mut dice, mut law) = (Dice(3), Level::of_arrivals());
    let (mut now, mut sent, mut level, mut seen, mut due) = (0.0, 0.0, 2.5, Range::NONE, 0.0);
    let step = PERIOD as f64 / HZ;
    while now < f64::from(days) * DAY {
        now += step;
        sent += step * (1.0 + ppm / 1e6);
        let stands_still = now % 3_600.0 < 2.0;
        if now >= due && !stands_still {
            level += sent;
            sent = 0.0;
            due = now + 0.5 * dice.roll();
        }
        level -= step * law.speed(level - 2.5, step);
        seen.see(level);
    }
    println!(
        "a stream of an encoder at {ppm:+} ppm: {:.2} to {:.2} s kept ahead; {:.1} ppm learned",
        seen.0,
        seen.1,
        law.learned_ppm()
    );
    seen.0 > 0.0 && seen.1 < 5.0
}
