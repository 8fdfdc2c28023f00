//! Network namespaces without names: they live as long as the value, or a process in them, and leave nothing behind, however
//! the program ends. As root, or in a user namespace of one's own (`unshare --user --map-current-user --keep-caps`).

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

/// One network namespace, its loopback up.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes one.
    ///
    /// # Errors
    /// No right to: says what would give it.
    pub fn new() -> Result<Self> {
        let own = on_a_thread_of_its_own(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("making a network namespace; be root, or run it under `unshare -Ur`")?;
            // The thread may end: the open file keeps the namespace.
            File::open("/proc/thread-self/ns/net").context("opening the new network namespace")
        })??;
        let namespace = Self(own);
        namespace.batch("link set lo up\n")?;
        Ok(namespace)
    }

    /// Does something in it. Sockets opened and processes started there stay there; files and folders are shared.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work panicked.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_a_thread_of_its_own(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).context("entering a network namespace")?;
            Ok(work())
        })?
    }

    /// A path by which programs of other namespaces name it (`ip link add ... netns PATH`), while this process lives.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs lines of `ip` commands in it, each without the word `ip`.
    ///
    /// # Errors
    /// One is refused: with what `ip` said.
    pub fn batch(&self, lines: &str) -> Result<()> {
        self.fed(Command::new("ip").args(["-batch", "-"]), lines)
    }

    /// Gives a script to `nft` in it; it is done whole or not at all.
    ///
    /// # Errors
    /// It is refused: with what `nft` said.
    pub fn nft(&self, script: &str) -> Result<()> {
        self.fed(Command::new("nft").args(["-f", "-"]), script)
    }

    /// Sets a knob below `/proc/sys/net`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn knob(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{name}");
        self.inside(|| std::fs::write(&path, value))?.with_context(|| format!("writing {value} to {path}"))
    }

    fn fed(&self, command: &mut Command, text: &str) -> Result<()> {
        let name = command.get_program().display().to_string();
        let output = self.inside(|| -> Result<_> {
            let mut child = command
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("running {name}"))?;
            child.stdin.take().context("its input is piped")?.write_all(text.as_bytes())?;
            child.wait_with_output().with_context(|| format!("waiting for {name}"))
        })??;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{name}: {said}\n{text}");
        Ok(())
    }
}

fn on_a_thread_of_its_own<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    // A thread's namespace is its own affair: whoever calls stays where it is.
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(done) => Ok(done),
        Err(_) => bail!("work in a network namespace panicked"),
    })
}
