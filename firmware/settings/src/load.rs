//! The two files on disk: read within bounds, the secrets only where nobody else can read them.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::refusal::{Refusal, Refusals};
use crate::secrets::SecretsText;
use crate::{Places, Settings, understand};

/// Largest file that is read: 32 outputs with everything said about them are a fortieth of it.
const LARGEST: u64 = 1024 * 1024;

/// Where the secrets lie unless the settings say otherwise, beside them.
const SECRETS: &str = "secrets.toml";

/// Reads the settings at `path`, its secrets file and its authorities.
///
/// # Errors
/// All faults of all files.
pub fn load(path: &Path) -> Result<Settings, Refusals> {
    let text = read_settings(path).map_err(|refusal| Refusals(vec![refusal]))?;
    let base = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let secrets = base.join(secrets_name(&text).unwrap_or_else(|| SECRETS.into()));
    let places =
        Places { settings: path.display().to_string(), secrets: secrets.display().to_string(), base };
    let secrets = read_secrets(&secrets);
    let secrets = match &secrets {
        Ok(text) => SecretsText::Text(text),
        Err((Absence::Missing, refusal)) => SecretsText::Missing(refusal.clone()),
        Err((Absence::Unfit, refusal)) => SecretsText::Refused(refusal.clone()),
    };
    understand(&text, secrets, &places, &mut |path| {
        let bytes = read_within_bounds(File::open(path)?)?;
        String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text"))
    })
}

/// What the settings call their secrets file. Faults are found by the reading proper.
fn secrets_name(text: &str) -> Option<PathBuf> {
    let document = DeTable::parse(text).ok()?;
    let name = document.get_ref().get("secrets")?.get_ref().as_str()?.to_owned();
    (!name.is_empty()).then(|| name.into())
}

fn read_settings(path: &Path) -> Result<String, Refusal> {
    let refusal = |line, found: String, remedy: &str| Refusal {
        file: path.display().to_string(),
        line,
        key: String::new(),
        found,
        remedy: remedy.to_owned(),
    };
    let bytes = File::open(path).and_then(read_within_bounds).map_err(|error| {
        if error.kind() == io::ErrorKind::NotFound {
            refusal(None, "no such file".into(), "create it, or name another with --config")
        } else {
            refusal(
                None,
                format!("a file that cannot be read ({error})"),
                "make it a file this user may read, under 1 MiB",
            )
        }
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() as u32;
        refusal(Some(line), "a byte that is not UTF-8".into(), "save the file as UTF-8")
    })
}

enum Absence {
    Missing,
    Unfit,
}

fn read_secrets(path: &Path) -> Result<String, (Absence, Refusal)> {
    let shown = path.display().to_string();
    let refusal = |absence, found: String, remedy: String| {
        (absence, Refusal { file: shown.clone(), line: None, key: String::new(), found, remedy })
    };
    let unreadable = |error: &io::Error| {
        if error.kind() == io::ErrorKind::NotFound {
            let remedy = format!("create it with [output-name], then primary = \"...\"; chmod 600 {shown}");
            refusal(Absence::Missing, "no such file".into(), remedy)
        } else {
            let remedy = "make it a file this user may read, under 1 MiB".into();
            refusal(Absence::Unfit, format!("a file that cannot be read ({error})"), remedy)
        }
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    // Of the opened file, so that nobody can swap it between the question and the reading.
    let mode = file.metadata().map_err(|error| unreadable(&error))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let found = format!("mode {mode:04o}: others than its owner may use it");
        return Err(refusal(Absence::Unfit, found, format!("chmod 600 {shown}")));
    }
    let bytes = read_within_bounds(file).map_err(|error| unreadable(&error))?;
    // The error of `from_utf8` holds the bytes: it ends here.
    String::from_utf8(bytes).map_err(|_| {
        refusal(
            Absence::Unfit,
            "bytes that are not UTF-8 (not shown)".into(),
            "save the file as UTF-8".into(),
        )
    })
}

fn read_within_bounds(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it holds more than 1 MiB"));
    }
    Ok(bytes)
}
