//! Icecast on loopback: Debian's own 2.4, or the 2.5 that tools/lab/trixie unpacks.

use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::listener;
use crate::process::Process;
use crate::xml::{escape, fill};
use crate::{ports, repository, wait};

const CONFIG: &str = include_str!("../../../tools/headend/icecast.xml.in");
const MOUNT: &str = include_str!("../../../tools/headend/icecast-mount.xml.in");

/// Password of every source, unless a test sets another.
pub const SOURCE_PASSWORD: &str = "let-me-on-air";
/// Password of the user `admin`.
pub const ADMIN_PASSWORD: &str = "let-me-look";

/// How long the status page may be unreadable.
const STATUS: Duration = Duration::from_secs(5);

/// Lines of its log that a server shows in an error.
const LOG_LINES: usize = 40;

/// Which Icecast.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// The `icecast2` package of the machine's Debian (2.4.4 in Debian 12 and 13).
    #[default]
    Installed,
    /// 2.5, run from the tree `target/lab/trixie`.
    V25,
}

impl Version {
    const fn status_page(self) -> &'static str {
        match self {
            Self::Installed => "/status-json.xsl",
            Self::V25 => "/admin/publicstats.json",
        }
    }
}

/// What a server should be like. `Headend::default()` takes any source on any mount, plain, and moves the listeners of
/// `/live` to `/live_fallback` and back.
#[derive(Clone, Debug)]
pub struct Headend {
    /// Which Icecast.
    pub version: Version,
    /// Mounts whose listeners have somewhere to go, with their fallback mount.
    pub fallbacks: Vec<(String, String)>,
    /// Whether listeners come back when a mount's source does (`fallback-override`).
    pub overrides: bool,
    /// Sources it takes in all.
    pub sources: u32,
    /// Seconds after which a source without a readable byte is dropped.
    pub source_timeout: u32,
    /// Bytes of the newest sound that a new listener gets at once; Icecast's own default is 64 KiB.
    pub burst: u32,
    /// The source password.
    pub password: String,
    /// The address it listens on: loopback, or all of a network namespace of its own.
    pub bind: Ipv4Addr,
    /// PEM file with certificate and key: opens a second port that speaks TLS.
    pub tls: Option<PathBuf>,
    /// Mount of a Shoutcast v1 source: opens a port pair for it (titles on the first, the source on the second).
    pub shoutcast: Option<String>,
    /// Whether the error log tells everything.
    pub debug: bool,
}

impl Default for Headend {
    fn default() -> Self {
        Self {
            version: Version::Installed,
            fallbacks: vec![("/live".to_owned(), "/live_fallback".to_owned())],
            overrides: true,
            sources: 40,
            source_timeout: 10,
            burst: 65_535,
            password: SOURCE_PASSWORD.to_owned(),
            bind: Ipv4Addr::LOCALHOST,
            tls: None,
            shoutcast: None,
            debug: false,
        }
    }
}

/// A running Icecast. Dropping it ends the server and deletes its folder.
#[derive(Debug)]
pub struct Icecast {
    process: Option<Process>,
    version: Version,
    port: u16,
    tls_port: Option<u16>,
    shoutcast_port: Option<u16>,
    // Last: the server ends before its folder goes.
    folder: TempDir,
}

impl Headend {
    /// Starts the server on free ports and waits until it answers.
    ///
    /// # Errors
    /// It is not installed, or does not come up: with its log.
    pub fn start(&self) -> Result<Icecast> {
        let port = ports::free(1)?;
        let tls_port = self.tls.as_ref().map(|_| ports::free(1)).transpose()?;
        let shoutcast_port = self.shoutcast.as_ref().map(|_| ports::free(2)).transpose()?;
        let folder = tempfile::Builder::new().prefix("mainstay-icecast-").tempdir()?;
        let text = self.config(folder.path(), port, tls_port, shoutcast_port)?;
        let config = folder.path().join("icecast.xml");
        std::fs::write(&config, text)?;
        // Icecast 2.5 objects to passwords that everybody can read.
        std::fs::set_permissions(&config, std::fs::Permissions::from_mode(0o600))?;
        let mut server =
            Icecast { process: None, version: self.version, port, tls_port, shoutcast_port, folder };
        server.start()?;
        Ok(server)
    }

    fn config(&self, folder: &Path, port: u16, tls: Option<u16>, shoutcast: Option<u16>) -> Result<String> {
        let share = match self.version {
            Version::Installed => PathBuf::from("/usr/share/icecast2"),
            Version::V25 => lab_tree()?.join("usr/share/icecast2"),
        };
        let mut sockets = socket(self.bind, port, "");
        if let Some(port) = tls {
            sockets += &socket(self.bind, port, "<ssl>1</ssl>");
        }
        if let (Some(port), Some(mount)) = (shoutcast, &self.shoutcast) {
            // Icecast opens the source's port, one above, by itself.
            sockets +=
                &socket(self.bind, port, &format!("<shoutcast-mount>{}</shoutcast-mount>", escape(mount)));
        }
        let every_listener = match (self.overrides, self.version) {
            (true, Version::Installed) => "1",
            (true, Version::V25) => "all",
            (false, Version::Installed) => "0",
            (false, Version::V25) => "none",
        };
        let mounts: String = self
            .fallbacks
            .iter()
            .map(|(mount, fallback)| {
                fill(
                    MOUNT,
                    &[
                        ("MOUNT", &escape(mount)),
                        ("FALLBACK", &escape(fallback)),
                        ("OVERRIDE", every_listener),
                    ],
                )
            })
            .collect();
        let mut paths = String::new();
        if let Some(certificate) = &self.tls {
            let tag = match self.version {
                Version::Installed => "ssl-certificate",
                Version::V25 => "tls-certificate",
            };
            paths += &format!("        <{tag}>{}</{tag}>\n", certificate.display());
        }
        if self.version == Version::V25 {
            paths +=
                &format!("        <reportxmldb>{}</reportxmldb>\n", share.join("report-db.xml").display());
        }
        Ok(fill(
            CONFIG,
            &[
                ("SOURCES", &self.sources.to_string()),
                ("SOURCE_TIMEOUT", &self.source_timeout.to_string()),
                ("BURST", &self.burst.to_string()),
                // A queue that is not longer than the burst lets nobody join.
                ("QUEUE", &(self.burst.saturating_mul(2).max(524_288)).to_string()),
                ("SOURCE_PASSWORD", &escape(&self.password)),
                ("ADMIN_PASSWORD", ADMIN_PASSWORD),
                ("SOCKETS", &sockets),
                ("MOUNTS", &mounts),
                ("FOLDER", &folder.display().to_string()),
                ("SHARE", &share.display().to_string()),
                ("EXTRA_PATHS", &paths),
                ("LOGLEVEL", if self.debug { "4" } else { "3" }),
            ],
        ))
    }
}

impl Icecast {
    /// Address of a mount: `http://127.0.0.1:PORT/mount`.
    #[must_use]
    pub fn url(&self, mount: &str) -> String {
        format!("http://127.0.0.1:{}{mount}", self.port)
    }

    /// Address of a mount on the TLS port, by the name `localhost`.
    ///
    /// # Panics
    /// The server was started without TLS.
    #[must_use]
    pub fn tls_url(&self, mount: &str) -> String {
        format!("https://localhost:{}{mount}", self.tls_port.expect("started with TLS"))
    }

    /// The plain port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Base port of the Shoutcast pair.
    ///
    /// # Panics
    /// The server was started without a Shoutcast mount.
    #[must_use]
    pub fn shoutcast_port(&self) -> u16 {
        self.shoutcast_port.expect("started with a Shoutcast mount")
    }

    /// What the server's own status page says about a mount; `None` when it is not there.
    ///
    /// # Errors
    /// No answer, or not the status page.
    pub fn source(&self, mount: &str) -> Result<Option<Value>> {
        let page = self.version.status_page();
        // Icecast 2.4 writes broken JSON while its statistics fill up after a start.
        let status = wait::until("the status page is JSON", STATUS, || {
            let body = listener::page(self.port, page).map_err(|error| format!("{error:#}"))?;
            serde_json::from_slice::<Value>(&body)
                .map_err(|error| format!("{page}: {error} in {}", String::from_utf8_lossy(&body)))
        })?;
        Ok(find_source(&status, mount))
    }

    /// Waits until the server shows a mount.
    ///
    /// # Errors
    /// It does not within `limit`: with the server's log.
    pub fn wait_for_source(&self, mount: &str, limit: Duration) -> Result<Value> {
        wait::until(&format!("the server shows {mount}"), limit, || match self.source(mount) {
            Ok(Some(source)) => Ok(source),
            Ok(None) => Err("the mount is not there".to_owned()),
            Err(error) => Err(format!("{error:#}")),
        })
        .with_context(|| self.log())
    }

    /// The newest lines of what the server printed and of its error log.
    #[must_use]
    pub fn log(&self) -> String {
        let file = std::fs::read(self.folder.path().join("error.log")).unwrap_or_default();
        let printed = self.process.as_ref().map(Process::log).unwrap_or_default();
        let text = format!("{printed}{}", String::from_utf8_lossy(&file));
        let lines: Vec<&str> = text.lines().collect();
        format!("end of the icecast log:\n{}", lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"))
    }

    /// Ends it as a power cut would, keeping port and settings for [`Icecast::start`].
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Starts it (again) with the same settings and waits until it answers.
    ///
    /// # Errors
    /// It does not come up: with its log.
    pub fn start(&mut self) -> Result<()> {
        let lab = repository().join("tools/lab");
        let config = self.folder.path().join("icecast.xml");
        let mut command = match self.version {
            Version::Installed => {
                let mut command = Command::new(lab.join("unprivileged"));
                command.args(["icecast2", "-c"]).arg(&config);
                command
            }
            Version::V25 => {
                let mut command = Command::new(lab.join("icecast25"));
                command.arg(&config);
                command
            }
        };
        self.process =
            Some(Process::start("icecast", &mut command, &self.folder.path().join("printed.log"))?);
        let answered = wait::until("icecast answers", Duration::from_secs(20), || {
            if let Some(process) = &mut self.process
                && let Ok(Some(status)) = process.ended()
            {
                return Ok(Err(format!("it ended with {status}")));
            }
            listener::page(self.port, self.version.status_page())
                .map(|_| Ok(()))
                .map_err(|error| format!("{error:#}"))
        });
        match answered {
            Ok(Ok(())) => Ok(()),
            Ok(Err(ended)) => bail!("icecast: {ended}\n{}", self.log()),
            Err(error) => Err(error.context(self.log())),
        }
    }

    /// Stops it in its tracks, sockets open: a stalled server.
    ///
    /// # Errors
    /// It is not running.
    pub fn freeze(&self) -> Result<()> {
        self.running()?.signal(Signal::SIGSTOP)
    }

    /// Wakes it again.
    ///
    /// # Errors
    /// It is not running.
    pub fn thaw(&self) -> Result<()> {
        self.running()?.signal(Signal::SIGCONT)
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().context("icecast was killed and not started again")
    }
}

fn socket(bind: Ipv4Addr, port: u16, inner: &str) -> String {
    format!(
        "    <listen-socket><port>{port}</port><bind-address>{bind}</bind-address>{inner}</listen-socket>\n"
    )
}

fn lab_tree() -> Result<PathBuf> {
    let tree =
        std::env::var_os("LAB_TREE").map_or_else(|| repository().join("target/lab/trixie"), PathBuf::from);
    anyhow::ensure!(tree.is_dir(), "{} is missing; run tools/lab/trixie", tree.display());
    Ok(tree)
}

/// The entry of `mount` in the status page. Icecast 2.4: `icestats.source` is absent, one object, or an array of them,
/// named by their `listenurl`. 2.5: an array of a name and the statistics, whose `source` is keyed by the mount.
fn find_source(status: &Value, mount: &str) -> Option<Value> {
    let statistics = match status {
        Value::Array(parts) => parts.iter().find(|part| part["source"].is_object())?,
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            &status["icestats"]
        }
    };
    let sources = &statistics["source"];
    let is_it = |source: &&Value| source["listenurl"].as_str().is_some_and(|url| url.ends_with(mount));
    match sources {
        Value::Array(all) => all.iter().find(is_it).cloned(),
        Value::Object(all) => all.get(mount).cloned().or_else(|| Some(sources).filter(is_it).cloned()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn status_pages_of_all_shapes_are_read() {
        let one = json!({ "listenurl": "http://127.0.0.1:8000/live", "listeners": 1 });
        let other = json!({ "listenurl": "http://127.0.0.1:8000/live_fallback" });
        for (status, found) in [
            (json!({ "icestats": { "dummy": null } }), false),
            (json!({ "icestats": { "source": one } }), true),
            (json!({ "icestats": { "source": other } }), false),
            (json!({ "icestats": { "source": [other, one] } }), true),
            (json!([{ "name": "icestats" }, { "source": { "/live": { "listeners": 1 } } }]), true),
            (json!([{ "name": "icestats" }, { "source": { "/live_fallback": {} } }]), false),
            (json!([{ "name": "icestats" }, { "server_id": "Icecast 2.5.0" }]), false),
        ] {
            assert_eq!(find_source(&status, "/live").is_some(), found, "{status}");
        }
    }
}
