//! One place for one box, filled and emptied without a lock: how a card changes hands between the finder and the
//! real-time thread.

#![expect(unsafe_code, reason = "ownership of a box travels through an atomic pointer")]

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Holds one box or none. Only what may be sent can be put in, so the slot itself can be shared whatever `T` is.
pub(crate) struct Slot<T> {
    held: AtomicPtr<T>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { held: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl<T: Send> Slot<T> {
    /// Puts `item` in and returns what was there before. Never waits.
    pub(crate) fn put(&self, item: Box<T>) -> Option<Box<T>> {
        Self::own(self.held.swap(Box::into_raw(item), Ordering::AcqRel))
    }

    /// Takes out what is there. Never waits.
    pub(crate) fn take(&self) -> Option<Box<T>> {
        Self::own(self.held.swap(ptr::null_mut(), Ordering::AcqRel))
    }

    fn own(held: *mut T) -> Option<Box<T>> {
        // SAFETY: only `put` stores a pointer that is not null, made by `Box::into_raw`; the swap gave it to us alone.
        (!held.is_null()).then(|| unsafe { Box::from_raw(held) })
    }
}

impl<T> Drop for Slot<T> {
    fn drop(&mut self) {
        let held = *self.held.get_mut();
        if !held.is_null() {
            // SAFETY: as in `own`; `&mut self` rules out anybody else.
            drop(unsafe { Box::from_raw(held) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_box_at_a_time() {
        let slot = Slot::default();
        assert_eq!(slot.take(), None);
        assert_eq!(slot.put(Box::new(1)), None);
        assert_eq!(slot.put(Box::new(2)), Some(Box::new(1)));
        assert_eq!(slot.take(), Some(Box::new(2)));
        assert_eq!(slot.take(), None);
    }
}
