//! What lies between the real-time thread and the programme thread: two lock-free queues of whole periods (full ones one
//! way, empty ones back), and a bell that costs nothing unless somebody waits for it.
//!
//! Buffers travel by pointer: the real-time thread reads the card straight into one, and nothing is copied, allocated or
//! dropped there.

#![expect(unsafe_code, reason = "halves of a heapless queue that outlive a stack frame, and mlock")]

use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heapless::spsc;
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

use crate::samples::Layout;

/// One period as the card delivered it.
pub(crate) struct RawPeriod {
    /// Room for as many frames as one read may take.
    pub(crate) bytes: Box<[u8]>,
    /// How the filled part lies.
    pub(crate) layout: Layout,
    /// Frames filled.
    pub(crate) frames: usize,
}

impl RawPeriod {
    pub(crate) fn new(bytes: usize, layout: Layout) -> Box<Self> {
        Box::new(Self { bytes: vec![0; bytes].into_boxed_slice(), layout, frames: 0 })
    }

    /// Keeps it in memory from now on.
    pub(crate) fn lock(&mut self) -> Result<(), nix::Error> {
        lock(NonNull::from(&mut *self).cast(), size_of::<Self>())?;
        lock(NonNull::from(&mut *self.bytes).cast(), self.bytes.len())
    }

    /// The filled part.
    pub(crate) fn filled(&self) -> &[u8] {
        let end = (self.frames * self.layout.frame_bytes()).min(self.bytes.len());
        &self.bytes[..end]
    }
}

/// What the real-time thread tells the programme thread. A jump in `first` is a gap: the reader fills it with silence.
pub(crate) enum Message {
    /// Sound from `first` on the counter; its last frame was captured at `stamp_ns`.
    Sound { first: u64, stamp_ns: i64, period: Box<RawPeriod> },
    /// So many frames from `first` on are missing for good; the last of them would have been captured at `stamp_ns`.
    Silence { first: u64, stamp_ns: i64, frames: u64 },
    /// Nothing more comes.
    Ended,
}

/// The sending half of a queue that lives as long as either half.
pub(crate) struct Sender<T: Send + 'static> {
    half: spsc::Producer<'static, T>,
    _home: Arc<Home<T>>,
}

/// The receiving half.
pub(crate) struct Receiver<T: Send + 'static> {
    half: spsc::Consumer<'static, T>,
    _home: Arc<Home<T>>,
}

/// A queue for up to [`SLOTS`] items.
pub(crate) fn queue<T: Send + 'static>() -> (Sender<T>, Receiver<T>) {
    let queue = NonNull::from(Box::leak(Box::new(spsc::Queue::<T, { SLOTS + 1 }>::new())));
    // Best effort: where it is refused, so are the buffers, and that is what gets told.
    let _ = lock(queue.cast(), size_of::<spsc::Queue<T, { SLOTS + 1 }>>());
    let home = Arc::new(Home { queue });
    // SAFETY: the allocation lives until the last `Home` reference is dropped, which both halves hold; `split` is called
    // once, so there is one producer and one consumer, and nothing else reaches the queue until then.
    let (producer, consumer) = unsafe { &mut *queue.as_ptr() }.split();
    (Sender { half: producer, _home: Arc::clone(&home) }, Receiver { half: consumer, _home: home })
}

impl<T: Send + 'static> Sender<T> {
    /// Whether the next [`Sender::push`] finds room. Room never shrinks but by our own pushes.
    pub(crate) fn has_room(&self) -> bool {
        self.half.ready()
    }

    /// Never waits; a full queue gives the item back.
    pub(crate) fn push(&mut self, item: T) -> Result<(), T> {
        self.half.enqueue(item)
    }
}

impl<T: Send + 'static> Receiver<T> {
    /// Never waits.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.half.dequeue()
    }
}

/// Owns the queue's memory.
struct Home<T: Send + 'static> {
    queue: NonNull<spsc::Queue<T, { SLOTS + 1 }>>,
}

// SAFETY: `Home` never touches the queue before its own drop, when no half is left; the halves bring their own bounds.
unsafe impl<T: Send + 'static> Send for Home<T> {}
// SAFETY: as above; a shared `Home` gives access to nothing.
unsafe impl<T: Send + 'static> Sync for Home<T> {}

impl<T: Send + 'static> Drop for Home<T> {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `queue`, and both halves are gone: they are what kept this alive. (A half's
        // `half` field is declared before its `_home`, and has no destructor that touches the queue.)
        drop(unsafe { Box::from_raw(self.queue.as_ptr()) });
    }
}

/// Wakes one waiter, a thread or an event loop; ringing is a single atomic operation while nobody waits.
pub(crate) struct Bell {
    waiting: AtomicBool,
    /// Readable after a ring that somebody waited for.
    rope: EventFd,
}

impl Bell {
    pub(crate) fn new() -> Result<Self, nix::Error> {
        let rope = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { waiting: AtomicBool::new(false), rope })
    }

    /// Something was put where the waiter looks.
    pub(crate) fn ring(&self) {
        if self.waiting.swap(false, Ordering::SeqCst) {
            // A full counter is rung already.
            let _ = self.rope.write(1);
        }
    }

    /// To be called before the last look, so that a ring after it is not slept through.
    pub(crate) fn listen(&self) {
        self.waiting.store(true, Ordering::SeqCst);
    }

    /// The look was successful after all.
    pub(crate) fn turn_away(&self) {
        self.waiting.store(false, Ordering::Relaxed);
    }

    /// Sleeps until the bell has rung since [`Bell::listen`], or `patience` is over. May return early.
    pub(crate) fn wait(&self, patience: Duration) {
        let nanoseconds = patience.subsec_nanos().cast_signed();
        let patience = TimeSpec::new(patience.as_secs().min(1 << 30).cast_signed(), nanoseconds.into());
        if nix::poll::ppoll(&mut [PollFd::new(self.descriptor(), PollFlags::POLLIN)], Some(patience), None)
            == Ok(1)
        {
            let _ = self.rope.read();
        }
        self.turn_away();
    }

    /// What an event loop waits on, edge-triggered: it is never emptied there.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.rope.as_fd()
    }
}

impl Drop for RawPeriod {
    fn drop(&mut self) {
        // So that restarts do not pile up locked pages. The header's page is left to the allocator's next use.
        // SAFETY: a live allocation of ours; unlocking changes no content.
        let _ = unsafe { nix::sys::mman::munlock(NonNull::from(&mut *self.bytes).cast(), self.bytes.len()) };
    }
}

/// Locks pages in memory, which also faults them in: reading into them never waits for the kernel.
fn lock(start: NonNull<libc::c_void>, bytes: usize) -> Result<(), nix::Error> {
    // SAFETY: callers name live allocations; locking changes no content.
    unsafe { nix::sys::mman::mlock(start, bytes) }
}

/// Items a queue holds; how many buffers there are is decided by their length in time.
pub(crate) const SLOTS: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_item_back() {
        let (mut sender, mut receiver) = queue();
        for item in 0..SLOTS {
            assert_eq!(sender.push(item), Ok(()));
        }
        assert_eq!(sender.push(SLOTS), Err(SLOTS));
        assert_eq!(receiver.pop(), Some(0));
        assert_eq!(sender.push(SLOTS), Ok(()));
        assert_eq!(
            (1..=SLOTS).map(|_| receiver.pop()).collect::<Option<Vec<_>>>(),
            Some((1..=SLOTS).collect())
        );
        assert_eq!(receiver.pop(), None);
    }

    #[test]
    fn what_is_left_is_dropped_with_the_last_half() {
        let (item, (mut sender, receiver)) = (Arc::new(()), queue());
        assert!(sender.push(Arc::clone(&item)).is_ok());
        drop(sender);
        assert_eq!(Arc::strong_count(&item), 2);
        drop(receiver);
        assert_eq!(Arc::strong_count(&item), 1);
    }

    #[test]
    fn a_ring_between_look_and_wait_is_not_slept_through() {
        let bell = Bell::new().unwrap();
        bell.listen();
        bell.ring();
        bell.wait(Duration::from_secs(3_600));
    }
}
