//! Going live over somebody else's programme and handing it back, on three mounts as LibreTime lays them.

use anyhow::{Result, ensure};
use mainstay_e2e::by_content::Undisturbed;
use mainstay_e2e::daemon::{self, Daemon};
use mainstay_e2e::ears::{Ear, Ears, Manner};
use mainstay_e2e::icecast::{Headend, Version};
use mainstay_e2e::settings::{Mount, Output, Settings};
use mainstay_e2e::{source, wait};
use units::Codec;
use units::snapshot::{Command, MountState, Reply, Role, Wanted};

use crate::stage::{SOON, metronome};

fn order(daemon: &Daemon, wanted: Wanted) -> Result<()> {
    let reply = daemon.ask(Command::Order { wanted, output: "studio".to_owned(), at: None })?;
    ensure!(matches!(reply, Reply::Done { .. }), "{wanted:?}: {reply:?}\n{}", daemon.log());
    Ok(())
}

fn more(ear: &Ear, bytes: usize) -> Result<()> {
    let wanted = ear.heard().bytes.len() + bytes;
    wait::until("a listener hears more", SOON, || {
        let heard = ear.heard();
        if heard.bytes.len() >= wanted { Ok(()) } else { Err(format!("{:?}", heard.ended)) }
    })
}

#[test]
fn a_scheduled_programme_is_taken_over_and_handed_back_whole() -> Result<()> {
    for version in [Version::Installed, Version::V25] {
        let chain = [("/stream", "/live"), ("/live", "/scheduled")];
        let fallbacks = chain.map(|(mount, fallback)| (mount.to_owned(), fallback.to_owned())).to_vec();
        let server = Headend { version, fallbacks, ..Headend::default() }.start()?;
        let (folder, input) = metronome()?;
        let live = Mount::icecast(server.url("/live"), Codec::Mp3, 320);
        let _scheduled = source::foreign(&server.url("/scheduled"), &live.password, folder.path())?;
        server.wait_for_source("/scheduled", SOON)?;
        // The same packets on a mount of their own, which nobody takes.
        let own = Mount { url: server.url("/own"), ..live.clone() };
        let settings = Settings {
            outputs: vec![
                Output::alone("studio", live.clone()).with("on_air = \"taken\"\n"),
                Output::alone("own", own),
            ],
            ..Settings::new(input, Output::live(&server))
        };
        let daemon = Daemon::start(&settings)?;
        daemon.wait_for_state("own", Role::Primary, &[MountState::Verified], SOON)?;
        let ears = Ears::open()?;
        let join = |mount: &str| ears.join(([127, 0, 0, 1], server.port()).into(), mount, Manner::default());
        let known = join("/own")?;
        let listeners = [("/stream", join("/stream")?), ("/live", join("/live")?)];
        for (_, ear) in &listeners {
            more(ear, 32_000)?;
        }
        ensure!(!daemon.mount("studio", Role::Primary)?.state.on_air(), "on air before it is taken");

        let taken = wait::now();
        order(&daemon, Wanted::Take)?;
        daemon.wait_for_state("studio", Role::Primary, &[MountState::Live, MountState::Verified], SOON)?;
        more(&listeners[0].1, 240_000)?;
        let released = wait::now();
        order(&daemon, Wanted::Release)?;
        daemon.wait_for("the studio is released", SOON, |status| {
            daemon::mount(status, "studio", Role::Primary).is_ok_and(|mount| !mount.state.on_air())
        })?;
        for (_, ear) in &listeners {
            more(ear, 48_000)?;
        }

        let known = Undisturbed::of(&known.finish().bytes, live.rendition())?;
        for (mount, ear) in listeners {
            let heard = ear.finish();
            let found = known.compare(&heard.bytes);
            let first = heard.arrival_of(found.from + 1).unwrap_or(taken);
            let pauses = [(taken, released), (released, wait::now())]
                .map(|(from, to)| heard.longest_pause(from, to).as_millis());
            println!(
                "{version:?} {mount}: {} packets of ours, the first {} ms after the order; \
                 nothing to hear for {} ms at the take, for {} ms at the release",
                found.heard,
                (first - taken).as_millis(),
                pauses[0],
                pauses[1],
            );
            ensure!(heard.ended.is_none(), "{mount}: {:?}\n{}", heard.ended, daemon.log());
            ensure!(
                (found.lost, found.repeated, found.torn) == (0, 0, 0) && found.heard > 0,
                "{mount}: {found:?}\n{}",
                daemon.log()
            );
            // Somebody else was heard before and after.
            ensure!(found.from > 0 && found.to < heard.bytes.len(), "{mount}: {found:?}");
        }
    }
    Ok(())
}
