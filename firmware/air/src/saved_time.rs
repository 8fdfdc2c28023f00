//! The latest time this box has known, kept over restarts: no certificate is judged at an earlier one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use units::WallTime;

use crate::aside::aside;
use crate::clock;

/// The time saved in `state`, or zero.
pub(crate) fn load(state: &Path) -> u64 {
    std::fs::read_to_string(file(state)).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Saves the time now and every hour, as long as it is known. A folder that cannot be written is said once.
pub(crate) async fn keep(state: PathBuf) {
    let mut complained = false;
    loop {
        let folder = state.clone();
        if let WallTime::Unix(now) = clock::wall()
            && let Some(Err(error)) = aside("save-time", move || save(&folder, now)).await
            && !std::mem::replace(&mut complained, true)
        {
            tracing::warn!(
                "the time cannot be saved in {}: {error}; create the folder for this user",
                state.display()
            );
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Written beside and renamed: a power cut leaves the old time or the new one.
fn save(state: &Path, now: u64) -> std::io::Result<()> {
    let beside = state.join("time.new");
    std::fs::write(&beside, now.to_string())?;
    std::fs::rename(beside, file(state))
}

fn file(state: &Path) -> PathBuf {
    state.join("time")
}

const PACE: Duration = Duration::from_secs(3600);
