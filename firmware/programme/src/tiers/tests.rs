//! Scenarios with their times, then any history at all.

use proptest::prelude::*;

use super::*;

const A: Tier = Tier::Input(0);
const B: Tier = Tier::Input(1);

fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1_000)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn bad() -> Condition {
    Condition::Bad { why: "silent".into() }
}

/// Tiers with a clock: time passes from wake-up to wake-up.
struct Stage {
    tiers: Tiers,
    now: Instant,
    /// Who went on air, and when (in seconds).
    heard: Vec<(u64, Tier)>,
    told: Vec<Decision>,
}

impl Stage {
    fn new(config: TiersConfig) -> Self {
        let tiers = Tiers::new(at(0), config).unwrap();
        Self { tiers, now: at(0), heard: Vec::new(), told: Vec::new() }
    }

    /// Two inputs and files, all good.
    fn good(config: TiersConfig) -> Self {
        let mut stage = Self::new(config);
        for tier in [A, B, Tier::Files] {
            stage.is(tier, Condition::Good);
        }
        stage
    }

    fn is(&mut self, tier: Tier, condition: Condition) -> &mut Self {
        self.tiers.condition(self.now, tier, condition);
        self.drain()
    }

    fn second(&self) -> u64 {
        self.now.as_micros() / 1_000_000
    }

    fn drain(&mut self) -> &mut Self {
        while let Some(decision) = self.tiers.poll() {
            if let Decision::PutOnAir { tier, .. } = decision {
                self.heard.push((self.now.as_micros() / 1_000_000, tier));
            } else {
                self.told.push(decision);
            }
        }
        self
    }

    fn until(&mut self, second: u64) -> &mut Self {
        while let Some(next) = self.tiers.wakeup(self.now).filter(|next| *next <= at(second)) {
            self.now = next;
            self.tiers.tick(next);
            self.drain();
        }
        self.now = self.now.max(at(second));
        self.tiers.tick(self.now);
        self.drain()
    }

    fn order(&mut self, tier: Tier, seconds: u64) -> &mut Self {
        self.tiers.order(self.now, tier, secs(seconds), WallTime::Unknown).unwrap();
        self.drain()
    }
}

#[test]
fn down_at_once_and_back_up_in_order() {
    let mut stage = Stage::good(TiersConfig::new(2));
    stage.until(100).is(A, bad()).until(110).is(B, bad()).until(120);
    stage.is(Tier::Files, Condition::Bad { why: "damaged".into() });
    stage.until(130).is(Tier::Files, Condition::Good).until(150).is(B, Condition::Good).until(200);
    stage.is(A, Condition::Good).until(400);
    let heard = [(100, B), (110, Tier::Files), (120, Tier::Floor), (130, Tier::Files), (160, B), (210, A)];
    assert_eq!(stage.heard, heard);
}

#[test]
fn with_nothing_else_the_floor_and_with_anything_that() {
    let mut stage = Stage::new(TiersConfig::new(1));
    stage.is(A, Condition::Good).until(10).is(A, Condition::Absent).until(20);
    stage.is(A, Condition::Alarm { why: "left is dead".into(), worsening: false }).until(30);
    assert_eq!(stage.heard, [(10, Tier::Floor), (20, A)], "one leg is better than none");
    let mut stage = Stage::new(TiersConfig::new(2));
    stage.is(A, bad());
    assert_eq!(stage.heard, [(0, B)], "so is one that nobody has heard yet");
}

#[test]
fn the_first_stage_of_silence_is_not_returned_to() {
    let mut stage = Stage::good(TiersConfig::new(2));
    let waning = Condition::Alarm { why: "quiet".into(), worsening: true };
    stage.is(A, bad()).until(100).is(A, Condition::Good).until(108).is(A, Condition::Suspect);
    stage.until(109).is(A, waning.clone()).until(150).is(A, Condition::Good).until(155);
    assert_eq!(stage.heard, [(0, B)], "ten seconds without a break");
    stage.until(170);
    assert_eq!(stage.heard, [(0, B), (160, A)]);
    stage.is(A, waning).until(300).is(A, Condition::Suspect).until(500);
    assert_eq!(stage.heard.len(), 2, "and on air it stays");
}

#[test]
fn back_at_the_songs_end_but_not_for_ever() {
    let files = GoBack::AtSongEnd { good_for: secs(10), at_latest: secs(300) };
    let mut stage = Stage::good(TiersConfig { files, ..TiersConfig::new(1) });
    stage.is(A, bad()).until(50).is(A, Condition::Good);
    stage.tiers.song_ending(at(55), true);
    stage.drain().until(59);
    stage.tiers.song_ending(at(59), false);
    stage.drain().until(200);
    assert_eq!(stage.heard, [(0, Tier::Files)], "the song ended too early");
    stage.tiers.song_ending(at(200), true);
    stage.drain();
    assert_eq!(stage.heard, [(0, Tier::Files), (200, A)]);
    stage.tiers.song_ending(at(200), false);
    stage.until(2_000).is(A, bad()).until(2_100).is(A, Condition::Good).until(3_000);
    assert_eq!(stage.heard[2..], [(2_000, Tier::Files), (2_410, A)], "a song without an end");
}

#[test]
fn manual_means_that_a_person_says_so() {
    let mut stage = Stage::good(TiersConfig { files: GoBack::Manual, ..TiersConfig::new(1) });
    stage.is(A, bad()).until(50).is(A, Condition::Good).until(5_000);
    assert_eq!(stage.heard, [(0, Tier::Files)]);
    stage.tiers.automatic(at(5_000));
    stage.drain();
    assert_eq!(stage.heard, [(0, Tier::Files), (5_000, A)]);
    // Not for later: with nothing better there, the word is spent.
    stage.is(A, bad());
    stage.tiers.automatic(at(5_000));
    stage.drain().is(A, Condition::Good).until(9_000);
    assert_eq!(stage.heard.len(), 3);
    // An order that ends is such a word as well.
    stage.order(Tier::Files, 100).until(9_200);
    assert_eq!(stage.heard.last(), Some(&(9_100, A)));
}

#[test]
fn an_order_holds_counts_down_and_ends() {
    let mut stage = Stage::good(TiersConfig::new(2));
    stage.until(100).order(Tier::Files, 1_800).until(1_000);
    assert_eq!(stage.heard, [(100, Tier::Files)]);
    assert_eq!(stage.tiers.kept(stage.now).unwrap().left, secs(900));
    assert!(stage.tiers.report(stage.now).alarms.is_empty(), "as ordered");
    stage.is(Tier::Files, bad());
    assert_eq!(stage.heard.last(), Some(&(1_000, A)), "what cannot be played is not");
    stage.is(Tier::Files, Condition::Good);
    assert_eq!(stage.heard.last(), Some(&(1_000, Tier::Files)));
    stage.until(3_000);
    assert_eq!(stage.heard.last(), Some(&(1_900, A)));
    assert!(stage.told.contains(&Decision::OrderEnded { tier: Tier::Files }));

    let heard = stage.heard.len();
    stage.order(A, 600).is(A, bad()).until(3_599);
    assert_eq!(stage.heard.len(), heard, "a minute's silence");
    assert!(stage.tiers.report(stage.now).alarms.iter().any(|on| on.alarm == Alarm::Failed(A)));
    stage.until(3_600);
    assert_eq!(stage.heard.last(), Some(&(3_600, B)));
    stage.order(A, 600).is(A, Condition::Absent);
    assert_eq!(stage.heard.last(), Some(&(3_600, B)), "a card that is gone holds nobody");
    let error = stage.tiers.order(stage.now, Tier::Input(2), secs(1), WallTime::Unknown).unwrap_err();
    assert!(error.to_string().contains("input 3") && error.to_string().contains("has 2"), "{error}");
}

#[test]
fn policies_that_play_nothing() {
    let back_after = secs(20);
    let mut stage =
        Stage::good(TiersConfig { policy: Policy::DropPrimary { back_after }, ..TiersConfig::new(2) });
    stage.until(100).is(A, bad()).until(110);
    assert_eq!(stage.heard, [(100, B)], "another studio feed is programme");
    stage.is(B, bad()).until(200);
    assert_eq!(stage.told.iter().filter(|told| **told == Decision::DropPrimary).count(), 1);
    assert_eq!((stage.heard.len(), stage.tiers.is_primary_dropped()), (1, true));
    stage.is(A, Condition::Good);
    assert_eq!(stage.heard.last(), Some(&(200, A)), "while nobody hears it");
    stage.until(219);
    assert!(stage.tiers.is_primary_dropped());
    stage.until(220);
    assert!(!stage.tiers.is_primary_dropped() && stage.told.contains(&Decision::TakeUpPrimary));

    let mut stage = Stage::good(TiersConfig { policy: Policy::AlarmOnly, ..TiersConfig::new(2) });
    stage.is(A, bad()).until(1_000);
    assert_eq!((stage.heard.len(), stage.tiers.is_primary_dropped()), (0, false));
    assert!(
        stage.told.iter().any(|told| matches!(told, Decision::AlarmBegan { alarm: Alarm::Failed(A), .. }))
    );
    stage.order(Tier::Files, 60).until(2_000);
    assert_eq!(stage.heard, [(1_000, Tier::Files), (1_060, B)], "after an order, the best input there is");
}

#[test]
fn a_line_that_flaps_is_trusted_less_each_time_and_forgiven_after_a_while() {
    let mut stage = Stage::good(TiersConfig::new(1));
    let mut waits = Vec::new();
    for _ in 0..8 {
        // Good five seconds later; back after the wait; and bad again ten seconds after that.
        let second = stage.second();
        stage.is(A, bad()).until(second + 5).is(A, Condition::Good);
        while stage.tiers.on_air() != A {
            let next = stage.tiers.wakeup(stage.now).unwrap();
            stage.until(next.as_micros() / 1_000_000);
        }
        waits.push(stage.second() - second - 5);
        let second = stage.second();
        stage.until(second + 10);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 600, 600]);
    let second = stage.second() + 600;
    stage.until(second).is(A, bad()).until(second + 5).is(A, Condition::Good).until(second + 100);
    assert_eq!(stage.heard.last(), Some(&(second + 15, A)), "ten calm minutes");
}

#[test]
fn alarms_begin_re_arm_and_end() {
    let mut stage = Stage::good(TiersConfig::new(1));
    stage.is(A, Condition::Alarm { why: "quiet".into(), worsening: true }).until(10);
    stage.is(A, bad()).until(10 + 2 * 900).is(A, Condition::Good).until(4_000);
    let text: Vec<String> = stage
        .told
        .iter()
        .map(|told| match told {
            Decision::AlarmBegan { alarm, .. } => format!("+{alarm:?}"),
            Decision::AlarmReminder { alarm, lasted, .. } => format!("={alarm:?} {}", lasted.as_secs()),
            Decision::AlarmEnded { alarm, lasted } => format!("-{alarm:?} {}", lasted.as_secs()),
            Decision::PutOnAir { .. }
            | Decision::DropPrimary
            | Decision::TakeUpPrimary
            | Decision::OrderEnded { .. } => format!("{told:?}"),
        })
        .collect();
    let expected = [
        "+Warned(Input(0))",
        "+Failed(Input(0))",
        "+StoodIn(Files)",
        "-Warned(Input(0)) 10",
        "=Failed(Input(0)) 900",
        "=StoodIn(Files) 900",
        "=Failed(Input(0)) 1800",
        "=StoodIn(Files) 1800",
        "-Failed(Input(0)) 1800",
        "-StoodIn(Files) 1810",
    ];
    assert_eq!(text, expected);
}

#[test]
fn a_report_can_be_sent() {
    let mut stage = Stage::good(TiersConfig::new(2));
    stage.is(A, bad()).until(10).order(Tier::Files, 60).until(20).is(A, Condition::Good);
    let report = stage.tiers.report(stage.now);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report, "{text}");
    assert_eq!((report.on_air, report.order.unwrap().left), (Tier::Files, secs(50)));
    stage.tiers.automatic(stage.now);
    stage.drain().is(A, bad()).until(30).is(A, Condition::Good).until(33);
    assert_eq!(stage.tiers.report(stage.now).tiers[0].back_in, Some(secs(7)));
}

#[derive(Clone, Debug)]
enum Step {
    Condition(Tier, Condition),
    Order(Tier, u64),
    Automatic,
    SongEnding(bool),
    Pass(u64),
}

fn tier() -> impl Strategy<Value = Tier> {
    prop_oneof![Just(A), Just(B), Just(Tier::Files), Just(Tier::Floor), Just(Tier::Input(7))]
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => Just(Condition::Good),
        1 => Just(Condition::Suspect),
        1 => any::<bool>().prop_map(|worsening| Condition::Alarm { why: "x".into(), worsening }),
        3 => Just(bad()),
        1 => Just(Condition::Absent),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (tier(), condition()).prop_map(|(tier, condition)| Step::Condition(tier, condition)),
        1 => (tier(), 0..4_000_u64).prop_map(|(tier, seconds)| Step::Order(tier, seconds)),
        1 => Just(Step::Automatic),
        1 => any::<bool>().prop_map(Step::SongEnding),
        4 => (0..2_000_000_u64).prop_map(Step::Pass),
    ]
}

fn rule() -> impl Strategy<Value = GoBack> {
    prop_oneof![
        (0..100_u64).prop_map(|seconds| GoBack::After(secs(seconds))),
        (0..100_u64, 0..1_000_u64).prop_map(|(good_for, at_latest)| GoBack::AtSongEnd {
            good_for: secs(good_for),
            at_latest: secs(at_latest)
        }),
        Just(GoBack::Manual),
    ]
}

fn config() -> impl Strategy<Value = TiersConfig> {
    let policy = prop_oneof![
        3 => Just(Policy::NextTier),
        1 => (0..100_u64).prop_map(|seconds| Policy::DropPrimary { back_after: secs(seconds) }),
        1 => Just(Policy::AlarmOnly),
    ];
    (rule(), rule(), rule(), policy).prop_map(|(input, files, floor, policy)| TiersConfig {
        inputs: vec![GoBack::Manual, input],
        files,
        floor,
        policy,
        ..TiersConfig::new(2)
    })
}

/// What must hold after every call, with what was decided since the last one.
fn hold(
    tiers: &mut Tiers,
    now: Instant,
    on_air: &mut Tier,
    alarms: &mut Vec<Alarm>,
) -> Result<(), TestCaseError> {
    let mut decided = 0;
    while let Some(decision) = tiers.poll() {
        decided += 1;
        match decision {
            Decision::PutOnAir { tier, from, why, .. } => {
                prop_assert_eq!(from, *on_air, "one gives way to one");
                prop_assert_ne!(tier, from);
                if why == Why::Fell && tier == Tier::Floor {
                    let conditions = tiers.report(now).tiers;
                    prop_assert!(
                        conditions.iter().all(|tier| !tier.condition.is_usable()),
                        "{:?}",
                        conditions
                    );
                }
                *on_air = tier;
            }
            Decision::AlarmBegan { alarm, .. } => {
                prop_assert!(!alarms.contains(&alarm));
                alarms.push(alarm);
            }
            Decision::AlarmReminder { alarm, .. } => prop_assert!(alarms.contains(&alarm)),
            Decision::AlarmEnded { alarm, .. } => {
                prop_assert!(alarms.contains(&alarm));
                alarms.retain(|on| *on != alarm);
            }
            Decision::DropPrimary | Decision::TakeUpPrimary | Decision::OrderEnded { .. } => {}
        }
    }
    prop_assert!(decided < 20, "one call, few decisions: {}", decided);
    prop_assert_eq!(tiers.on_air(), *on_air);
    let report = tiers.report(now);
    prop_assert_eq!(report.alarms.len(), alarms.len());
    if let Some(order) = report.order {
        prop_assert!(!order.left.is_zero(), "an order past its end");
    }
    let condition =
        |tier| report.tiers.iter().find(|report| report.tier == tier).map(|report| &report.condition);
    let usable = |tier| condition(tier).is_none_or(Condition::is_usable);
    if report.policy == Policy::NextTier {
        let ordered = report.order.is_some_and(|order| order.tier == *on_air);
        prop_assert!(usable(*on_air) || ordered, "{} is {:?}", on_air, condition(*on_air));
        if [A, B, Tier::Files].into_iter().all(|tier| !usable(tier)) && !ordered {
            prop_assert_eq!(*on_air, Tier::Floor);
        }
    }
    prop_assert!(tiers.wakeup(now).is_none_or(|at| at > now));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_one_tier_is_on_air_and_all_comes_back(
        config in config(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let manual = [config.inputs[1], config.files, config.floor].contains(&GoBack::Manual);
        let mut tiers = Tiers::new(at(0), config).unwrap();
        let (mut now, mut on_air, mut alarms) = (at(0), A, Vec::new());
        let pass = |tiers: &mut Tiers, now: &mut Instant, on_air: &mut Tier, alarms: &mut Vec<Alarm>, millis: u64| {
            let end = *now + Duration::from_millis(millis);
            let mut woken = 0;
            while let Some(next) = tiers.wakeup(*now).filter(|next| *next <= end) {
                *now = next;
                tiers.tick(next);
                hold(tiers, next, on_air, alarms)?;
                woken += 1;
                prop_assert!(woken < 1_000, "it never rests");
            }
            *now = end;
            tiers.tick(end);
            hold(tiers, end, on_air, alarms)
        };
        for step in steps {
            match step {
                Step::Condition(tier, condition) => tiers.condition(now, tier, condition),
                Step::Order(tier, seconds) => {
                    let refused = tiers.order(now, tier, secs(seconds), WallTime::Unknown).is_err();
                    prop_assert_eq!(refused, tier == Tier::Input(7));
                }
                Step::Automatic => tiers.automatic(now),
                Step::SongEnding(ending) => tiers.song_ending(now, ending),
                Step::Pass(millis) => pass(&mut tiers, &mut now, &mut on_air, &mut alarms, millis)?,
            }
            hold(&mut tiers, now, &mut on_air, &mut alarms)?;
        }
        for tier in [A, B, Tier::Files] {
            tiers.condition(now, tier, Condition::Good);
        }
        pass(&mut tiers, &mut now, &mut on_air, &mut alarms, 4_000_000 + 2 * 600_000 + 1_000_000)?;
        if manual {
            tiers.automatic(now);
        }
        hold(&mut tiers, now, &mut on_air, &mut alarms)?;
        prop_assert_eq!(on_air, A);
        prop_assert!(alarms.is_empty(), "{:?}", alarms);
        prop_assert!(!tiers.is_primary_dropped());
    }
}
