//! What the tiers keep over a restart: a person's order, the programme's loudness, where emergency audio goes on.

use std::path::{Path, PathBuf};

use crate::aside::aside;
use crate::tiers::Kept;

/// What was kept in `state`; nothing where there is nothing that can be read.
pub(crate) fn load(state: &Path) -> Kept {
    std::fs::read(file(state)).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Writes it, beside and renamed: a power cut leaves the old or the new.
pub(crate) async fn save(state: &Path, kept: Kept) {
    let state = state.to_owned();
    let write = move || -> std::io::Result<()> {
        let beside = state.join("programme.new");
        std::fs::write(&beside, serde_json::to_vec(&kept)?)?;
        std::fs::rename(beside, file(&state))
    };
    if let Some(Err(error)) = aside("keep-programme", write).await {
        tracing::debug!("orders and loudness are not kept over a restart: {error}");
    }
}

fn file(state: &Path) -> PathBuf {
    state.join("programme.json")
}
