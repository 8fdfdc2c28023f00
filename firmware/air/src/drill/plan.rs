//! Whether an output can be drilled, and what that does to its listeners: said before anything is done.

use std::time::Duration;

use delivery::config::{MountConfig, OutputConfig, Return, Standby};
use delivery::profile::ServerProfile;
use settings::Settings;
use units::Rendition;
use units::snapshot::{MountState, OutputReport, Role, UplinkReport, UplinkState};

use super::{Order, millis};

/// An output that is going to be drilled.
#[derive(Debug)]
pub(super) struct Plan {
    pub primary: MountConfig,
    /// What may be heard on it.
    pub renditions: Vec<Rendition>,
    pub settle: Duration,
    pub give_back: Return,
    cut: Duration,
    url: String,
    /// What stands between the listeners and a hand-over that they do not notice, each with its remedy; overruled.
    obstacles: Vec<String>,
    /// Whether the listeners are handed over at all.
    paired: bool,
    /// Whether the server ends a silent source when it is asked to.
    evicts: bool,
    uplinks: Vec<Usable>,
    /// Bytes that a new listener gets at once, and so holds.
    burst: u64,
    source_timeout: Duration,
}

/// An uplink that carries bytes, best first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Usable {
    /// Its place in the settings.
    pub place: u8,
    pub name: String,
    interface: String,
    metered: bool,
}

impl Plan {
    /// The plan, or why there is none and what to do.
    pub(super) fn of(
        order: &Order,
        settings: &Settings,
        outputs: &[OutputReport],
        uplinks: &[UplinkReport],
    ) -> Result<Self, String> {
        let Some(output) = outputs.iter().find(|output| output.name == order.output) else {
            let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
            let there = if names.is_empty() {
                "there are none".to_string()
            } else {
                format!("there is {}", names.join(", "))
            };
            return Err(format!("no output is called {:?}: {there}", order.output));
        };
        if order.cut.is_zero() || order.cut > LONGEST_CUT {
            return Err(format!("a cut lasts from 1 to {} s", LONGEST_CUT.as_secs()));
        }
        let primary = mount(settings, &order.output, Role::Primary)
            .ok_or_else(|| format!("output {} has no primary to cut", order.output))?;
        let fallback = mount(settings, &order.output, Role::Fallback);
        let policy = settings.outputs.iter().find(|policy| policy.name == order.output);
        let shown = |role| output.mounts.iter().find(|mount| mount.role == role);
        let Some(now) = shown(Role::Primary).filter(|mount| mount.state.on_air()) else {
            let state = shown(Role::Primary).map_or("away", |mount| mount.state.word());
            return Err(format!(
                "the primary of {} is {state}, not on air: mainstay status says why",
                order.output
            ));
        };
        if let Some(hand_over) = &output.hand_over
            && (hand_over.phase != "calm" || hand_over.listeners_on != Role::Primary)
        {
            return Err(format!(
                "a hand-over of {} is under way ({}, listeners on the {}): wait until mainstay status shows it calm",
                order.output, hand_over.phase, hand_over.listeners_on
            ));
        }
        let usable = usable(settings, uplinks);
        let mut obstacles = Vec::new();
        match &output.hand_over {
            None => obstacles.push(why_plain(policy, &primary, fallback.as_ref())),
            Some(_) => {
                obstacles.extend(shown(Role::Fallback).and_then(not_ready));
                obstacles.extend(not_evicted(policy));
            }
        }
        obstacles.extend(no_spare(&usable, uplinks));
        let usual_timeout = ServerProfile::of(primary.server.kind).source_timeout;
        let plan = Self {
            renditions: [Some(primary.rendition), fallback.map(|fallback| fallback.rendition)]
                .into_iter()
                .flatten()
                .collect(),
            settle: policy.map_or(Duration::ZERO, |policy| policy.settle),
            give_back: policy.map_or(Return::Auto, |policy| policy.give_back),
            cut: order.cut,
            url: now.url.clone(),
            paired: output.hand_over.is_some(),
            evicts: policy.and_then(|policy| policy.proven).is_some_and(|proven| proven.evict),
            uplinks: usable,
            burst: policy.and_then(|policy| policy.proven).map_or(USUAL_BURST, |proven| proven.burst),
            source_timeout: policy
                .and_then(|policy| policy.proven)
                .map_or(usual_timeout, |proven| proven.source_timeout),
            primary,
            obstacles,
        };
        if plan.protected() || order.force {
            return Ok(plan);
        }
        let mut refusal =
            vec![format!("listeners of {} cannot be protected, so nothing was cut:", order.output)];
        refusal.append(&mut plan.obstacles.clone());
        refusal.push(format!("--force cuts all the same: {}", plan.loss()));
        Err(refusal.join("\n"))
    }

    /// Whether its listeners are to notice nothing.
    pub(super) const fn protected(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// The uplink to listen through: the best that the primary is not on, else the only one. `None`: as the routes say.
    pub(super) fn spare(&self, interface: Option<&str>) -> Option<&Usable> {
        let other = self.uplinks.iter().find(|uplink| Some(uplink.interface.as_str()) != interface);
        other.or_else(|| self.uplinks.first())
    }

    /// The sound in a player's buffer, in milliseconds.
    pub(super) fn buffer_ms(&self) -> u64 {
        self.burst * 1000 / self.primary.rendition.bitrate.bytes_per_second()
    }

    /// What is going to be done, and what it does.
    pub(super) fn lines(&self, interface: Option<&str>, spare: Option<&Usable>) -> Vec<String> {
        let over = |name: Option<&str>| name.map_or_else(String::new, |name| format!(" over {name}"));
        let here = self.uplinks.iter().find(|uplink| Some(uplink.interface.as_str()) == interface);
        let mut lines = vec![
            format!(
                "cutting {}{} for {} s at the most",
                self.url,
                over(here.map(|uplink| uplink.name.as_str()).or(interface)),
                self.cut.as_secs()
            ),
            format!("listening to it{}, as any player", over(spare.map(|uplink| uplink.name.as_str()))),
        ];
        if let Some(uplink) = spare.filter(|uplink| uplink.metered) {
            let span = self.cut + if self.paired { self.settle } else { Duration::ZERO } + BESIDES;
            let rate = self.primary.rendition.bitrate.bytes_per_second();
            let mb = (rate * span.as_secs() + self.burst) as f64 / 1e6;
            lines.push(format!("{} is metered: the drill takes about {mb:.1} MB of it", uplink.name));
        }
        lines.extend(self.obstacles.iter().map(|obstacle| format!("not protected: {obstacle}")));
        if self.protected() {
            lines.push(format!(
                "the fallback is held and ready: listeners are moved there, and no byte is lost; a player that has listened for a while holds {:.1} s of sound",
                self.buffer_ms() as f64 / 1000.0
            ));
        } else {
            lines.push(self.loss());
        }
        lines
    }

    /// What listeners will lose.
    fn loss(&self) -> String {
        let (cut, timeout) = (self.cut.as_secs(), self.source_timeout.as_secs());
        if self.paired && self.obstacles.len() == 1 && !self.evicts {
            return format!(
                "no byte is lost, but listeners hear nothing for up to {} s, less what their players hold",
                timeout + 2
            );
        }
        if self.paired {
            return format!(
                "the box tries to hand its listeners over; if it cannot, they hear nothing for up to {} s",
                cut.max(timeout) + 2
            );
        }
        let kept = self.primary.longest_lag.as_secs();
        if millis(self.cut) < millis(self.source_timeout) {
            return format!(
                "listeners hear nothing for {cut} s and up to as long again until the connection recovers; what is older than {kept} s then is lost"
            );
        }
        format!(
            "listeners hear nothing for {cut} s or more; after {timeout} s the server gives the source up, its listeners are dropped or sent elsewhere in the middle of a packet, and what was meant for them is lost"
        )
    }
}

fn mount(settings: &Settings, output: &str, role: Role) -> Option<MountConfig> {
    settings.mounts.iter().find(|mount| mount.id.output == output && mount.id.role == role).cloned()
}

/// Those that work before those that may not, as the box itself chooses.
fn usable(settings: &Settings, uplinks: &[UplinkReport]) -> Vec<Usable> {
    let works = |uplink: &&UplinkReport| matches!(uplink.state, UplinkState::Up | UplinkState::Checking);
    let may = |uplink: &&UplinkReport| uplink.state == UplinkState::Suspect;
    uplinks
        .iter()
        .filter(works)
        .chain(uplinks.iter().filter(may))
        .filter_map(|uplink| {
            let place = settings.uplinks.iter().position(|config| config.name == uplink.name)?;
            Some(Usable {
                place: u8::try_from(place).ok()?,
                name: uplink.name.clone(),
                interface: uplink.interface.clone(),
                metered: uplink.metered,
            })
        })
        .collect()
}

/// Why an output's mounts do not hand their listeners over.
fn why_plain(policy: Option<&OutputConfig>, primary: &MountConfig, fallback: Option<&MountConfig>) -> String {
    let Some(fallback) = fallback else {
        return "it has no fallback to move them to: add [output.fallback] on the same server".to_string();
    };
    let same = primary.server == fallback.server;
    if !same || ServerProfile::of(primary.server.kind).block.is_none() {
        return "its mounts do not lie on one server of a kind that hands listeners over whole (Icecast 2.4 or 2.5)".to_string();
    }
    let Some(proven) = policy.and_then(|policy| policy.proven) else {
        return "its server has not been proven to hand listeners over: mainstay survey finds out, and says what belongs below [output.proven]".to_string();
    };
    if !(proven.fallback && proven.overrides) {
        return "its server does not move listeners to the fallback and back: set <fallback-mount> and <fallback-override> on the server, then survey it anew".to_string();
    }
    match policy.map(|policy| policy.standby) {
        Some(Standby::Full) => {
            "its fallback is live all the time: set standby = \"auto\" to hand over instead".to_string()
        }
        Some(Standby::Cold) => {
            "its fallback is opened only when it is needed: set standby = \"auto\" to have it held"
                .to_string()
        }
        Some(Standby::Auto | Standby::Held) | None => {
            "its mounts do not match: give both one codec, sample rate and number of channels".to_string()
        }
    }
}

fn not_ready(fallback: &units::snapshot::MountReport) -> Option<String> {
    if fallback.state == MountState::Held {
        return None;
    }
    let why = fallback.remedy.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    Some(format!(
        "the fallback is {}, not held{why}: wait until mainstay status shows it held",
        fallback.state.word()
    ))
}

fn not_evicted(policy: Option<&OutputConfig>) -> Option<String> {
    let proven = policy.and_then(|policy| policy.proven).filter(|proven| !proven.evict)?;
    Some(format!(
        "the server lets nobody end a source ([output.proven] evict = false): listeners wait for its time-out of {} s, longer than any player holds",
        proven.source_timeout.as_secs()
    ))
}

fn no_spare(usable: &[Usable], uplinks: &[UplinkReport]) -> Option<String> {
    if uplinks.is_empty() {
        return Some(
            "no uplinks are set, so both mounts share one path: name two [[uplink]] tables".to_string(),
        );
    }
    if usable.len() > 1 {
        return None;
    }
    let broken: Vec<String> = uplinks
        .iter()
        .filter(|uplink| uplink.state == UplinkState::Down)
        .map(|uplink| {
            let why = [&uplink.reason, &uplink.remedy]
                .into_iter()
                .flatten()
                .cloned()
                .collect::<Vec<_>>()
                .join("; ");
            if why.is_empty() {
                format!("{} is down", uplink.name)
            } else {
                format!("{} is down: {why}", uplink.name)
            }
        })
        .collect();
    let broken =
        if broken.is_empty() { "name a second [[uplink]] table".to_string() } else { broken.join(", ") };
    Some(format!("there is no second uplink to go on over: {broken}"))
}

/// Longer cuts are pulled plugs.
const LONGEST_CUT: Duration = Duration::from_secs(600);
/// Icecast's own default.
const USUAL_BURST: u64 = 65_536;
/// Joining, the calm before, and what is listened for after it.
const BESIDES: Duration = Duration::from_secs(12);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use settings::Places;
    use units::Instant;
    use units::snapshot::{HandOverReport, MountReport};

    use super::*;

    const PLAIN: &str = r#"
version = 1
secrets = "secrets.toml"
[input]
file = "p.wav"
[[uplink]]
name = "studio"
interface = "eth0"
[[uplink]]
name = "lte"
interface = "wwan0"
metered = true
[[output]]
name = "main"
settle = "60 s"
[output.primary]
url = "http://127.0.0.1:8000/live"
codec = "mp3"
bitrate = "320 kbit/s"
[output.fallback]
url = "http://127.0.0.1:8000/live_fallback"
codec = "mp3"
bitrate = "192 kbit/s"
"#;
    const PROVEN: &str = "[output.proven]\nfallback = true\noverride = true\nevict = true\n";
    const SECRETS: &str = "[main]\nprimary = \"x\"\nfallback = \"x\"\n";

    fn settings(text: &str) -> Settings {
        let places = Places {
            settings: "s".into(),
            secrets: "secrets.toml".into(),
            base: Path::new("/nowhere").into(),
        };
        let none = |_: &Path| Err(std::io::ErrorKind::NotFound.into());
        settings::parse(text, SECRETS, &places, &mut { none }).unwrap()
    }

    fn output(settings: &Settings, states: [MountState; 2], paired: bool) -> Vec<OutputReport> {
        let mount = |(config, state): (&MountConfig, MountState)| MountReport {
            role: config.id.role,
            url: format!("http://127.0.0.1:8000{}", config.path),
            rendition: config.rendition,
            state,
            since: Instant::ZERO,
            remedy: None,
            server: None,
            peer: None,
            acked: 0,
            written: 0,
            lag_ms: 0,
            skipped: 0,
            accepted: 1,
            failures: 0,
            longest_pause_ms: 0,
            bytes_per_day: 0,
            title: None,
        };
        let hand_over =
            HandOverReport { listeners_on: Role::Primary, phase: "calm".into(), incidents: Vec::new() };
        vec![OutputReport {
            name: "main".into(),
            mounts: settings.mounts.iter().zip(states).map(mount).collect(),
            hand_over: paired.then_some(hand_over),
        }]
    }

    fn uplinks(states: [UplinkState; 2]) -> Vec<UplinkReport> {
        let uplink = |(name, interface, state): (&str, &str, UplinkState)| UplinkReport {
            name: name.into(),
            interface: interface.into(),
            metered: name == "lte",
            state,
            since: Instant::ZERO,
            reason: (state == UplinkState::Down).then(|| "no carrier".into()),
            remedy: (state == UplinkState::Down).then(|| "plug the cable in".into()),
            addresses: Vec::new(),
            gateway: None,
            warnings: Vec::new(),
        };
        [("studio", "eth0", states[0]), ("lte", "wwan0", states[1])].map(uplink).to_vec()
    }

    fn order(seconds: u64, force: bool) -> Order {
        Order { output: "main".into(), cut: Duration::from_secs(seconds), force }
    }

    const READY: [MountState; 2] = [MountState::Verified, MountState::Held];
    const BOTH: [UplinkState; 2] = [UplinkState::Up, UplinkState::Up];

    #[test]
    fn a_proven_output_with_a_held_fallback_is_protected() {
        let settings = settings(&format!("{PLAIN}{PROVEN}"));
        let plan =
            Plan::of(&order(10, false), &settings, &output(&settings, READY, true), &uplinks(BOTH)).unwrap();
        assert!(plan.protected());
        let spare = plan.spare(Some("eth0"));
        assert_eq!(spare.map(|uplink| (uplink.name.as_str(), uplink.place)), Some(("lte", 1)));
        assert_eq!(plan.spare(Some("wwan0")).map(|uplink| uplink.name.as_str()), Some("studio"));
        let lines = plan.lines(Some("eth0"), spare).join("\n");
        assert!(lines.contains("http://127.0.0.1:8000/live over studio for 10 s"), "{lines}");
        assert!(lines.contains("lte is metered") && lines.contains("1.6 s of sound"), "{lines}");
    }

    #[test]
    fn what_listeners_would_notice_takes_force_and_is_said_before() {
        let (plain, proven) = (settings(PLAIN), settings(&format!("{PLAIN}{PROVEN}")));
        let no_evict = settings(&format!("{PLAIN}{}", PROVEN.replace("evict = true", "evict = false")));
        let waiting = [MountState::Verified, MountState::Waiting];
        let lone = [UplinkState::Up, UplinkState::Down];
        let cases = [
            (&plain, READY, false, BOTH, "mainstay survey"),
            (&proven, waiting, true, BOTH, "the fallback is waiting"),
            (&proven, READY, true, lone, "lte is down: no carrier; plug the cable in"),
            (&no_evict, READY, true, BOTH, "time-out of 10 s"),
        ];
        for (settings, states, paired, links, why) in cases {
            let (outputs, links) = (output(settings, states, paired), uplinks(links));
            let refusal = Plan::of(&order(10, false), settings, &outputs, &links).unwrap_err();
            assert!(refusal.contains(why) && refusal.contains("--force"), "{refusal}");
            let plan = Plan::of(&order(10, true), settings, &outputs, &links).unwrap();
            assert!(!plan.protected());
            let lines = plan.lines(Some("eth0"), plan.spare(Some("eth0"))).join("\n");
            assert!(lines.contains(why) && lines.contains("hear nothing for"), "{lines}");
        }
        let short = Plan::of(&order(3, true), &plain, &output(&plain, READY, false), &[]).unwrap();
        assert!(short.loss().contains("for 3 s"), "{}", short.loss());
    }

    #[test]
    fn what_cannot_be_cut_is_refused_even_with_force() {
        let settings = settings(&format!("{PLAIN}{PROVEN}"));
        let links = uplinks(BOTH);
        let ready = output(&settings, READY, true);
        let other = Order { output: "x\u{1b}".into(), ..order(10, true) };
        let refusal = Plan::of(&other, &settings, &ready, &links).unwrap_err();
        assert!(refusal.contains("there is main"), "{refusal}");
        for seconds in [0, 601] {
            assert!(Plan::of(&order(seconds, true), &settings, &ready, &links).is_err());
        }
        let down = output(&settings, [MountState::Refused, MountState::Held], true);
        assert!(Plan::of(&order(10, true), &settings, &down, &links).unwrap_err().contains("refused"));
        let mut away = ready;
        away[0].hand_over.as_mut().unwrap().phase = "away".into();
        assert!(Plan::of(&order(10, true), &settings, &away, &links).unwrap_err().contains("under way"));
    }
}
