//! The test card of tests/card: an ALSA capture card in user space that can be unplugged.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use crate::settings::Input;
use crate::{metronome, repository};

/// A card that plays the metronome into the box. Its folder vanishes with it.
#[derive(Debug)]
pub struct Card {
    folder: TempDir,
}

impl Card {
    /// Builds the card's library (once) and describes a card.
    ///
    /// # Errors
    /// No C compiler, no alsa-lib headers, or the library does not compile: with the compiler's words.
    pub fn new() -> Result<Self> {
        let library = library()?;
        let folder = tempfile::Builder::new().prefix("mainstay-card-").tempdir()?;
        let at = |name: &str| folder.path().join(name).display().to_string();
        metronome::write_raw(&folder.path().join("programme.s16"))?;
        let asoundrc = format!(
            "pcm_type.mainstay_card {{ lib \"{}\" }}\npcm.linein {{\n    type mainstay_card\n    file \"{}\"\n    \
             control \"{}\"\n    fault \"{}\"\n}}\n",
            library.display(),
            at("programme.s16"),
            at("unplugged"),
            at("fault"),
        );
        std::fs::write(folder.path().join("asoundrc"), asoundrc)?;
        Ok(Self { folder })
    }

    /// The card as the box's input.
    #[must_use]
    pub fn input(&self) -> Input {
        Input::Card { pcm: "linein".to_owned(), asoundrc: self.folder.path().join("asoundrc") }
    }

    /// Pulls the plug.
    ///
    /// # Errors
    /// The card's folder cannot be written.
    pub fn unplug(&self) -> Result<()> {
        std::fs::write(self.folder.path().join("unplugged"), "").context("unplugging the card")
    }

    /// Puts it back.
    ///
    /// # Errors
    /// It was not unplugged.
    pub fn replug(&self) -> Result<()> {
        std::fs::remove_file(self.folder.path().join("unplugged")).context("plugging the card in")
    }

    /// Orders a fault: `overrun 100`, `stall 1000` (milliseconds).
    ///
    /// # Errors
    /// The card's folder cannot be written.
    pub fn fault(&self, order: &str) -> Result<()> {
        // Written aside and moved in, so that the card never reads half of it.
        let aside = self.folder.path().join("fault.new");
        std::fs::write(&aside, format!("{order}\n"))?;
        std::fs::rename(aside, self.folder.path().join("fault")).context("ordering a fault")
    }
}

/// The card's library, compiled if the source is newer.
fn library() -> Result<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let source = repository().join("tests/card/card.c");
    let folder = repository().join("target/card");
    let library = folder.join("libasound_module_pcm_mainstay_card.so");
    let newer =
        |a: &Path, b: &Path| Some(a.metadata().ok()?.modified().ok()? > b.metadata().ok()?.modified().ok()?);
    if newer(&library, &source) == Some(true) {
        return Ok(library);
    }
    std::fs::create_dir_all(&folder)?;
    let aside = folder.join(format!("card.{}.so", std::process::id()));
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-shared", "-fPIC", "-DPIC", "-o"])
        .arg(&aside)
        .arg(&source)
        .arg("-lasound")
        .output()
        .context("running cc")?;
    ensure!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    std::fs::rename(aside, &library)?;
    Ok(library)
}
