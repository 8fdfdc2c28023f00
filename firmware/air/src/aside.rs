//! Work that may hang (a name server, a network share, a sound card's driver) on a thread of its own: the event loop must
//! turn whatever becomes of it, and no pool can run out.

use tokio::sync::oneshot;

/// Runs `work` aside and gives its result; `None` if it panicked or no thread could be had.
pub(crate) async fn aside<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (answer, result) = oneshot::channel();
    let run = move || {
        // Whoever asked may have gone meanwhile.
        let _ = answer.send(work());
    };
    std::thread::Builder::new().name(name.to_string()).stack_size(STACK).spawn(run).ok()?;
    result.await.ok()
}

/// glibc's resolver and alsa-lib want some, but not the eight megabytes of a default.
const STACK: usize = 512 * 1024;
