//! Closes lost cards and looks for them until they are back: everything about a card that may take its time.

use std::os::fd::AsFd;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::card::{Card, Wanted};
use crate::live::{Link, hush, ring};
use crate::status::Status;

/// Runs until the link stops. `seeking`: there is no card from the beginning.
pub(crate) fn run(wanted: &Wanted, link: &Arc<Link>, status: &Arc<Status>, mut seeking: bool) {
    while !link.stopping() {
        if let Some(dead) = link.dead.take() {
            // The kernel gives the device free only when it is closed.
            drop(dead);
            seeking = true;
        }
        if seeking {
            match Card::open(wanted) {
                Ok(card) => {
                    seeking = false;
                    status.attempt_failed(String::new());
                    drop(link.fresh.put(Box::new(card)));
                    ring(&link.to_worker);
                }
                // Also when the card now refuses the parameters: another one may be plugged in.
                Err(error) => status.attempt_failed(error.to_string()),
            }
        }
        let patience = if seeking { PollTimeout::from(BETWEEN_ATTEMPTS_MS) } else { PollTimeout::NONE };
        let mut bell = [PollFd::new(link.to_finder.as_fd(), PollFlags::POLLIN)];
        if poll(&mut bell, patience) == Ok(1) {
            hush(&link.to_finder);
        }
    }
}

/// A replugged card is back well within the two seconds promised, and the search costs nothing to speak of.
const BETWEEN_ATTEMPTS_MS: u8 = 250;
