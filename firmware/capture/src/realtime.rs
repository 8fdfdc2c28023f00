//! What a thread needs to keep time: its scheduling class, its stack in memory, and an alsa-lib that does not print.

#![expect(
    unsafe_code,
    reason = "scheduling class, stack bounds and alsa-lib's error handler have no safe wrapper"
)]

use std::ffi::{c_char, c_int};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

use nix::errno::Errno;

/// Priority under SCHED_FIFO: above every ordinary thread, below the kernel's threaded interrupts (50), which feed us.
pub(crate) const PRIORITY: c_int = 20;

/// Stack of a real-time thread in bytes. alsa-lib's plugins put their channel areas there.
pub(crate) const STACK: usize = 128 * 1024;

/// Puts the calling thread under SCHED_FIFO; children it might ever have start as ordinary ones.
pub(crate) fn schedule() -> Result<(), Errno> {
    // SAFETY: an all-zero sched_param is valid; the priority is all of it that Linux reads.
    let mut wanted: libc::sched_param = unsafe { MaybeUninit::zeroed().assume_init() };
    wanted.sched_priority = PRIORITY;
    // SAFETY: 0 names the calling thread; the pointer is to a live local.
    Errno::result(unsafe {
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const wanted)
    })
    .map(drop)
}

/// Locks the calling thread's own stack in memory, which also touches every page of it.
pub(crate) fn lock_stack() -> Result<(), Errno> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut start, mut size) = (ptr::null_mut(), 0);
    // SAFETY: `pthread_getattr_np` initialises the attributes or says that it did not; they are read and destroyed only
    // in the first case.
    unsafe {
        let code = libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr());
        if code != 0 {
            return Err(Errno::from_raw(code));
        }
        let code = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut start, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        if code != 0 {
            return Err(Errno::from_raw(code));
        }
    }
    // SAFETY: the range is this thread's stack, mapped as long as it runs; locking changes no content.
    Errno::result(unsafe { libc::mlock(start, size) }).map(drop)
}

/// Makes the calling thread real-time as far as it may be. Returns how it runs, in words for the status, and what should
/// be logged about it.
pub(crate) fn enter() -> (String, Vec<String>) {
    let mut warnings = Vec::new();
    let word = match schedule() {
        Ok(()) => format!("SCHED_FIFO {PRIORITY}"),
        Err(errno) => {
            warnings.push(format!(
                "capture may not use real-time scheduling ({errno}), so a busy machine can make it lose frames; allow it \
                 by LimitRTPRIO={PRIORITY} in the systemd unit, or by `@audio - rtprio {PRIORITY}` in \
                 /etc/security/limits.d and a new login"
            ));
            format!("ordinary scheduling: {errno}")
        }
    };
    if let Err(errno) = lock_stack() {
        warnings.push(memory_warning("stack", errno));
    }
    (word, warnings)
}

/// What to log when memory could not be locked.
pub(crate) fn memory_warning(what: &str, errno: Errno) -> String {
    format!(
        "capture's {what} could not be locked in memory ({errno}), so it can be paged out under memory pressure; allow it \
         by LimitMEMLOCK=8M in the systemd unit"
    )
}

/// While it lives, alsa-lib prints nothing from the calling thread: formatting and stderr have no place on a real-time
/// thread, and a card that is looked for four times a second would fill the log.
pub(crate) struct Hush {
    before: alsa_sys::snd_local_error_handler_t,
    stays_on_its_thread: PhantomData<*const ()>,
}

impl Hush {
    pub(crate) fn new() -> Self {
        // SAFETY: the handler is a plain function that touches nothing; alsa-lib keeps it in a thread-local variable.
        let before = unsafe { alsa_sys::snd_lib_error_set_local(Some(discard)) };
        Self { before, stays_on_its_thread: PhantomData }
    }
}

impl Drop for Hush {
    fn drop(&mut self) {
        // SAFETY: gives back what `new` was given, on the same thread: a `Hush` cannot be sent to another.
        unsafe { alsa_sys::snd_lib_error_set_local(self.before) };
    }
}

unsafe extern "C" fn discard(
    _file: *const c_char,
    _line: c_int,
    _function: *const c_char,
    _error: c_int,
    _format: *const c_char,
    _arguments: *mut alsa_sys::__va_list_tag,
) {
}
