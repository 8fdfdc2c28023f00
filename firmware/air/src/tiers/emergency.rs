//! Emergency files made ready, and the player that plays them. Decoders meet strange files: they run in a process of their
//! own, at low priority, so that nothing they do can end or hold up what is on air.

use std::path::{Path, PathBuf};
use std::process::Command;

use ::emergency::{Cached, Item, Player, Playlist, Position, Target};

use crate::aside::aside;

/// What can be had of the emergency audio.
pub(crate) struct Prepared {
    pub player: Option<Player>,
    /// Files that are left out, or played as they were before: why, and the remedy.
    pub refused: Vec<String>,
    /// The files as they were.
    pub seen: Seen,
}

/// Length and time of change of each file; `None` for one that is not there.
pub(crate) type Seen = Vec<Option<(u64, std::time::SystemTime)>>;

/// Makes the files ready that are not, and starts a player with all that can be played. Nothing if the files are as they
/// were `before`.
pub(crate) async fn prepare(
    settings: settings::Emergency,
    before: Option<Seen>,
    target: Target,
    folder: PathBuf,
    resume: Option<Position>,
) -> Option<Prepared> {
    let work = move || {
        let stamp = |path: &Path| {
            let about = std::fs::metadata(path).ok()?;
            Some((about.len(), about.modified().ok()?))
        };
        let seen: Seen = settings.files.iter().map(|file| stamp(&file.path)).collect();
        if before.as_ref() == Some(&seen) {
            return None;
        }
        let mut refused = Vec::new();
        if let Err(error) = std::fs::create_dir_all(&folder) {
            refused.push(format!(
                "the folder {} cannot be made ({error}); set control.state to a place this user may write",
                folder.display()
            ));
        }
        let mut items = Vec::new();
        for file in &settings.files {
            let ready = match ::emergency::ready(&file.path, target, &folder) {
                Cached::Current(ready) => Some(ready),
                old @ (Cached::Nothing | Cached::Old(_)) => {
                    if let Err(why) = convert(&file.path, target, &folder) {
                        refused.push(why);
                    }
                    match (::emergency::ready(&file.path, target, &folder), old) {
                        (Cached::Current(ready) | Cached::Old(ready), _) => Some(ready),
                        (Cached::Nothing, Cached::Old(ready) | Cached::Current(ready)) => Some(ready),
                        (Cached::Nothing, Cached::Nothing) => None,
                    }
                }
            };
            items.extend(ready.map(|ready| Item { ready: ready.path, title: file.title.clone() }));
        }
        let playlist = Playlist { pause: settings.pause, ..Playlist::new(items) };
        if playlist.items.is_empty() {
            return Some(Prepared { player: None, refused, seen });
        }
        match Player::start(playlist, target, resume) {
            Ok(player) => Some(Prepared { player: Some(player), refused, seen }),
            Err(error) => {
                refused.push(error.to_string());
                Some(Prepared { player: None, refused, seen })
            }
        }
    };
    aside("emergency-files", work).await.unwrap_or_else(|| {
        tracing::error!("emergency audio: no thread to prepare the files with; tried again");
        None
    })
}

/// Has another process check and convert a file.
fn convert(file: &Path, target: Target, folder: &Path) -> Result<(), String> {
    let failed = |what: &dyn std::fmt::Display| format!("{} cannot be checked: {what}", file.display());
    let program = std::env::current_exe().map_err(|error| failed(&error))?;
    let arguments = |command: &mut Command| {
        command.arg("--prepare").arg(file).arg("--into").arg(folder);
        command.arg("--rate").arg(target.rate.hz().to_string());
        command.arg("--channels").arg(target.channels.count().to_string());
    };
    let mut nice = Command::new("nice");
    nice.args(["-n", "19"]).arg(&program);
    arguments(&mut nice);
    let ended = nice.output().or_else(|_| {
        let mut plain = Command::new(&program);
        arguments(&mut plain);
        plain.output()
    });
    let ended = ended.map_err(|error| failed(&error))?;
    if ended.status.success() {
        // What it found: format, length, loudness.
        tracing::info!("emergency audio is ready: {}", String::from_utf8_lossy(&ended.stdout).trim());
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let said = said.lines().last().unwrap_or_default();
    let said = said.strip_prefix("mainstay-air: ").unwrap_or(said);
    // One that a signal ended says nothing.
    Err(if said.is_empty() { failed(&ended.status) } else { said.to_string() })
}
