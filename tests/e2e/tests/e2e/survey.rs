//! `mainstay survey` against real servers: what it says is what they are set to, it leaves nothing behind, and what is on air
//! stays there.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, ensure};
use mainstay_e2e::daemon::Daemon;
use mainstay_e2e::harbor::Harbor;
use mainstay_e2e::icecast::{Headend, Icecast, SOURCE_PASSWORD, Version};
use mainstay_e2e::liar::{Liar, Lie};
use mainstay_e2e::listener::Listener;
use mainstay_e2e::proof::unbroken;
use mainstay_e2e::settings::{Input, Mount, Output, Settings};
use mainstay_e2e::{source, wait};
use units::Codec;
use units::snapshot::{
    Command, MountState, PROTOCOL, Reply, Request, Role, SurveyOrder, SurveyReport, SurveySight,
};

use crate::stage::{LATER, SOON, metronome};
use crate::tls::authority;

/// A box that feeds nothing, and a file with the password.
fn idle() -> Result<(Daemon, String)> {
    let daemon = Daemon::start(&Settings {
        input: Input::Tone(1000),
        outputs: Vec::new(),
        meters: false,
        title_file: None,
    })?;
    let file = daemon.folder().join("password");
    std::fs::write(&file, format!("{SOURCE_PASSWORD}\n"))?;
    let file = file.display().to_string();
    Ok((daemon, file))
}

fn survey(daemon: &Daemon, arguments: &[&str]) -> Result<SurveyReport> {
    let output = daemon.cli(&[&["survey", "--json"], arguments].concat())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "survey {arguments:?}: {said}\n{}", daemon.log());
    serde_json::from_slice(&output.stdout).with_context(|| said)
}

fn has(report: &SurveyReport, line: &str) -> bool {
    report.settings.iter().any(|known| known == line || known.starts_with(&format!("{line} ")))
}

fn nothing_left(server: &Icecast, mounts: &[&str]) -> Result<()> {
    wait::until("the survey's sources are gone", SOON, || {
        for mount in mounts {
            if server.source(mount).map_err(|error| format!("{error:#}"))?.is_some() {
                return Err(format!("{mount} has a source"));
            }
        }
        Ok(())
    })
}

#[test]
fn a_free_pair_is_proven_on_both_icecasts() -> Result<()> {
    for (version, kind) in [(Version::Installed, "icecast-2.4"), (Version::V25, "icecast-2.5")] {
        let server = Headend { version, source_timeout: 4, ..Headend::default() }.start()?;
        let (daemon, password) = idle()?;
        let (url, with) =
            (server.url("/live"), ["--fallback", "/live_fallback", "--password-file", &password]);
        let report = survey(&daemon, &[&[url.as_str(), "--slow"], with.as_slice()].concat())?;
        ensure!(report.kind == kind, "{report:?}");
        for line in ["[output.proven]", "fallback = true", "override = true", "evict = true"] {
            ensure!(has(&report, line), "{line} in {report:#?}");
        }
        // The server's clock ticks once a second, and its time-out is looked at then.
        ensure!(
            ["4", "5"].iter().any(|secs| has(&report, &format!("source_timeout = \"{secs} s\""))),
            "{report:#?}"
        );
        // 64 KiB are less than three seconds at 320 kbit/s.
        let lines = report.headend.join("\n");
        ensure!(lines.contains("<burst-size>") && !lines.contains("<mount"), "{lines}");
        let burst =
            report.settings.iter().find_map(|line| line.strip_prefix("burst = ")?.parse::<u64>().ok());
        ensure!(burst.is_some_and(|burst| (60_000..=70_000).contains(&burst)), "{report:#?}");
        nothing_left(&server, &["/live", "/live_fallback", "/live_survey"])?;
    }
    Ok(())
}

#[test]
fn what_the_server_lacks_is_named_with_its_lines() -> Result<()> {
    // The fallback that is asked about is not the one that is set.
    let server = Headend { burst: 200_000, ..Headend::default() }.start()?;
    let (daemon, password) = idle()?;
    let url = server.url("/live");
    let report = survey(&daemon, &[&url, "--fallback", "/other", "--password-file", &password])?;
    ensure!(has(&report, "fallback = false") && has(&report, "evict = true"), "{report:#?}");
    let lines = report.headend.join("\n");
    ensure!(lines.contains("<fallback-mount>/other</fallback-mount>"), "{lines}");
    ensure!(!lines.contains("burst-size"), "{lines}");

    std::fs::write(&password, "wrong\n")?;
    let report = survey(&daemon, &[&url, "--password-file", &password])?;
    let refused = |finding: &units::snapshot::SurveyFinding| finding.text.contains("login is refused");
    ensure!(report.findings.iter().any(refused), "{report:#?}");
    Ok(())
}

#[test]
fn what_is_on_air_stays_there_and_comes_back() -> Result<()> {
    let server = Headend { sources: 3, ..Headend::default() }.start()?;
    let (_folder, input) = metronome()?;
    let settings = Settings::new(input, Output::live(&server));
    let daemon = Daemon::start(&settings)?;
    daemon.wait_until_verified(SOON)?;

    let listener = Listener::join(&server.url("/live"))?;
    for arguments in [&["main"][..], &["main", "--off-air"]] {
        let report = survey(&daemon, arguments)?;
        ensure!(has(&report, "evict = true") && has(&report, "# fallback: not tried"), "{report:#?}");
        for role in [Role::Primary, Role::Fallback] {
            let mount = daemon.mount("main", role)?;
            ensure!((mount.accepted, mount.failures) == (1, 0), "{mount:?}\n{}", daemon.log());
        }
    }
    unbroken(&listener, &settings.outputs[0].mounts[0].1.rendition())?;
    drop(listener);

    // The server notices a listener's leaving when it next writes to him.
    wait::until("nobody listens", SOON, || {
        let source = server.source("/live").map_err(|error| format!("{error:#}"))?;
        match source.and_then(|source| source["listeners"].as_u64()) {
            Some(0) => Ok(()),
            other => Err(format!("{other:?} listeners")),
        }
    })?;
    let report = survey(&daemon, &["main", "--off-air"])?;
    for line in ["fallback = true", "override = true", "evict = true"] {
        ensure!(has(&report, line), "{line} in {report:#?}\n{}", daemon.log());
    }
    daemon.wait_until_verified(LATER)?;
    Ok(())
}

#[test]
fn what_answers_behind_a_mount_is_found_and_left_alone() -> Result<()> {
    let chain = [("/live", "/live_fallback"), ("/live_fallback", "/night")];
    let fallbacks = chain.map(|(mount, fallback)| (mount.to_owned(), fallback.to_owned())).to_vec();
    let server = Headend { fallbacks, ..Headend::default() }.start()?;
    let (daemon, password) = idle()?;
    let url = server.url("/live");
    let with = [&url, "--fallback", "/live_fallback", "--password-file", &password];
    for (path, line) in [("/night", "# fallback: not tried"), ("/live_fallback", "fallback = true")] {
        let source = source::foreign(&server.url(path), SOURCE_PASSWORD, daemon.folder())?;
        server.wait_for_source(path, SOON)?;
        // Listed it is at once; listeners get it once its thread runs.
        let listener = wait::until("a listener is let in", SOON, || {
            Listener::join(&url).map_err(|error| format!("{error:#}"))
        })?;
        let report = wait::until("enough of it was heard to be known again", SOON, || {
            let report = survey(&daemon, &with).map_err(|error| format!("{error:#}"))?;
            let named = format!("without a source of its own, /live plays {path}");
            let found = report.findings.iter().any(|finding| finding.text == named);
            if found { Ok(report) } else { Err(format!("{report:#?}")) }
        })?;
        ensure!(has(&report, line) && has(&report, "evict = true"), "{report:#?}");
        ensure!(has(&report, "# override: not tried"), "{report:#?}");
        // Nobody took his programme away.
        listener.wait_for_bytes(listener.bytes() + 10_000, SOON)?;
        drop(source);
        nothing_left(&server, &[path])?;
    }
    Ok(())
}

#[test]
fn an_output_over_tls_is_surveyed_with_its_own_authority() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let ours = authority(folder.path(), "ours")?;
    let server = Headend { tls: Some(ours.server), ..Headend::default() }.start()?;
    let trusted = format!("tls = {{ ca = \"{}\" }}", ours.certificate.display());
    let mount = |path: &str| Mount::icecast(server.tls_url(path), Codec::AacLc, 128).with(&trusted);
    let output = Output::pair("main", mount("/live"), mount("/live_fallback"));
    let daemon = Daemon::start(&Settings::new(Input::Tone(1000), output))?;
    daemon.wait_until_verified(SOON)?;
    let report = survey(&daemon, &["main", "--off-air"])?;
    for line in ["fallback = true", "override = true", "evict = true"] {
        ensure!(has(&report, line), "{line} in {report:#?}\n{}", daemon.log());
    }
    // 64 KiB are enough at this bitrate.
    ensure!(report.headend.is_empty(), "{report:#?}");
    daemon.wait_until_verified(LATER)?;
    // A stranger's address is judged by the system's roots, which know nothing of this authority.
    let report = survey(&daemon, &[&server.tls_url("/elsewhere")])?;
    ensure!(report.kind.is_empty() && report.findings.len() == 1, "{report:#?}");
    Ok(())
}

#[test]
fn whoever_hangs_up_ends_his_survey_and_the_output_comes_back() -> Result<()> {
    let server = Headend::default().start()?;
    let daemon = Daemon::start(&Settings::new(Input::Tone(1000), Output::live(&server)))?;
    daemon.wait_until_verified(SOON)?;
    let order =
        SurveyOrder { target: "main".to_owned(), slow: true, off_air: true, ..SurveyOrder::default() };
    let request = Request { protocol: PROTOCOL, command: Command::Survey(order.clone()) };
    let mut client = UnixStream::connect(daemon.socket())?;
    writeln!(client, "{}", serde_json::to_string(&request)?)?;
    daemon.wait_for("the output is off its mounts", SOON, |status| status.outputs.is_empty())?;
    let second = daemon.ask(Command::Survey(order))?;
    ensure!(matches!(second, Reply::Refused { .. }), "{second:?}");
    drop(client);
    daemon.wait_for("the output is back on its mounts", LATER, |status| {
        let mut mounts = status.outputs.iter().flat_map(|output| &output.mounts).peekable();
        mounts.peek().is_some() && mounts.all(|mount| mount.state == MountState::Verified)
    })?;
    nothing_left(&server, &["/live_survey"])
}

#[test]
fn a_full_server_is_told_what_it_needs() -> Result<()> {
    let server = Headend { sources: 2, ..Headend::default() }.start()?;
    let daemon = Daemon::start(&Settings::new(Input::Tone(1000), Output::live(&server)))?;
    daemon.wait_until_verified(SOON)?;
    let report = survey(&daemon, &["main"])?;
    ensure!(report.headend.join("\n").contains("<sources>5</sources>"), "{report:#?}");
    for role in [Role::Primary, Role::Fallback] {
        let mount = daemon.mount("main", role)?;
        ensure!((mount.accepted, mount.failures) == (1, 0), "{mount:?}");
    }
    Ok(())
}

#[test]
fn harbor_is_known_by_its_pages_and_tells_a_wrong_login() -> Result<()> {
    let harbor = Harbor::start()?;
    let (daemon, password) = idle()?;
    let good = |report: &SurveyReport| {
        report
            .findings
            .iter()
            .any(|finding| finding.sight == SurveySight::Good && finding.text.contains("login works"))
    };
    let report = survey(&daemon, &[&harbor.url(), "--password-file", &password])?;
    ensure!(report.kind == "harbor" && good(&report), "{report:#?}\n{}", harbor.log());
    ensure!(has(&report, "server = \"harbor\"") && !has(&report, "[output.proven]"), "{report:#?}");
    std::fs::write(&password, "wrong\n")?;
    let report = survey(&daemon, &[&harbor.url(), "--password-file", &password])?;
    ensure!(report.kind == "harbor" && !good(&report), "{report:#?}");
    Ok(())
}

#[test]
fn liars_are_named_survived_and_given_no_password() -> Result<()> {
    let (daemon, password) = idle()?;
    for lie in Lie::ALL {
        let liar = Liar::start(lie)?;
        let report = survey(&daemon, &[&liar.url("/live"), "--password-file", &password])?;
        ensure!(
            report.findings.iter().any(|finding| finding.sight == SurveySight::Bad),
            "{lie:?}: {report:#?}"
        );
        ensure!(report.settings.is_empty() && liar.visits() < 8, "{lie:?}: {report:#?}");
    }
    let short = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5000\r\n\r\nshort";
    let circle = "HTTP/1.1 302 Found\r\nLocation: /somewhere\r\nContent-Length: 0\r\n\r\n";
    for (answer, named) in [(short, "5000 bytes"), (circle, "circle")] {
        let (url, heard, _server) = always(answer)?;
        let report = survey(&daemon, &[&url, "--password-file", &password])?;
        ensure!(report.findings.iter().any(|finding| finding.text.contains(named)), "{report:#?}");
        let heard = heard.lock().map(|heard| heard.clone()).unwrap_or_default();
        ensure!(heard.contains("GET /") && !heard.contains("Authorization"), "{heard}");
    }
    Ok(())
}

/// A server with one answer for everybody; with what it was asked.
fn always(answer: &'static str) -> Result<(String, Arc<Mutex<String>>, Closing)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let heard = Arc::new(Mutex::new(String::new()));
    let closing = Arc::new(AtomicBool::new(false));
    let (noted, leave) = (Arc::clone(&heard), Arc::clone(&closing));
    std::thread::spawn(move || {
        for guest in listener.incoming() {
            let Ok(mut guest) = guest else { return };
            if leave.load(Ordering::Relaxed) {
                return;
            }
            let mut buffer = [0; 4096];
            let count = guest.read(&mut buffer).unwrap_or(0);
            if let Ok(mut noted) = noted.lock() {
                noted.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            // A guest that has left is nobody's trouble.
            let _ = guest.write_all(answer.as_bytes());
        }
    });
    Ok((format!("http://{address}/live"), heard, Closing { address, closing }))
}

struct Closing {
    address: std::net::SocketAddr,
    closing: Arc<AtomicBool>,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // Wakes the thread, which sees that it may leave.
        drop(std::net::TcpStream::connect(self.address));
    }
}
