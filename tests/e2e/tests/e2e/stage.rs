//! What most tests begin with.

use std::time::Duration;

use anyhow::Result;
use mainstay_e2e::settings::Input;
use tempfile::TempDir;

/// Long enough for a busy machine; no test waits so long when all is well.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// For what the box tries again only now and then.
pub(crate) const LATER: Duration = Duration::from_secs(90);

/// A folder with the metronome as a file, and the input that plays it.
pub(crate) fn metronome() -> Result<(TempDir, Input)> {
    let folder = tempfile::Builder::new().prefix("mainstay-e2e-").tempdir()?;
    let file = folder.path().join("metronome.wav");
    mainstay_e2e::metronome::write(&file)?;
    Ok((folder, Input::File(file)))
}
