//! Uplinks, the part that touches the kernel: interfaces watched, sockets bound, names looked up and checks carried out, each
//! through its own interface. It decides nothing; `delivery::uplink` does.

mod bind;
mod bus;
mod check;
mod frame;
mod netlink;
mod page;
mod resolve;
mod sysctl;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use delivery::event::Failure;
use delivery::uplink::{
    CheckId, CheckKind, Input, Interface, Outcome, Output, Transition, UplinkConfig, UplinkId,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use units::snapshot::UplinkState;

pub(crate) use bind::tune;

use netlink::Link;

/// A handle to the one edge of uplinks; cheap to clone, for one thread (and its `LocalSet`) only.
#[derive(Clone)]
pub(crate) struct Uplinks(Rc<Shared>);

struct Shared {
    configs: RefCell<Vec<UplinkConfig>>,
    /// The machine's interfaces, as told to the core last.
    links: RefCell<Vec<Link>>,
    /// Inputs for the core.
    events: mpsc::Sender<Input>,
    checks: RefCell<HashMap<CheckId, AbortHandle>>,
    watched: Cell<bool>,
    bus: bus::Bus,
}

impl Uplinks {
    /// The edge, and the events that are to be fed to `delivery::uplink`. Nothing runs until there are uplinks.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Input>) {
        let (events, inbox) = mpsc::channel(EVENTS);
        let shared = Shared {
            configs: RefCell::default(),
            links: RefCell::default(),
            events,
            checks: RefCell::default(),
            watched: Cell::new(false),
            bus: bus::Bus::system(),
        };
        (Self(Rc::new(shared)), inbox)
    }

    /// Takes the uplinks that the core is about to be given too; the first ones start the watch over the interfaces.
    pub(crate) fn configure(&self, configs: &[UplinkConfig]) {
        *self.0.configs.borrow_mut() = configs.to_vec();
        if configs.is_empty() {
            return;
        }
        let edge = self.clone();
        if self.0.watched.replace(true) {
            // While there were no uplinks nobody was told.
            tokio::task::spawn_local(async move { edge.tell().await });
        } else {
            tokio::task::spawn_local(netlink::watch(async move |links: Vec<Link>| {
                *edge.0.links.borrow_mut() = links;
                edge.tell().await;
            }));
        }
    }

    /// Tells the core what interfaces there are.
    async fn tell(&self) {
        let mut interfaces: Vec<Interface> =
            self.0.links.borrow().iter().map(|link| link.interface.clone()).collect();
        for place in 0..interfaces.len() {
            if self.0.configs.borrow().iter().any(|config| config.interface == interfaces[place].name) {
                interfaces[place].hindrances = sysctl::hindrances(&interfaces[place], &interfaces);
            }
        }
        if !self.0.configs.borrow().is_empty() && !interfaces.is_empty() {
            // Whoever listened has ended: nobody is left to be told.
            let _ = self.0.events.send(Input::Interfaces(interfaces)).await;
        }
    }

    /// Binds a socket to an uplink, before it connects; `None` leaves it to the kernel's routes.
    pub(crate) fn bind(&self, uplink: Option<UplinkId>, socket: &impl AsFd) -> io::Result<()> {
        let Some(uplink) = uplink else { return Ok(()) };
        let configs = self.0.configs.borrow();
        let config = configs.get(usize::from(uplink.0)).ok_or(ErrorKind::NotFound)?;
        bind::to_device(socket, &config.interface)
    }

    /// Looks a name up through an uplink, now; `None` as the machine does. Empty if the name has no address.
    pub(crate) async fn resolve(&self, uplink: Option<UplinkId>, host: &str) -> Result<Vec<IpAddr>, Failure> {
        let Some(uplink) = uplink else { return resolve::unbound(host).await };
        let Some((link, config)) = self.link(uplink) else { return Err(Failure::Unreachable) };
        resolve::through(&link, &config.dns, &self.0.bus, host).await
    }

    /// Does what the core asked for.
    pub(crate) fn carry_out(&self, output: Output) {
        match output {
            Output::Check { check, uplink, kind, patience } => {
                let edge = self.clone();
                let task = tokio::task::spawn_local(async move {
                    let outcome = edge.check(uplink, &kind, patience).await;
                    edge.0.checks.borrow_mut().remove(&check);
                    let _ = edge.0.events.send(Input::Checked { check, outcome }).await;
                });
                self.0.checks.borrow_mut().insert(check, task.abort_handle());
            }
            Output::Drop { check } => {
                if let Some(task) = self.0.checks.borrow_mut().remove(&check) {
                    task.abort();
                }
            }
            Output::Log(transition) => say(&transition),
        }
    }

    async fn check(&self, uplink: UplinkId, kind: &CheckKind, patience: Duration) -> Outcome {
        match self.link(uplink) {
            Some((link, _)) => check::run(&link, kind, patience).await,
            None => Outcome::Unreachable,
        }
    }

    /// An uplink's interface as it is now, if it is there.
    fn link(&self, uplink: UplinkId) -> Option<(Link, UplinkConfig)> {
        let configs = self.0.configs.borrow();
        let config = configs.get(usize::from(uplink.0))?;
        let links = self.0.links.borrow();
        let link = links.iter().find(|link| link.interface.name == config.interface)?;
        Some((link.clone(), config.clone()))
    }
}

/// One line a transition, from one place.
fn say(transition: &Transition) {
    let Transition { uplink: _, name, from, to, why, alarm } = transition;
    let (uplink, from, word) = (name.as_str(), from.word(), to.word());
    if *alarm {
        tracing::error!(uplink, from, to = word, alarm = true, "{why}");
    } else {
        match to {
            UplinkState::Up | UplinkState::Checking => tracing::info!(uplink, from, to = word, "{why}"),
            UplinkState::Down | UplinkState::Suspect => tracing::warn!(uplink, from, to = word, "{why}"),
        }
    }
}

/// Pictures and answers that the core has not taken yet; their senders wait.
const EVENTS: usize = 64;
