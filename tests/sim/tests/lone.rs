//! One uplink left: the listeners go where fewer bytes are spent, and come back with the second uplink. And a primary without a
//! hand-over goes home to the preferred one.

use std::time::Duration;

use delivery::config::{Lone, Standby};
use mainstay_sim::tcp::{Course, Fault, Most, Trial, What, World};
use units::snapshot::{MountState, Role};

fn lowered(name: &str, standby: Standby, rates: (u32, u32)) -> Trial {
    let gone = Fault { uplink: 1, ..Fault::new(60.0, 60.0, What::CarrierOff) };
    Trial { lone: Lone::LowerBitrate, standby, faults: vec![gone], ..Trial::paired(name, 3, 250, rates) }
}

fn until(world: &mut World, seconds: u64) {
    let wait = Duration::from_secs(seconds) - world.now();
    world.run(wait).expect("every invariant holds");
}

#[test]
fn with_one_uplink_left_the_lower_bitrate_carries_everybody_and_nobody_hears_it() {
    for rates in [(320, 192), (128, 64)] {
        let mut world = World::new(Trial { most: Most::WHOLE, ..lowered("one left", Standby::Auto, rates) });
        until(&mut world, 65);
        assert!(world.listeners("/live").is_some(), "an uplink that is gone for a moment moves nobody");
        until(&mut world, 110);
        let report = world.report();
        let phase = report[0].hand_over.as_ref().map(|hand_over| hand_over.listeners_on);
        assert_eq!((phase, world.listeners("/live")), (Some(Role::Fallback), None), "{:?}", world.told());
        // The second uplink is back at 120 s, and has to be good for 5 s.
        world.finish().unwrap_or_else(|why| panic!("{why}: {:#?}", world.told()));
        assert_eq!((world.deeds().moves, world.deeds().evicted), (2, 0), "{:?}", world.told());
        println!("{rates:?}: {:?}", world.heard(0));
    }
}

#[test]
fn a_fallback_of_the_same_bitrate_is_nowhere_to_go() {
    let trial = lowered("the same", Standby::Auto, (128, 128));
    let world = Trial { most: Most::WHOLE, moves: Some(0), ..trial }.run();
    world.unwrap_or_else(|failed| panic!("{failed}"));
}

#[test]
fn a_full_fallback_takes_over_when_the_primary_is_closed() {
    let most = Most { drops: Some(0), ..Most::default() };
    let mut world = World::new(Trial { most, ..lowered("full", Standby::Full, (320, 192)) });
    until(&mut world, 110);
    assert_eq!(world.listeners("/live"), None, "{:?}", world.told());
    assert!(world.report()[0].mounts[1].state.on_air());
    world.finish().unwrap_or_else(|why| panic!("{why}: {:#?}", world.told()));
    assert_eq!(world.deeds().moves, 2, "{:?}", world.told());
}

#[test]
fn without_a_hand_over_a_primary_goes_home_after_the_settle_time() {
    let gone = Fault::new(30.0, 20.0, What::CarrierOff);
    let mut world = World::new(Trial {
        course: Course::Apart,
        faults: vec![gone],
        ..Trial::paired("home", 4, 200, (128, 64))
    });
    let home = |world: &World| world.told().iter().any(|(_, line)| line.contains("good for the settle time"));
    until(&mut world, 105);
    assert!(!home(&world), "{:?}", world.told());
    until(&mut world, 125);
    assert!(home(&world), "{:?}", world.told());
    world.finish().unwrap_or_else(|why| panic!("{why}: {:#?}", world.told()));
    assert_eq!(world.report()[0].mounts[0].state, MountState::Verified);
    assert_eq!(world.heard(0).drops, 0);
}
