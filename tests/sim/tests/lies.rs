//! Acknowledgements that do not come from the server: a middlebox next to the box takes every connection of an uplink apart
//! (RFC 3135), and goes on acknowledging while the path behind it is dead.

use std::time::Duration;

use mainstay_sim::tcp::{Count, Course, Fault, Most, Trial, Way, What, World};

const LIE: &str = "acks-lie";

/// A satellite with an accelerator as the preferred uplink, a line without one as the other.
fn satellite(name: &str, seed: u64, seconds: u64, rates: (u32, u32)) -> Trial {
    Trial { uplinks: vec![300, 35], accelerated: vec![0], ..Trial::paired(name, seed, seconds, rates) }
}

fn run(trial: &Trial) -> World {
    trial.run().unwrap_or_else(|failed| panic!("{failed}"))
}

fn lies_told(world: &World) -> Vec<&str> {
    world.told().iter().map(|(_, line)| line.as_str()).filter(|line| line.contains(LIE)).collect()
}

fn packets(world: &World) -> Count {
    world.heard(0).packets
}

const RATES: [(u32, u32); 3] = [(320, 192), (128, 128), (128, 64)];

#[test]
fn a_lie_is_found_out_in_calm_times_and_moves_nobody() {
    for (seed, rates) in (1..).zip(RATES) {
        let trial = Trial { most: Most::WHOLE, moves: Some(0), ..satellite("calm", seed, 300, rates) };
        let world = run(&trial);
        let told = lies_told(&world);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("ALARM") && told[0].contains("switch it off"), "{}", told[0]);
    }
}

#[test]
fn by_what_is_heard_nobody_loses_anything() {
    for (seed, rates) in (1..).zip(RATES) {
        for what in [What::Dark(Way::Both), What::Dark(Way::Up), What::NearDark, What::CarrierOff] {
            let name = format!("{what:?} {rates:?}");
            let faults = vec![Fault::new(90.0, 40.0, what)];
            let trial = Trial { faults, most: Most::WHOLE, ..satellite(&name, seed, 330, rates) };
            let world = run(&trial);
            println!("{name}: {} ms, {:?}", world.heard(0).longest_pause.as_millis(), world.deeds());
            assert!(world.deeds().evicted > 0 && world.deeds().moves == 2, "{name}: {:?}", world.deeds());
        }
    }
}

/// On a short path nothing is heard late: only the outage shows that what acknowledges is not the server.
#[test]
fn an_outage_behind_a_quick_one_costs_once_what_it_costs_without_a_hand_over() {
    for (seed, rates) in (1..).zip(RATES) {
        let first = vec![Fault::new(60.0, 60.0, What::Dark(Way::Both))];
        let short = |faults, seconds| Trial {
            accelerated: vec![0],
            faults,
            ..Trial::paired("quick", seed, seconds, rates)
        };
        let plain = run(&Trial { course: Course::Apart, ..short(first.clone(), 240) });
        let once = run(&short(first.clone(), 240));
        let again = [first, vec![Fault::new(240.0, 40.0, What::Dark(Way::Both))]].concat();
        let twice = run(&short(again, 480));
        for (world, what) in [(&plain, "plain"), (&once, "once"), (&twice, "twice")] {
            println!("{rates:?} {what}: {:?}, {:?}", world.heard(0), world.deeds());
        }
        assert_eq!(lies_told(&once).len(), 1, "{:?}", once.told());
        assert_eq!((packets(&once).repeated, packets(&twice).repeated), (0, 0));
        assert!(packets(&once).lost <= packets(&plain).lost + SLACK, "{:?}", packets(&once));
        // From then on it is known.
        assert_eq!(packets(&twice).lost, packets(&once).lost);
        assert_eq!(packets(&twice).torn, packets(&once).torn);
    }
}

/// Packets that pass while the box finds out that the server has ended the source.
const SLACK: u64 = 6_000 / 24;

#[test]
fn a_server_that_hangs_behind_it_moves_nobody() {
    let faults = vec![Fault::new(90.0, 25.0, What::ServerStopped)];
    let trial = Trial { faults, ..satellite("stopped", 1, 300, (128, 64)) };
    let world = run(&trial);
    assert_eq!((world.deeds().evicted, world.deeds().wronged), (0, 0), "{:?}", world.told());
    println!("{:?}", world.heard(0));
    assert!(world.heard(0).longest_pause < Duration::from_secs(60));
}

#[test]
fn where_listening_costs_money_each_mount_is_on_its_own() {
    for what in [What::Dark(Way::Both), What::CarrierOff] {
        let faults = vec![Fault::new(90.0, 40.0, what)];
        let short = |course| Trial {
            metered: vec![1],
            faults: faults.clone(),
            course,
            ..satellite("metered", 1, 180, (128, 64))
        };
        let plain = run(&short(Course::Apart));
        let mut world = World::new(short(Course::HandOver { evict: true, settle: 5.0 }));
        // How it stands in the end is not what a pair promises.
        let _ = world.run(Duration::from_secs(180));
        let told = lies_told(&world);
        assert!(told.len() == 2 && told[1].contains("cost money"), "{told:?}");
        println!("{:?} beside {:?}, {:?}", world.heard(0), plain.heard(0), world.deeds());
        assert_eq!(world.deeds().evicted, 0, "{:?}", world.told());
        assert!(packets(&world).lost <= packets(&plain).lost + SLACK, "{:?}", world.told());
        assert!(packets(&world).repeated <= packets(&plain).repeated, "{:?}", world.told());
    }
}
