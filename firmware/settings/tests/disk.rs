//! The two files on a real disk: missing, unfit, readable by others.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mainstay_settings::load;

const SETTINGS: &str = "version = 1\nsecrets = \"keys.toml\"\n[[output]]\nname = \"main\"\n[output.primary]\n\
                        url = \"https://a.example/live\"\ncodec = \"mp3\"\nbitrate = \"64k\"\n\
                        tls = { ca = \"authority.pem\" }\n";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE-----\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("settings.toml", SETTINGS.as_bytes(), 0o644);
        folder.write("keys.toml", b"[main]\nprimary = \"hackme\"\n", 0o600);
        folder.write("authority.pem", PEM.as_bytes(), 0o644);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        fs::write(self.path(name), bytes).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// All faults, without the folder's name.
    fn faults(&self) -> String {
        let faults = load(&self.path("settings.toml")).unwrap_err();
        let text = faults.to_string();
        assert!(!text.contains("hackme") && !format!("{faults:?}").contains("hackme"), "{text}");
        text.replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn what_is_right_is_taken() {
    let folder = Folder::new();
    let settings = load(&folder.path("settings.toml")).unwrap();
    assert_eq!(settings.mounts[0].password.reveal(), "hackme");
}

#[test]
fn secrets_that_others_can_use_are_refused() {
    let folder = Folder::new();
    for mode in [0o640, 0o604, 0o620, 0o644, 0o666] {
        fs::set_permissions(folder.path("keys.toml"), fs::Permissions::from_mode(mode)).unwrap();
        let wanted = format!(
            "keys.toml: found mode {mode:04o}: others than its owner may use it; chmod 600 keys.toml"
        );
        assert_eq!(folder.faults(), wanted);
    }
    fs::set_permissions(folder.path("keys.toml"), fs::Permissions::from_mode(0o400)).unwrap();
    assert!(load(&folder.path("settings.toml")).is_ok());
}

#[test]
fn a_missing_secrets_file_matters_only_to_outputs() {
    let folder = Folder::new();
    fs::remove_file(folder.path("keys.toml")).unwrap();
    assert!(folder.faults().starts_with("keys.toml: found no such file; create it"));
    folder.write("settings.toml", b"", 0o644);
    assert!(load(&folder.path("settings.toml")).unwrap().mounts.is_empty());
}

#[test]
fn a_missing_or_unfit_settings_file_is_named() {
    let folder = Folder::new();
    assert!(
        load(Path::new("no/such.toml"))
            .unwrap_err()
            .to_string()
            .starts_with("no/such.toml: found no such file")
    );
    folder.write("settings.toml", b"version = 1\n# \xFF\n", 0o644);
    assert_eq!(folder.faults(), "settings.toml:2: found a byte that is not UTF-8; save the file as UTF-8");
    folder.write("settings.toml", &vec![b'#'; 1024 * 1024 + 1], 0o644);
    assert!(folder.faults().contains("more than 1 MiB"));
    assert!(load(folder.0.path()).unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn faults_of_all_files_are_told_at_once() {
    let folder = Folder::new();
    folder.write("settings.toml", SETTINGS.replace("64k", "64").as_bytes(), 0o644);
    folder.write("keys.toml", b"[main]\nprimary = hackme\n", 0o600);
    folder.write("authority.pem", b"nothing", 0o644);
    let faults = folder.faults();
    for part in
        ["settings.toml:8: output.primary.bitrate", "settings.toml:9: output.primary.tls.ca", "keys.toml:2:"]
    {
        assert!(faults.contains(part), "{part}: {faults}");
    }
    folder.write("keys.toml", b"[main]\nprimary = \"hackme\xFF\"\n", 0o600);
    assert!(folder.faults().contains("not UTF-8 (not shown)"));
}
