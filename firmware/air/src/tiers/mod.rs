//! What goes on air: the input, further inputs, emergency audio or the noise floor; watched, chosen, faded into one another,
//! levelled and measured. This is the edge of `programme::tiers`: it renders and tells, and decides nothing.
//!
//! Runs with the first input's periods, whose clock is the programme's; further inputs follow it.

mod emergency;
mod listening;
mod watched;

use std::time::Duration;

use ::emergency::{Event, Player, Position, State};
use capture::{Filled, Follower, PeriodKind};
use programme::fault::{Kind, Watch};
use programme::levels_out::{Gain, Headroom, LevelsOut, LevelsOutConfig};
use programme::tiers::{Alarm, Condition, Decision, GoBack, Order, Tier, TiersConfig, Why};
use programme::{GoodHour, Meter, Mix, Noise};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::UnboundedSender;
use units::snapshot::{Levels, OrderReport, ProgrammeReport, TierCondition, TierOrder, TierReport};
use units::{Channels, Dbfs, Frames, Instant, Lufs, SampleRate, WallTime};

use self::listening::Listening;
use self::watched::Watched;
use crate::clock;
use crate::sound::chain;

pub(crate) use self::emergency::{Prepared, Seen, prepare};
pub(crate) use self::listening::{Heard, Wanted, loudness_of, propose, propose_match};

/// All that the settings say about it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Setup {
    pub faults: programme::fault::Config,
    pub rules: TiersConfig,
    pub levels_out: LevelsOutConfig,
    pub meters: bool,
    pub backups: Vec<settings::Backup>,
    pub emergency: settings::Emergency,
}

/// What the rest of the box has to do.
#[derive(Debug)]
pub(crate) enum News {
    /// The emergency audio's title is to be shown, or the usual one again.
    Title(Option<String>),
    /// All mounts are to be closed, or opened again.
    Dropped(bool),
    /// An order began or ended: to be kept.
    Ordered,
    /// Something else is on air because of a fault, or an input is back: what was sent around that moment is of interest.
    Changed(String),
}

/// What outlives a restart.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kept {
    pub order: Option<Order>,
    /// Loudness of the programme's last good hour.
    pub loudness: Option<Lufs>,
    /// Where emergency audio goes on.
    pub position: Option<Position>,
}

/// The sources of one programme.
pub(crate) struct Tiers {
    setup: Setup,
    rate: SampleRate,
    channels: Channels,
    /// The first is the input itself.
    inputs: Vec<Watched>,
    /// One for each further input; `None` until it could be opened.
    followers: Vec<Option<Follower>>,
    player: Option<Player>,
    /// One with newer files, for when this one is not heard any more.
    next_player: Option<Player>,
    /// The files as they were when they were made ready.
    seen: Option<Seen>,
    /// Emergency files that were refused, in words.
    refused: Vec<String>,
    position: Option<Position>,
    policy: programme::tiers::Tiers,
    mix: Mix,
    noise: Noise,
    out: LevelsOut,
    meter: Option<Meter>,
    hour: GoodHour,
    listening: Vec<Listening>,
    /// The programme of this period, where it is not the input's own.
    mixed: Vec<f32>,
    /// One source's part of it, for each further input and one for the rest.
    parts: Vec<Vec<f32>>,
    /// When the policy wants to be ticked.
    due: Option<Instant>,
    /// When the player was last asked what happened.
    asked: Instant,
    ending: bool,
    news: UnboundedSender<News>,
}

impl Tiers {
    /// Nothing heard yet; the input is on air.
    pub(crate) fn new(
        setup: Setup,
        what: &str,
        rate: SampleRate,
        channels: Channels,
        kept: &Kept,
        news: UnboundedSender<News>,
    ) -> anyhow::Result<Self> {
        let now = clock::now();
        let watch = || Watch::new(setup.faults, rate, channels);
        let mut inputs = vec![Watched::new(LINE_IN.to_string(), what.to_string(), watch()?)];
        for backup in &setup.backups {
            inputs.push(Watched::new(backup.name.clone(), what_of(&backup.source), watch()?));
        }
        // Emergency audio is matched to the programme's loudness, which somebody has to measure.
        let matched = !setup.emergency.files.is_empty() && setup.emergency.match_loudness;
        let meter =
            if setup.meters || matched { Some(Meter::new(Meter::HISTORY, rate, channels)?) } else { None };
        let mut policy = programme::tiers::Tiers::new(now, setup.rules.clone())?;
        if let Some((order, left)) = kept.order.and_then(|order| Some((order, order.left_at(clock::wall())?)))
        {
            // An order for a tier that has gone meanwhile is no order.
            let _ = policy.order(now, order.tier, left, order.ends);
        }
        let mut tiers = Self {
            rate,
            channels,
            followers: setup.backups.iter().map(|_| None).collect(),
            parts: vec![Vec::new(); setup.backups.len() + 1],
            inputs,
            player: None,
            next_player: None,
            seen: None,
            refused: Vec::new(),
            position: kept.position,
            policy,
            mix: Mix::new(Tier::Input(0)),
            noise: Noise::new(Dbfs::new(Noise::FLOOR_DBFS)),
            out: LevelsOut::new(setup.levels_out, rate, channels),
            meter,
            hour: GoodHour::new(kept.loudness),
            listening: Vec::new(),
            mixed: Vec::new(),
            due: Some(now),
            asked: now,
            ending: false,
            news,
            setup,
        };
        tiers.carry_out(now);
        Ok(tiers)
    }

    pub(crate) const fn setup(&self) -> &Setup {
        &self.setup
    }

    pub(crate) const fn format(&self) -> (SampleRate, Channels) {
        (self.rate, self.channels)
    }

    /// A further input could be opened.
    pub(crate) fn backup_opened(&mut self, place: usize, follower: Follower) {
        if let Some(slot) = self.followers.get_mut(place) {
            *slot = Some(follower);
        }
    }

    /// A further input could not be opened, for this reason. It is tried again.
    pub(crate) fn backup_failed(&mut self, place: usize, why: String) {
        let now = clock::now();
        if let Some(input) = self.inputs.get_mut(place + 1) {
            input.lost = Some(why.clone());
            self.policy.condition(now, Tier::Input(place as u8 + 1), Condition::Bad { why });
            self.carry_out(now);
        }
    }

    /// Further inputs that have to be opened anew. What is left of them comes along, to be dropped where that may take time.
    pub(crate) fn ended_backups(&mut self) -> Vec<(usize, Option<Follower>)> {
        let ended =
            |follower: &Option<Follower>| follower.as_ref().is_none_or(|follower| follower.ended().is_some());
        let places: Vec<usize> =
            (0..self.followers.len()).filter(|&place| ended(&self.followers[place])).collect();
        places.into_iter().map(|place| (place, self.followers[place].take())).collect()
    }

    /// All that may take its time to be closed.
    pub(crate) fn into_closing(self) -> (Vec<Option<Follower>>, Option<Player>) {
        (self.followers, self.player)
    }

    /// Emergency audio is there, or what can be had of it.
    pub(crate) fn emergency(&mut self, prepared: Prepared) {
        let Prepared { player, refused, seen } = prepared;
        self.seen = Some(seen);
        self.refused = refused;
        self.next_player = player;
        self.look_at_files(clock::now());
    }

    /// The emergency files as they were when they were last made ready; `None` if they never were.
    pub(crate) fn seen_files(&self) -> Option<Seen> {
        self.seen.clone()
    }

    /// Where emergency audio would go on.
    pub(crate) fn resume(&self) -> Option<Position> {
        self.player.as_ref().and_then(Player::position).or(self.position)
    }

    /// Takes the input's next period and gives the programme's.
    pub(crate) fn period<'a>(
        &'a mut self,
        now: Instant,
        period: &capture::Period<'a>,
        why: impl FnOnce() -> Option<String>,
    ) -> &'a [f32] {
        let pcm = period.samples;
        let is_lost = period.kind == PeriodKind::Silence;
        for listening in &mut self.listening {
            listening.line(pcm);
        }
        if let Some(condition) = self.inputs[0].feed(pcm, is_lost, why) {
            self.policy.condition(now, Tier::Input(0), condition);
            self.due = Some(now);
        }
        self.backups(now, pcm.len(), period.stamp);
        let on_air = self.mix.to() == Tier::Files;
        if on_air || now.since(self.asked) >= ASK {
            self.look_at_files(now);
        }
        if self.due.is_some_and(|due| due <= now) {
            self.policy.tick(now);
            self.carry_out(now);
        }
        let rendered = self.render(pcm, now);
        let out: &[f32] = if rendered { &self.mixed } else { pcm };
        if let Some(meter) = &mut self.meter {
            meter.feed(out);
            let good = self.mix.alone().is_some_and(|tier| matches!(tier, Tier::Input(_)));
            if good && self.policy_is_content() {
                let trim = f64::from(self.out.trim().db());
                for loudness in self.meter.as_ref().map_or(&[][..], Meter::newest) {
                    self.hour.window(loudness - trim);
                }
            }
        }
        for listening in &mut self.listening {
            listening.programme(out);
        }
        self.listening.retain_mut(|listening| !listening.is_over());
        if rendered { &self.mixed } else { pcm }
    }

    /// Whether nothing is wrong with the input that is on air.
    fn policy_is_content(&self) -> bool {
        match self.policy.on_air() {
            Tier::Input(n) => self.inputs[usize::from(n)].watch.state().next().is_none(),
            Tier::Files | Tier::Floor => false,
        }
    }

    /// Lets further inputs follow: the ones that are heard for air, the others to be watched.
    fn backups(&mut self, now: Instant, samples: usize, stamp: Instant) {
        for place in 0..self.followers.len() {
            let tier = Tier::Input(place as u8 + 1);
            let Some(follower) = &mut self.followers[place] else { continue };
            let part = &mut self.parts[place];
            part.resize(samples, 0.0);
            let heard = self.mix.heard().any(|heard| heard == tier);
            let filled = if heard { follower.pull(part, stamp) } else { follower.watch(part, stamp) };
            let ended = follower.ended().map(|error| chain(error));
            let why = || {
                ended.or_else(|| match follower.capture().status().report(now).state {
                    units::snapshot::InputState::Lost { why, .. } => Some(why),
                    units::snapshot::InputState::Starting | units::snapshot::InputState::Capturing => None,
                })
            };
            if let Some(condition) = self.inputs[place + 1].feed(part, filled == Filled::Silence, why) {
                self.policy.condition(now, tier, condition);
                self.due = Some(now);
            }
        }
    }

    /// Mixes and levels the programme into `mixed`; false where the input's own samples are it, untouched.
    fn render(&mut self, pcm: &[f32], now: Instant) -> bool {
        if self.mix.alone() == Some(Tier::Input(0)) {
            if !self.out.is_active() {
                return false;
            }
            self.mixed.clear();
            self.mixed.extend_from_slice(pcm);
        } else {
            self.mixed.clear();
            self.mixed.resize(pcm.len(), 0.0);
            let channels = self.channels.count();
            let heard: [Option<Tier>; Mix::MOST] = {
                let mut heard = self.mix.heard();
                std::array::from_fn(|_| heard.next())
            };
            for tier in heard.into_iter().flatten() {
                self.add(tier, pcm, channels);
            }
            let frames = Frames((pcm.len() / channels) as u64);
            if self.mix.advance(frames) && self.mix.to() != Tier::Files {
                self.position = self.resume();
            }
            self.look_for_the_songs_end(now);
        }
        self.out.process(&mut self.mixed);
        true
    }

    /// Adds one tier's part of the programme.
    fn add(&mut self, tier: Tier, pcm: &[f32], channels: usize) {
        match tier {
            Tier::Input(0) => self.mix.add(tier, pcm, channels, &mut self.mixed),
            Tier::Input(n) => self.mix.add(tier, &self.parts[usize::from(n) - 1], channels, &mut self.mixed),
            Tier::Files | Tier::Floor => {
                let rest = self.parts.len() - 1;
                let part = &mut self.parts[rest];
                part.resize(pcm.len(), 0.0);
                let player = self.player.as_mut().filter(|_| tier == Tier::Files);
                let done = player.map_or(0, |player| player.pull(part)) * channels;
                self.noise.fill(&mut part[done..]);
                self.mix.add(tier, part, channels, &mut self.mixed);
            }
        }
    }

    fn look_for_the_songs_end(&mut self, now: Instant) {
        if self.mix.to() != Tier::Files || !matches!(self.setup.rules.files, GoBack::AtSongEnd { .. }) {
            return;
        }
        let fade = Frames::in_span(self.setup.rules.crossfade, self.rate);
        let left = self.player.as_ref().and_then(Player::frames_left_in_song);
        let ending = left.is_some_and(|left| left <= fade);
        if std::mem::replace(&mut self.ending, ending) != ending {
            self.policy.song_ending(now, ending);
            self.carry_out(now);
        }
    }

    /// Asks the player what happened, and tells the policy how it is.
    fn look_at_files(&mut self, now: Instant) {
        self.asked = now;
        // One that is heard plays on.
        if self.next_player.is_some()
            && (self.player.is_none() || self.mix.heard().all(|tier| tier != Tier::Files))
        {
            self.player = self.next_player.take();
        }
        let Some(player) = &mut self.player else {
            if !self.refused.is_empty() {
                self.policy.condition(now, Tier::Files, Condition::Bad { why: self.refused.join("; ") });
                self.due = Some(now);
            }
            return;
        };
        let heard = self.mix.to() == Tier::Files;
        while let Some(event) = player.poll() {
            match event {
                Event::Began { .. } if heard => {
                    let _ = self.news.send(News::Title(Some(player.title().unwrap_or_default().to_string())));
                }
                Event::Began { .. } => {}
                Event::Skipped { why, .. } => tracing::error!(alarm = true, "emergency audio: {why}"),
                Event::NothingToPlay { why } => tracing::error!(alarm = true, "no emergency audio: {why}"),
                Event::PlayableAgain => tracing::info!("emergency audio can be played again"),
                Event::Underrun => tracing::warn!("the disk did not keep up with the emergency audio"),
            }
        }
        let condition = match player.state() {
            State::Filling => Condition::Suspect,
            State::Playable if self.refused.is_empty() => Condition::Good,
            State::Playable => Condition::Alarm { why: self.refused.join("; "), worsening: false },
            State::NothingToPlay { why } => Condition::Bad { why: why.clone() },
        };
        self.policy.condition(now, Tier::Files, condition);
        // Nothing but a change makes a decision; without one this is a glance.
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Instant) {
        while let Some(decision) = self.policy.poll() {
            match decision {
                Decision::PutOnAir { tier, from, crossfade, why } => {
                    let (name, before) = (self.name(tier), self.name(from));
                    tracing::warn!(from = before, to = name, "on air: {name} ({})", why_in_words(why));
                    if matches!(why, Why::Fell | Why::Returned) {
                        let _ = self.news.send(News::Changed(format!("{before}-to-{name}")));
                    }
                    if tier == Tier::Files {
                        self.begin_files();
                    } else if from == Tier::Files {
                        let _ = self.news.send(News::Title(None));
                    }
                    self.mix.fade_to(tier, Frames::in_span(crossfade, self.rate));
                }
                Decision::DropPrimary => {
                    let _ = self.news.send(News::Changed("primary-dropped".to_string()));
                    let _ = self.news.send(News::Dropped(true));
                }
                Decision::TakeUpPrimary => {
                    let _ = self.news.send(News::Dropped(false));
                }
                Decision::AlarmBegan { alarm, why } => {
                    tracing::error!(alarm = true, "{}", self.words(alarm, &why));
                }
                Decision::AlarmReminder { alarm, why, lasted } => {
                    let minutes = lasted.as_secs() / 60;
                    tracing::error!(alarm = true, "still, for {minutes} min: {}", self.words(alarm, &why));
                }
                Decision::AlarmEnded { alarm, lasted } => {
                    tracing::info!("over after {} s: {}", lasted.as_secs(), self.subject(alarm));
                }
                Decision::OrderEnded { tier } => {
                    tracing::info!("the order for {} has ended", self.name(tier));
                    let _ = self.news.send(News::Ordered);
                }
            }
        }
        self.due = self.policy.wakeup(now);
    }

    /// Emergency audio goes on air: as loud as the programme was.
    fn begin_files(&mut self) {
        let matching = self.hour.matching();
        let matched = self.setup.emergency.match_loudness;
        let Some(player) = &mut self.player else { return };
        if matched {
            player.set_gain(move |ready| matching.gain_db(ready.loudness, ready.true_peak));
        }
        let _ = self.news.send(News::Title(Some(player.title().unwrap_or_default().to_string())));
    }

    /// Carries a person's order out.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn order(&mut self, order: &TierOrder) -> Result<String, String> {
        let now = clock::now();
        let (tier, seconds) = match order {
            TierOrder::Auto => {
                self.policy.automatic(now);
                self.carry_out(now);
                return Ok("the box chooses by itself again".to_string());
            }
            TierOrder::Stay { seconds } => (Tier::Input(0), *seconds),
            TierOrder::Play { tier: None, seconds } => (Tier::Files, *seconds),
            TierOrder::Play { tier: Some(name), seconds } => (self.tier(name)?, *seconds),
        };
        if tier == Tier::Files && self.player.is_none() {
            return Err(match self.refused.first() {
                Some(why) => format!("there is no emergency audio to play: {why}"),
                None => "there is no emergency audio; name files in [emergency], then: mainstay reload"
                    .to_string(),
            });
        }
        let lasts = Duration::from_secs(seconds).min(Order::LONGEST);
        let ends = match clock::wall() {
            WallTime::Unix(wall) => WallTime::Unix(wall + lasts.as_secs()),
            WallTime::Unknown => WallTime::Unknown,
        };
        self.policy.order(now, tier, lasts, ends).map_err(|error| chain(&error))?;
        self.carry_out(now);
        let _ = self.news.send(News::Ordered);
        Ok(format!("{} for {} min, then by itself", self.name(tier), lasts.as_secs().div_ceil(60)))
    }

    fn tier(&self, name: &str) -> Result<Tier, String> {
        match name {
            EMERGENCY => Ok(Tier::Files),
            FLOOR => Ok(Tier::Floor),
            _ => {
                let place = self.inputs.iter().position(|input| input.name == name);
                place
                    .map(|place| Tier::Input(place as u8))
                    .ok_or_else(|| format!("there is no tier {name}; `mainstay status` shows all"))
            }
        }
    }

    /// What outlives a restart.
    pub(crate) fn kept(&mut self) -> Kept {
        Kept {
            order: self.policy.kept(clock::now()),
            loudness: self.hour.loudness(),
            position: self.resume(),
        }
    }

    /// Listens to the line or the programme for a while.
    pub(crate) fn listen(
        &mut self,
        wanted: Wanted,
        span: Duration,
    ) -> anyhow::Result<tokio::sync::oneshot::Receiver<Heard>> {
        let (listening, heard) = Listening::new(wanted, span, self.rate, self.channels)?;
        self.listening.push(listening);
        Ok(heard)
    }

    /// The trim in force, and what keeps peaks down.
    pub(crate) fn trim(&self) -> (Gain, Headroom) {
        let headroom = match &self.setup.levels_out.limiter {
            Some(_) => Headroom::Limited,
            None => Headroom::Ceiling(Dbfs::new(-1.0)),
        };
        (self.out.trim(), headroom)
    }

    /// Levels of the programme; silence and clipping are those of the input that is on air.
    pub(crate) fn levels(&mut self) -> Option<Levels> {
        if !self.setup.meters {
            return None;
        }
        let mut levels = self.meter.as_mut()?.levels();
        (levels.silent, levels.quiet_for, levels.clipped) = match self.policy.on_air() {
            Tier::Input(n) => {
                let watch = &self.inputs[usize::from(n)].watch;
                let is = |kind| watch.stage(kind).is_some();
                (is(Kind::Silence), watch.quiet_for(), is(Kind::Clipping) || is(Kind::Overload))
            }
            Tier::Files | Tier::Floor => (false, Duration::ZERO, false),
        };
        Some(levels)
    }

    /// For how long the programme has been quiet: a pause in which nobody notices a move.
    pub(crate) fn quiet_for(&self) -> Duration {
        match self.policy.on_air() {
            Tier::Input(n) => self.inputs[usize::from(n)].watch.quiet_for(),
            Tier::Files | Tier::Floor => Duration::ZERO,
        }
    }

    /// The tiers as people see them.
    pub(crate) fn report(&self, now: Instant) -> ProgrammeReport {
        let report = self.policy.report(now);
        let mut tiers: Vec<TierReport> = Vec::new();
        for tier in &report.tiers {
            let (condition, why) = match &tier.condition {
                Condition::Good => (TierCondition::Good, None),
                // Quiet at this moment is no trouble yet.
                Condition::Suspect => (TierCondition::Good, None),
                Condition::Alarm { why, .. } => (TierCondition::Alarm, Some(why.clone())),
                Condition::Bad { why } => (TierCondition::Bad, Some(why.clone())),
                Condition::Absent => continue,
            };
            let input = match tier.tier {
                Tier::Input(n) => self.inputs.get(usize::from(n)),
                Tier::Files | Tier::Floor => None,
            };
            tiers.push(TierReport {
                name: self.name(tier.tier).to_string(),
                what: input.map_or_else(|| self.song(), |input| input.what.clone()),
                condition,
                since: now - tier.lasting,
                why,
                faults: input.map(|input| input.faults(self.rate)).unwrap_or_default(),
            });
        }
        tiers.push(TierReport {
            name: FLOOR.to_string(),
            what: format!("noise at {} dBFS", Noise::FLOOR_DBFS),
            condition: TierCondition::Good,
            since: Instant::ZERO,
            why: None,
            faults: Vec::new(),
        });
        ProgrammeReport {
            on_air: self.name(report.on_air).to_string(),
            since: now - report.lasting,
            why: why_in_words(report.why).to_string(),
            tiers,
            order: report.order.map(|order| OrderReport {
                tier: self.name(order.tier).to_string(),
                until: now + order.left,
                until_wall: order.ends,
            }),
            primary_dropped: report.primary_dropped.is_some(),
        }
    }

    fn song(&self) -> String {
        let song = self.player.as_ref().and_then(Player::song);
        song.map_or_else(String::new, |ready| ready.source.name.clone())
    }

    fn name(&self, tier: Tier) -> &str {
        match tier {
            Tier::Input(n) => self.inputs.get(usize::from(n)).map_or("an input", |input| &input.name),
            Tier::Files => EMERGENCY,
            Tier::Floor => FLOOR,
        }
    }

    /// An alarm in a sentence.
    fn words(&self, alarm: Alarm, why: &str) -> String {
        match alarm {
            Alarm::Warned(_) | Alarm::Failed(_) => format!("{}: {why}", self.subject(alarm)),
            Alarm::StoodIn(_) | Alarm::PrimaryDropped => self.subject(alarm),
        }
    }

    /// What an alarm is about.
    fn subject(&self, alarm: Alarm) -> String {
        match alarm {
            Alarm::Warned(tier) => format!("{}, a warning", self.name(tier)),
            Alarm::Failed(tier) => format!("{} is not fit for air", self.name(tier)),
            Alarm::StoodIn(tier) => format!("{} stands in for the line-in", self.name(tier)),
            Alarm::PrimaryDropped => "the mounts are closed: no input has a programme".to_string(),
        }
    }
}

const fn why_in_words(why: Why) -> &'static str {
    match why {
        Why::Started => "",
        Why::Fell => "what was on air before has failed",
        Why::Returned => "it is good again",
        Why::Ordered => "ordered",
        Why::Released => "the order has ended",
    }
}

fn what_of(source: &settings::BackupSource) -> String {
    match source {
        settings::BackupSource::Stream(address) => address.url.clone(),
        settings::BackupSource::Local(capture::Input::Alsa { device, .. }) => match device {
            capture::Device::Pcm(name) => name.clone(),
            capture::Device::UsbPath(path) => format!("usb:{path}"),
        },
        settings::BackupSource::Local(capture::Input::File { path }) => path.display().to_string(),
        settings::BackupSource::Local(capture::Input::Stream { name, .. }) => name.clone(),
        settings::BackupSource::Local(capture::Input::Tone { hz, .. }) => format!("tone {hz} Hz"),
    }
}

/// What the tiers that every box has are called.
const LINE_IN: &str = "line-in";
const EMERGENCY: &str = "emergency";
const FLOOR: &str = "floor";
/// How often a player that is not heard is asked what happened.
const ASK: Duration = Duration::from_millis(500);
