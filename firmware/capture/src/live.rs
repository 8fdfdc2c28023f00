//! The real-time thread on a card. Its verbs are a closed list: wait, read one period, stamp, push, count. It does not
//! allocate, lock, log, format or panic; what it cannot do itself (opening and closing cards) the finder does.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use alsa::poll::pollfd;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use std::os::fd::{AsFd, AsRawFd};

use crate::card::{Card, Ending, MAX_DESCRIPTORS};
use crate::clock::{NS_PER_SECOND, instant, now_ns, sleep_until};
use crate::realtime::Hush;
use crate::ring::{Bell, Message, RawPeriod, Receiver, Sender};
use crate::slot::Slot;
use crate::status::{Loss, Status};
use crate::timeline::{Grain, Origin, Timeline};

/// What the capture's threads share.
pub(crate) struct Link {
    /// Everybody ends.
    pub(crate) stop: AtomicBool,
    /// A card the finder opened, for the real-time thread.
    pub(crate) fresh: Slot<Card>,
    /// A card the real-time thread lost, for the finder to close.
    pub(crate) dead: Slot<Card>,
    /// Wakes the real-time thread: stop, or a fresh card.
    pub(crate) to_worker: EventFd,
    /// Wakes the finder: stop, or a dead card.
    pub(crate) to_finder: EventFd,
    /// Wakes the programme thread: a message.
    pub(crate) arrived: Bell,
}

impl Link {
    pub(crate) fn new() -> Result<Self, nix::Error> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self {
            stop: AtomicBool::new(false),
            fresh: Slot::default(),
            dead: Slot::default(),
            to_worker: EventFd::from_flags(flags)?,
            to_finder: EventFd::from_flags(flags)?,
            arrived: Bell::new()?,
        })
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Ends all threads soon.
    pub(crate) fn end(&self) {
        self.stop.store(true, Ordering::Release);
        ring(&self.to_worker);
        ring(&self.to_finder);
    }
}

/// A full eventfd is rung already.
pub(crate) fn ring(bell: &EventFd) {
    let _ = bell.write(1);
}

/// Empties an eventfd, so that it can be waited for again.
pub(crate) fn hush(bell: &EventFd) {
    let _ = bell.read();
}

/// The real-time thread's belongings: all made before it starts.
pub(crate) struct Live {
    card: Option<Box<Card>>,
    timeline: Timeline,
    filled: Sender<Message>,
    free: Receiver<Box<RawPeriod>>,
    /// The buffer that the next read goes into.
    hand: Box<RawPeriod>,
    /// Frames one message carries at most.
    limit: usize,
    status: Arc<Status>,
    link: Arc<Link>,
    /// The bell first, the card's behind it.
    fds: [pollfd; 1 + MAX_DESCRIPTORS],
    count: usize,
    /// A whole period waits: no need to poll for it.
    more: bool,
    /// When the last read began.
    asked_ns: i64,
    /// When the last frame came.
    heard_ns: i64,
    /// Wake-ups without a frame since then.
    in_vain: u32,
    /// The ring has been full since the last message.
    overflowing: bool,
}

impl Live {
    #[expect(
        clippy::too_many_arguments,
        reason = "the belongings are made in one place and handed over once"
    )]
    pub(crate) fn new(
        card: Option<Box<Card>>,
        timeline: Timeline,
        filled: Sender<Message>,
        free: Receiver<Box<RawPeriod>>,
        hand: Box<RawPeriod>,
        limit: u32,
        status: Arc<Status>,
        link: Arc<Link>,
    ) -> Self {
        let nothing = pollfd { fd: -1, events: 0, revents: 0 };
        let mut fds = [nothing; 1 + MAX_DESCRIPTORS];
        fds[0] = pollfd { fd: link.to_worker.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        Self {
            card,
            timeline,
            filled,
            free,
            hand,
            limit: limit as usize,
            status,
            link,
            fds,
            count: 0,
            more: false,
            asked_ns: 0,
            heard_ns: 0,
            in_vain: 0,
            overflowing: false,
        }
    }

    /// Runs until the link stops.
    pub(crate) fn run(mut self) {
        let _hush = Hush::new();
        match self.card.take() {
            Some(card) if card.start() => {
                self.timeline.begin(origin(&card, &self.timeline));
                self.take_up(card);
            }
            Some(card) => self.lose(card, Loss::Stuck),
            None => self.status.gap(),
        }
        while !self.link.stopping() {
            match self.card.take() {
                Some(card) => self.hear(card),
                None => self.stand_in(),
            }
        }
    }

    /// Waits for one period and deals with however that ends.
    fn hear(&mut self, card: Box<Card>) {
        let patience_ns = 3 * self.timeline.span_ns(card.period.into()) + 200 * NS_PER_MS;
        let mut ending = if self.more { None } else { self.wait(&card, patience_ns) };
        if ending.is_none() {
            ending = Some(self.read(&card));
        }
        self.more = false;
        match ending.unwrap_or(Ending::Spurious) {
            Ending::Whole => {
                self.hand_on(&card, self.hand.frames);
                self.card = Some(card);
            }
            Ending::Partial(frames) => {
                self.hand_on(&card, frames);
                self.card = Some(card);
            }
            Ending::Spurious if now_ns() - self.heard_ns > patience_ns => self.lose(card, Loss::Silent),
            Ending::Spurious => {
                self.in_vain += 1;
                // A driver that signals without delivering must not spin a real-time thread.
                if self.in_vain > MOST_IN_VAIN {
                    sleep_until(now_ns() + NS_PER_MS);
                }
                self.card = Some(card);
            }
            Ending::Interrupted => {
                hush(&self.link.to_worker);
                self.card = Some(card);
            }
            Ending::Overrun => {
                self.status.overran();
                self.start_again(card);
            }
            // Prepare brings a suspended card back as well, and needs no waiting for the resume.
            Ending::Suspended => self.start_again(card),
            Ending::Unplugged => self.lose(card, Loss::Unplugged),
            Ending::TimedOut => self.lose(card, Loss::Silent),
            Ending::Failed => self.lose(card, Loss::Failing),
        }
    }

    /// `None`: try to read.
    fn wait(&mut self, card: &Card, patience_ns: i64) -> Option<Ending> {
        let patience = PollTimeout::try_from(patience_ns / NS_PER_MS).unwrap_or(PollTimeout::MAX);
        let fds = &mut self.fds[..=self.count];
        match alsa::poll::poll(fds, patience.into()) {
            Ok(0) => Some(Ending::TimedOut),
            Ok(_) if fds[0].revents != 0 => Some(Ending::Interrupted),
            Ok(_) => card.woken(&fds[1..]),
            Err(_) => Some(Ending::Interrupted),
        }
    }

    fn read(&mut self, card: &Card) -> Ending {
        let frame = card.layout.frame_bytes();
        let frames = self.limit.min(card.period as usize).min(self.hand.bytes.len() / frame);
        self.hand.layout = card.layout;
        self.hand.frames = frames;
        self.asked_ns = now_ns();
        card.read(&mut self.hand.bytes[..frames * frame])
    }

    /// Stamps and pushes what was read; a full ring is a counted gap.
    fn hand_on(&mut self, card: &Card, frames: usize) {
        self.hand.frames = frames;
        let first = self.timeline.position();
        self.timeline.advance(frames as u64);
        let left = card.waiting();
        let now = now_ns();
        self.heard_ns = now;
        self.in_vain = 0;
        let stamp_ns = match left {
            Some(left) => {
                self.timeline.observe(self.asked_ns, now, self.timeline.position() + left);
                self.more = left >= card.period.into() || left >= self.limit as u64;
                // The driver's own stamp lies nearer to the interrupt than anything a thread can take. One that is not from
                // this read is of another clock, or of none.
                match card.stamped() {
                    Some((ns, left)) if ns <= now_ns() && now - ns < NS_PER_SECOND => {
                        ns - self.timeline.span_ns(left)
                    }
                    Some(_) | None => now - self.timeline.span_ns(left),
                }
            }
            None => {
                // The next read tells what is wrong, without a poll before it.
                self.more = true;
                now
            }
        };
        // Before the push: whoever reads a period finds it counted.
        self.status.reached(self.timeline.position());
        let next = if self.filled.has_room() { self.free.pop() } else { None };
        match next {
            Some(next) => {
                let period = mem::replace(&mut self.hand, next);
                // There is room: only this thread takes any away.
                let _ = self.filled.push(Message::Sound { first, stamp_ns, period });
                self.link.arrived.ring();
                self.overflowing = false;
            }
            None => {
                if !mem::replace(&mut self.overflowing, true) {
                    self.status.gap();
                }
                self.status.missed(frames as u64);
            }
        }
    }

    /// After an overrun or a suspend.
    fn start_again(&mut self, card: Box<Card>) {
        if card.restart() {
            self.status.gap();
            self.go_on(card);
        } else {
            self.lose(card, Loss::Stuck);
        }
    }

    /// A started card delivers from now on; what is missing before it is counted. The programme thread sees the jump.
    fn go_on(&mut self, card: Box<Card>) {
        let missing = self.timeline.resume(origin(&card, &self.timeline));
        self.status.missed(missing);
        self.status.reached(self.timeline.position());
        self.take_up(card);
    }

    fn take_up(&mut self, card: Box<Card>) {
        self.count = card.descriptors(&mut self.fds[1..]);
        self.heard_ns = now_ns();
        self.in_vain = 0;
        self.more = false;
        self.status.period_is(card.period);
        self.status.capturing();
        self.card = Some(card);
    }

    fn lose(&mut self, card: Box<Card>, loss: Loss) {
        self.status.gap();
        self.give_back(card, loss);
    }

    /// The finder closes it and looks for it anew.
    fn give_back(&mut self, card: Box<Card>, loss: Loss) {
        self.status.lost(loss, instant(now_ns()));
        // The finder closed the one before, or it could not have opened this one.
        let before = self.link.dead.put(card);
        debug_assert!(before.is_none(), "the finder opens a card only after closing the last");
        mem::forget(before);
        ring(&self.link.to_finder);
    }

    /// No card: silence by the monotonic clock, until the finder brings one.
    fn stand_in(&mut self) {
        if let Some(card) = self.link.fresh.take() {
            match card.start() {
                true => self.go_on(card),
                // Still the same gap.
                false => self.give_back(card, Loss::Stuck),
            }
            return;
        }
        let now = now_ns();
        let limit = self.limit as u64;
        while self.timeline.elapsed(now) >= self.timeline.position() + limit {
            let first = self.timeline.position();
            self.timeline.advance(limit);
            let stamp_ns = self.timeline.end_ns(first + limit);
            self.status.missed(limit);
            self.status.reached(self.timeline.position());
            // With a full ring the jump in the counter says the same.
            let _ = self.filled.push(Message::Silence { first, stamp_ns, frames: limit });
            self.link.arrived.ring();
        }
        let rest_ns = (self.timeline.end_ns(self.timeline.position() + limit) - now).max(0);
        let rest = TimeSpec::new(rest_ns / NS_PER_SECOND, rest_ns % NS_PER_SECOND);
        let mut bell = [PollFd::new(self.link.to_worker.as_fd(), PollFlags::POLLIN)];
        if nix::poll::ppoll(&mut bell, Some(rest), None) == Ok(1) {
            hush(&self.link.to_worker);
        }
    }
}

/// When the first frame of a card that was just started began. Its counter is looked at until it is seen to tick, by one
/// frame between two looks close to each other: that moment is exact. A card that never does so counts coarsely.
fn origin(card: &Card, timeline: &Timeline) -> Origin {
    let begun = now_ns();
    // A tick between looks further apart was looked at from too far, or by a thread that was held up.
    let close_ns = timeline.span_ns(1) / 4;
    let mut least = begun;
    let (mut last, mut last_asked) = (0, begun);
    for _ in 0..MOST_LOOKS {
        let asked = now_ns();
        let Some(there) = card.waiting_now() else { break };
        let now = now_ns();
        least = least.min(now - timeline.span_ns(there));
        // From before the earlier look to after this one: the tick lies between, wherever the thread was held up.
        if there == last + 1 && now - last_asked < close_ns {
            return Origin { ns: now - timeline.span_ns(there), grain: Grain::Fine };
        }
        if now - begun > LONGEST_LOOK_NS {
            break;
        }
        (last, last_asked) = (there, asked);
    }
    Origin { ns: least, grain: Grain::Coarse }
}

/// Plugins wake for other reasons now and then.
const MOST_IN_VAIN: u32 = 8;
const NS_PER_MS: i64 = 1_000_000;
const MOST_LOOKS: u32 = 2_000;
const LONGEST_LOOK_NS: i64 = NS_PER_MS;
