//! A drill: an output's primary is cut on purpose, the way a path dies, while a listener of our own follows its mount over
//! another uplink and counts what becomes of every byte.
//!
//! The cut is a socket filter (socket(7), `SO_ATTACH_FILTER`) that lets nothing of what the server says through to the
//! source's connection: what is sent still leaves, and no acknowledgement, close or reset is heard, as on a path that is dead
//! in one direction. It takes no rights, touches no other connection, and is gone with the connection or with the drill,
//! whichever ends first.

mod ear;
mod plan;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use delivery::UplinkId;
use delivery::config::{MountConfig, MountId, Return};
use delivery::event::{Failure, Tls};
use delivery::wire::request;
use settings::Settings;
use socket2::{SockFilter, SockRef};
use tokio::sync::mpsc;
use units::Instant;
use units::snapshot::{DrillNews, DrillReport, HandOverReport, Heard, Incident, MountState, Role};

use crate::clock;
use crate::driver::Driver;
use crate::incidents::Incidents;
use crate::link::{self, Source};

use ear::Ear;
use plan::Plan;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub output: String,
    /// How long the cut lasts at the most.
    pub cut: Duration,
    /// Also where listeners will notice.
    pub force: bool,
}

/// Drills, telling `news` what happens; gives what came of it, or why it was not done. Dropped before its end, it lifts the cut.
pub(crate) async fn run(
    driver: Driver,
    incidents: Incidents,
    settings: Settings,
    order: Order,
    news: mpsc::Sender<DrillNews>,
) -> Result<DrillReport, String> {
    let plan = Plan::of(&order, &settings, &driver.report(), &driver.uplinks())?;
    let Some(_drilling) = incidents.drill(&order.output) else {
        return Err("another drill is under way; wait for its end".to_string());
    };
    let source = driver
        .source(&plan.primary.id)
        .ok_or("the primary has no connection to cut; wait until it is on air")?;
    let (address, interface) =
        whereabouts(&source).map_err(|error| format!("the primary's connection has ended: {error}"))?;
    drop(source);
    let spare = plan.spare(interface.as_deref());
    let _ = news.try_send(DrillNews::Plan { lines: plan.lines(interface.as_deref(), spare) });

    let config = &plan.primary;
    let uplink = spare.map(|uplink| UplinkId(uplink.place));
    let page = SocketAddr::new(address.ip(), config.server.port);
    let way = driver.way(uplink, page, tls(config));
    let request =
        request::page(config, concat!("Mainstay/", env!("CARGO_PKG_VERSION"), " (drill)"), &config.path);
    let renditions: Vec<_> =
        plan.renditions.iter().filter_map(|rendition| driver.rendition(rendition)).collect();
    let ear = Rc::new(RefCell::new(Ear::default()));
    let (listening, grid) = (Rc::clone(&ear), driver.clone());
    let hearing = link::hear(&driver, way, &request, &renditions, move |count, pieces| {
        listening.borrow_mut().take(clock::now(), count, pieces, &grid);
    });
    let drill = Drill {
        driver: &driver,
        output: &order.output,
        news,
        ear,
        hearing: Box::pin(hearing),
        failure: None,
        cut_at: None,
        said: clock::now(),
        phase: String::new(),
    };
    drill.carry_out(&order, &settings, &plan).await
}

struct Drill<'a, H> {
    driver: &'a Driver,
    output: &'a str,
    news: mpsc::Sender<DrillNews>,
    ear: Rc<RefCell<Ear>>,
    /// The listener connection.
    hearing: Pin<Box<H>>,
    /// How it ended, if it has: `Some(None)` in good order.
    failure: Option<Option<Failure>>,
    cut_at: Option<Instant>,
    /// When anything was told last.
    said: Instant,
    /// The pair's phase, as told last.
    phase: String,
}

impl<H: Future<Output = Result<(), Failure>>> Drill<'_, H> {
    async fn carry_out(
        mut self,
        order: &Order,
        settings: &Settings,
        plan: &Plan,
    ) -> Result<DrillReport, String> {
        let ear = Rc::clone(&self.ear);
        let joined = self.wait("for the listener to hear the programme", JOINING, |drill| {
            ear.borrow().has_joined() || drill.failure.is_some()
        });
        joined.await;
        if !ear.borrow().has_joined() {
            return Err(self.deaf());
        }
        let calm = if plan.protected() { CALM } else { COUNTDOWN };
        if !plan.protected() {
            self.tell(format!("cutting in {} s: Ctrl-C keeps it from happening", calm.as_secs()));
        }
        self.wait("before the cut", calm, |_| false).await;
        // Seconds have passed: it must still be so.
        Plan::of(order, settings, &self.driver.report(), &self.driver.uplinks())?;

        let path = self.cut(order, &plan.primary.id)?;
        let after = self.follow(order, plan, path).await;
        Ok(self.report(plan, after))
    }

    /// Cuts the source's connection.
    fn cut(&mut self, order: &Order, primary: &MountId) -> Result<DeadPath, String> {
        let source = self
            .driver
            .source(primary)
            .ok_or("the primary's connection has ended meanwhile; nothing was cut")?;
        let path = DeadPath::cut(&source)
            .map_err(|error| format!("the connection cannot be cut: {error}; nothing was cut"))?;
        let now = clock::now();
        self.cut_at = Some(now);
        self.ear.borrow_mut().cut(now);
        let seconds = order.cut.as_secs();
        tracing::warn!(output = %self.output, "drill: the primary's connection is cut on purpose, for {seconds} s at the most");
        self.tell("cut: nothing that the server says is heard any more".to_string());
        Ok(path)
    }

    /// From the cut until everything is as before, or as far as it is waited for.
    async fn follow(&mut self, order: &Order, plan: &Plan, path: DeadPath) -> After {
        let began = clock::now();
        self.wait("for the end of the cut", order.cut, |_| !path.holds()).await;
        let cut_ms = millis(clock::now().since(began));
        let gone = !path.holds();
        drop(path);
        self.tell(if gone {
            "the connection that was cut is gone: the cut has ended with it".to_string()
        } else {
            format!("the cut is lifted after {} s", order.cut.as_secs())
        });
        tracing::info!(output = %self.output, "drill: the cut has ended after {cut_ms} ms");
        let mut open = Vec::new();
        let ear = Rc::clone(&self.ear);
        let sounds = move |drill: &mut Self| drill.failure.is_some() || ear.borrow().hears(clock::now());
        let Some(hand_over) = self.hand_over() else {
            let again =
                self.wait("for the sound", PLAIN_PATIENCE, |drill| drill.is_on_air() && sounds(drill)).await;
            if !again {
                open.push(format!("no sound yet, {} s after the cut", PLAIN_PATIENCE.as_secs()));
            }
            self.wait("for the end", TAIL, |_| false).await;
            return After { cut_ms, open };
        };
        if hand_over.listeners_on == Role::Primary {
            // It may still be deciding; a doubt has an end.
            self.wait("for the box to decide", DECIDING, |drill| drill.is_away() || drill.is_calm()).await;
        }
        if self.is_away() {
            match plan.give_back {
                Return::Manual => open.push(
                    "the listeners stay on the fallback until somebody brings them back (return = \"manual\")".to_string(),
                ),
                Return::Auto | Return::AtSilence => open.extend(self.await_return(plan).await),
            }
        }
        self.wait("for the sound", SOUND, sounds).await;
        self.wait("for the end", TAIL, |_| false).await;
        if self.is_calm() {
            let held = self.wait("for the fallback to be held again", HOLDING, Self::is_held).await;
            if !held {
                open.push("the fallback is not held again yet: mainstay status says why".to_string());
            }
        }
        After { cut_ms, open }
    }

    /// Waits until the listeners are back; says what is to come where that takes too long.
    async fn await_return(&mut self, plan: &Plan) -> Option<String> {
        let settle = plan.settle.as_secs();
        if plan.settle > LONGEST_SETTLE {
            return Some(format!(
                "the listeners come back once the path has been good for {settle} s: mainstay incidents shows it then"
            ));
        }
        self.tell(format!(
            "the listeners come back once the path has been good for {settle} s; Ctrl-C ends the listening, the box goes on by itself"
        ));
        let limit = plan.settle * 2 + RETURN_PATIENCE;
        if self.wait("for the return", limit, Self::is_calm).await {
            return None;
        }
        Some(format!(
            "the listeners are not back after {} s; each return that does not last ten minutes doubles the settle time",
            limit.as_secs()
        ))
    }

    fn report(self, plan: &Plan, after: After) -> DrillReport {
        let After { cut_ms, open } = after;
        let heard = self.heard();
        let buffer_ms = plan.buffer_ms();
        let report = DrillReport {
            output: self.output.to_string(),
            cut_ms,
            heard,
            buffer_ms,
            incident: self.incident(),
            open,
        };
        let verdict = if report.unheard() { "a listener noticed nothing" } else { "a listener noticed it" };
        tracing::info!(
            output = %self.output,
            "drill over: {verdict}: {} bytes lost, {} repeated, {} packets torn, longest pause {} ms",
            heard.lost_bytes, heard.repeated_bytes, heard.torn, heard.longest_pause_ms
        );
        report
    }

    /// Listens until `done`, or for `limit`; whether it is done.
    async fn wait(&mut self, what: &str, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let until = clock::now() + limit;
        loop {
            if done(self) {
                return true;
            }
            let now = clock::now();
            if now >= until {
                return false;
            }
            let tick = tokio::time::sleep(PACE.min(until.since(now)));
            if self.failure.is_some() {
                tick.await;
            } else {
                tokio::select! {
                    outcome = &mut self.hearing => {
                        self.failure = Some(outcome.err());
                        self.ear.borrow_mut().end();
                        self.tell("the server ended the listener's connection".to_string());
                    }
                    () = tick => {}
                }
            }
            self.look();
            if clock::now().since(self.said) >= HEARTBEAT {
                let (after_ms, heard) = (self.after(), self.heard());
                self.said = clock::now();
                // A client that reads too slowly misses one.
                let _ =
                    self.news.try_send(DrillNews::Going { after_ms, what: format!("waiting {what}"), heard });
            }
        }
    }

    /// Tells where the hand-over stands, when that has changed.
    fn look(&mut self) {
        let Some(hand_over) = self.hand_over() else { return };
        if hand_over.phase == self.phase || (self.phase.is_empty() && hand_over.phase == "calm") {
            return;
        }
        self.phase = hand_over.phase;
        let what = match self.phase.as_str() {
            "calm" => "calm: the listeners are on the primary".to_string(),
            "doubt" => "the box doubts the path, and gets the fallback ready".to_string(),
            "moving" => "the primary's source is ended: its listeners are on their way".to_string(),
            "away" => "the listeners are on the fallback".to_string(),
            "returning" => "the listeners are being brought back".to_string(),
            other => format!("hand-over: {other}"),
        };
        self.tell(what);
    }

    fn tell(&mut self, what: String) {
        self.said = clock::now();
        let _ = self.news.try_send(DrillNews::Told { after_ms: self.after(), what });
    }

    fn after(&self) -> Option<u64> {
        self.cut_at.map(|at| millis(clock::now().since(at)))
    }

    fn heard(&self) -> Heard {
        self.ear.borrow().heard(clock::now())
    }

    fn hand_over(&self) -> Option<HandOverReport> {
        self.driver.report().into_iter().find(|output| output.name == self.output)?.hand_over
    }

    fn is_away(&mut self) -> bool {
        self.hand_over().is_some_and(|hand_over| hand_over.listeners_on == Role::Fallback)
    }

    fn is_calm(&mut self) -> bool {
        self.hand_over().is_none_or(|hand_over| hand_over.phase == "calm")
    }

    fn state(&self, role: Role) -> Option<MountState> {
        let output = self.driver.report().into_iter().find(|output| output.name == self.output)?;
        output.mounts.iter().find(|mount| mount.role == role).map(|mount| mount.state)
    }

    fn is_on_air(&self) -> bool {
        self.state(Role::Primary).is_some_and(MountState::on_air)
    }

    fn is_held(&mut self) -> bool {
        self.state(Role::Fallback) == Some(MountState::Held)
    }

    /// The incident that began with the cut.
    fn incident(&self) -> Option<Incident> {
        let cut = self.cut_at?;
        // The last good moment lies a little before the first one that was not.
        let ours = |incident: &Incident| incident.began + BEFORE >= cut;
        self.hand_over()?.incidents.into_iter().find(ours)
    }

    /// Why the listener heard nothing, and what to do.
    fn deaf(&self) -> String {
        let why = match &self.failure {
            Some(Some(failure)) => format!("its connection failed: {failure}"),
            Some(None) => "the server gave it something else than a stream: does the mount ask listeners for a password?".to_string(),
            None => format!(
                "nothing of ours within {} s: coded silence cannot be told apart, so play something; or another source is on the mount",
                JOINING.as_secs()
            ),
        };
        format!("nothing was cut: a listener of the box's own cannot hear the primary ({why})")
    }
}

struct After {
    cut_ms: u64,
    open: Vec<String>,
}

/// A connection to which nothing gets through. Holding this does not keep the connection open.
struct DeadPath(Weak<Source>);

impl DeadPath {
    fn cut(source: &Rc<Source>) -> std::io::Result<Self> {
        // A classic BPF program of one instruction: keep no byte of any packet.
        let drop_all = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
        SockRef::from(&*source.wire.borrow().stream).attach_filter(&[drop_all])?;
        Ok(Self(Rc::downgrade(source)))
    }

    /// Whether there still is something to cut.
    fn holds(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl Drop for DeadPath {
    fn drop(&mut self) {
        if let Some(source) = self.0.upgrade() {
            // Failure means that the connection is closed already.
            let _ = SockRef::from(&*source.wire.borrow().stream).detach_filter();
        }
    }
}

/// Where a source is connected to, and the interface that it is bound to.
fn whereabouts(source: &Source) -> std::io::Result<(SocketAddr, Option<String>)> {
    let wire = source.wire.borrow();
    let device = SockRef::from(&*wire.stream).device()?;
    Ok((wire.stream.peer_addr()?, device.map(|name| String::from_utf8_lossy(&name).into_owned())))
}

fn tls(config: &MountConfig) -> Option<Tls> {
    let server = &config.server;
    server.tls.as_ref().map(|trust| Tls { name: server.host.clone(), trust: trust.clone() })
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

const PACE: Duration = Duration::from_millis(50);
const HEARTBEAT: Duration = Duration::from_secs(1);
const JOINING: Duration = Duration::from_secs(10);
/// How the stream comes without a cut.
const CALM: Duration = Duration::from_secs(3);
/// Time to think again.
const COUNTDOWN: Duration = Duration::from_secs(5);
/// A source time-out of 30 s (the longest of any profile), and the server's own second.
const DECIDING: Duration = Duration::from_secs(32);
const SOUND: Duration = Duration::from_secs(15);
const PLAIN_PATIENCE: Duration = Duration::from_secs(60);
const RETURN_PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_SETTLE: Duration = Duration::from_secs(600);
const HOLDING: Duration = Duration::from_secs(15);
/// What is amiss at the end shows within this.
const TAIL: Duration = Duration::from_secs(3);
/// The last acknowledgement before a cut may be so old.
const BEFORE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Notify;

    use super::*;
    use crate::wire::Wire;

    #[test]
    fn a_dead_path_lets_nothing_through_until_it_is_lifted() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(server.local_addr().unwrap()).await.unwrap();
            let mut far = server.accept().await.unwrap().0.into_std().unwrap();
            let source =
                Rc::new(Source { wire: RefCell::new(Wire::new(Rc::new(stream), None)), full: Notify::new() });
            let path = DeadPath::cut(&source).unwrap();
            assert!(path.holds());
            far.write_all(b"x").unwrap();
            source.wire.borrow_mut().send_body(b"sound", &[]).unwrap();
            let stream = Rc::clone(&source.wire.borrow().stream);
            // The far side gets it all the same: only the way back is dead.
            far.set_nonblocking(false).unwrap();
            let mut got = [0; 5];
            std::io::Read::read_exact(&mut far, &mut got).unwrap();
            assert_eq!((&got, source.wire.borrow_mut().acked()), (b"sound", 0));
            assert!(stream.try_read(&mut [0; 8]).is_err());
            drop(path);
            // TCP sends it again, and this time it is heard.
            stream.readable().await.unwrap();
            assert_eq!(stream.try_read(&mut [0; 8]).unwrap(), 1);
            let path = DeadPath::cut(&source).unwrap();
            drop((stream, source));
            assert!(!path.holds());
        });
    }
}
