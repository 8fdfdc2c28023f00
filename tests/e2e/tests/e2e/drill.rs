//! Drills of a real box on a real Icecast: over two uplinks in network namespaces every byte comes once and whole, where
//! nothing protects the listeners nothing is cut, and a client that goes away takes the cut along.
//!
//! Root, or a user namespace of one's own, is needed for the uplinks ([`mainstay_e2e::netns`]).

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use mainstay_e2e::Build;
use mainstay_e2e::daemon::{self, Daemon};
use mainstay_e2e::icecast::Headend;
use mainstay_e2e::netns::Namespace;
use mainstay_e2e::settings::{Mount, Output, Settings};
use tempfile::TempDir;
use units::Codec;
use units::snapshot::{
    Command, DrillNews, DrillReport, IncidentRecord, MountState, PROTOCOL, Reply, Request, Role, UplinkState,
};

use crate::stage::{LATER, SOON, metronome};

/// What both uplinks lead to.
const INGEST: &str = "10.99.0.1";

const PROVEN: &str = "\n[output.proven]\nfallback = true\noverride = true\nevict = true\n";

/// The server's namespace and the box's, with two wires between them.
fn two_uplinks() -> Result<(Namespace, Namespace)> {
    let (world, home) = (Namespace::new()?, Namespace::new()?);
    for namespace in [&world, &home] {
        namespace.knob("ipv4/conf/all/rp_filter", "0")?;
        namespace.knob("ipv4/conf/default/rp_filter", "0")?;
    }
    let (mut out, mut own) = (format!("address add {INGEST}/32 dev lo\n"), String::new());
    for n in 0..2 {
        let home = home.path();
        out += &format!(
            "link add s{n} type veth peer name up{n} netns {home}\naddress add 10.9{n}.0.1/24 dev s{n}\nlink set s{n} up\n"
        );
        own += &format!(
            "address add 10.9{n}.0.2/24 dev up{n}\nlink set up{n} up\nroute add {INGEST}/32 via 10.9{n}.0.1 dev up{n} metric {n}\n"
        );
    }
    world.batch(&out)?;
    home.batch(&own)?;
    Ok((world, home))
}

/// A folder with settings of a pair that hands over, by hand: what is proven and the uplinks are added.
fn folder(settings: &Settings, more: &str) -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("mainstay-box-").tempdir()?;
    let path = settings.write(folder.path())?;
    let text =
        std::fs::read_to_string(&path)?.replace("name = \"main\"\n", "name = \"main\"\nsettle = \"3 s\"\n");
    let uplink = |n: u8| format!("\n[[uplink]]\nname = \"uplink-{n}\"\ninterface = \"up{n}\"\n");
    std::fs::write(&path, format!("{text}{PROVEN}{}{}{more}", uplink(0), uplink(1)))?;
    Ok(folder)
}

/// Runs `mainstay drill` to its end, whatever it thinks of it.
fn drilled(daemon: &Daemon) -> Result<DrillReport> {
    let output = daemon.cli(&["drill", "main", "--json"])?;
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().map(serde_json::from_str::<DrillNews>);
    match last {
        Some(Ok(DrillNews::Ended(report))) => Ok(report),
        _ => bail!("{said}{}\n{}", String::from_utf8_lossy(&output.stderr), daemon.log()),
    }
}

fn incidents(daemon: &Daemon) -> Result<Vec<IncidentRecord>> {
    let reply = daemon.ask(Command::Incidents)?;
    if let Reply::Incidents { incidents, missing: None } = reply {
        return Ok(incidents);
    }
    bail!("asked for incidents, the box says {reply:?}")
}

#[test]
fn a_drill_is_heard_whole_and_remembered_over_a_restart() -> Result<()> {
    let (world, home) = two_uplinks()?;
    let (_sound, input) = metronome()?;
    let server = world.inside(|| Headend { bind: Ipv4Addr::UNSPECIFIED, ..Headend::default() }.start())??;
    let mount = |path: &str, kbit| {
        Mount::icecast(format!("http://{INGEST}:{}{path}", server.port()), Codec::Mp3, kbit)
    };
    let shelf = tempfile::tempdir()?;
    let recording = format!(
        "\n[recording]\nfolder = \"{}\"\noutput = \"main\"\nbudget = \"100 MB\"\n",
        shelf.path().display()
    );
    let pair = Output::pair("main", mount("/live", 320), mount("/live_fallback", 192));
    let settings = Settings::new(input, pair);
    let start = |folder| home.inside(|| Daemon::start_in(Build::Debug, &settings, folder))?;
    let mut daemon = start(folder(&settings, &recording)?)?;
    daemon.wait_for("both uplinks are up and the fallback is held", SOON, |status| {
        let fallback = daemon::mount(status, "main", Role::Fallback);
        fallback.is_ok_and(|mount| mount.state == MountState::Held)
            && status.uplinks.len() == 2
            && status.uplinks.iter().all(|uplink| uplink.state == UplinkState::Up)
            && daemon::mount(status, "main", Role::Primary).is_ok_and(|mount| mount.state.on_air())
    })?;

    let report = drilled(&daemon)?;
    ensure!(report.heard.whole(), "{report:?}\n{}", daemon.log());
    ensure!(report.heard.changes == 2, "there and back again: {report:?}");
    ensure!(report.open.is_empty(), "{report:?}");
    let known = incidents(&daemon)?;
    let [record] = known.as_slice() else { bail!("one incident, not {known:?}") };
    ensure!(record.drill && !record.open && record.lasted_ms.is_some(), "{record:?}");
    ensure!(report.incident.as_ref() == Some(&record.incident), "{report:?} {record:?}");
    let shown = daemon.cli(&["incidents"])?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    ensure!(shown.contains("main  drill") && shown.contains("healed after"), "{shown}");

    // What was sent around the hand-over and the return is kept apart, both whole.
    for moment in ["main-hand-over", "main-return"] {
        let clip = mainstay_e2e::wait::until("the moment is kept apart", LATER, || {
            let found =
                std::fs::read_dir(shelf.path().join("incidents")).map_err(|error| error.to_string())?;
            let mut found = found.filter_map(Result::ok).map(|entry| entry.path());
            let is_it = |path: &std::path::PathBuf| {
                path.extension().is_some_and(|end| end == "mp3") && path.to_string_lossy().contains(moment)
            };
            found.find(is_it).ok_or_else(|| "nothing yet".to_owned())
        })?;
        let decoded = mainstay_e2e::decode::ffmpeg_file(&clip, Codec::Mp3)?;
        ensure!(
            decoded.len() >= 15 * 48_000 && decoded.len() <= 31 * 48_000,
            "{}: {} frames",
            clip.display(),
            decoded.len()
        );
    }

    // The power fails in the middle of the next line.
    let state = daemon.folder().join("state/incidents.jsonl");
    let mut kept = std::fs::read(&state).context("the incident log")?;
    kept.extend_from_slice(br#"{"output":"main","be"#);
    daemon.end()?;
    drop(daemon);
    let folder = folder(&settings, &recording)?;
    std::fs::write(folder.path().join("state/incidents.jsonl"), kept)?;
    let daemon = start(folder)?;
    let again = mainstay_e2e::wait::until("the log of incidents is read", SOON, || {
        let known = incidents(&daemon).map_err(|error| format!("{error:#}"))?;
        if known.is_empty() { Err("nothing yet".to_owned()) } else { Ok(known) }
    })?;
    ensure!(again == known, "{again:?} are not {known:?}");
    Ok(())
}

#[test]
fn nothing_is_cut_where_listeners_are_not_protected() -> Result<()> {
    let server = Headend::default().start()?;
    let (_sound, input) = metronome()?;
    let daemon = Daemon::start(&Settings::new(input, Output::live(&server)))?;
    daemon.wait_until_verified(SOON)?;
    for (arguments, why) in [
        (&["drill", "main"][..], "mainstay survey"),
        (&["drill", "other", "--force"], "there is main"),
        (&["drill", "main", "--seconds", "0", "--force"], "from 1 to"),
    ] {
        let output = daemon.cli(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(1) && said.contains(why), "{said}");
    }
    let primary = daemon.mount("main", Role::Primary)?;
    ensure!((primary.accepted, primary.failures) == (1, 0), "{primary:?}");
    ensure!(incidents(&daemon)?.is_empty());
    Ok(())
}

#[test]
fn whoever_hangs_up_ends_the_cut() -> Result<()> {
    let server = Headend::default().start()?;
    let (_sound, input) = metronome()?;
    let daemon = Daemon::start(&Settings::new(input, Output::live(&server)))?;
    daemon.wait_until_verified(SOON)?;
    let command = Command::Drill { output: "main".to_owned(), seconds: 600, force: true };
    let stream = cut(&daemon.socket(), command)?;
    let acked = daemon.mount("main", Role::Primary)?.acked;
    drop(stream);
    // What was sent meanwhile is acknowledged once its acknowledgements get through again.
    daemon.wait_for("bytes are acknowledged again", LATER, |status| {
        daemon::mount(status, "main", Role::Primary).is_ok_and(|mount| mount.acked > acked + 100_000)
    })?;
    let primary = daemon.mount("main", Role::Primary)?;
    ensure!((primary.accepted, primary.failures) == (1, 0), "{primary:?}\n{}", daemon.log());
    Ok(())
}

/// Asks for a drill and reads until the cut is made.
fn cut(socket: &Path, command: Command) -> Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).context("connecting to the box's socket")?;
    stream.set_read_timeout(Some(SOON))?;
    writeln!(stream, "{}", serde_json::to_string(&Request { protocol: PROTOCOL, command })?)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    loop {
        let line = lines.next().context("the box hung up")??;
        let Reply::Drill(news) = serde_json::from_str(&line)? else {
            bail!("asked for a drill, the box says {line}")
        };
        if let DrillNews::Told { after_ms: Some(_), .. } = *news {
            return Ok(stream);
        }
    }
}
