//! The local socket: JSON lines in, JSON lines out. What is asked is answered by [`crate::station::Station`].

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use units::snapshot::{Command, DrillNews, Measure, PROTOCOL, Reply, Request};

use crate::drill::Order;
use crate::station::Station;
use crate::survey::survey;

/// Opens the socket. A dead one in the way is removed; a living one is left, and is an error.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another mainstay-air answers there"));
    }
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            let why = "something that is no socket lies there";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Serves clients for ever.
pub(crate) async fn serve(listener: UnixListener, station: Rc<Station>) {
    let places = Arc::new(tokio::sync::Semaphore::new(MOST_CLIENTS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: air goes on, and the next look is a little later.
            tokio::time::sleep(Duration::from_millis(200)).await;
            continue;
        };
        // With all places taken a client is hung up on rather than kept waiting.
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            let station = Rc::clone(&station);
            tokio::task::spawn_local(async move {
                let _place = place;
                // A client that goes away in mid-sentence is nobody's trouble.
                let _ = client(stream, &station).await;
            });
        }
    }
}

async fn client(stream: UnixStream, station: &Rc<Station>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut lines).take(LONGEST_LINE);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        let request: Request = match serde_json::from_slice(&line) {
            Ok(request) => request,
            Err(error) => {
                let why = format!("not a request: {error}; send one JSON object a line");
                say(&mut write, &Reply::Refused { why }).await?;
                // What follows an overlong line cannot be told apart from a new one.
                if line.last() != Some(&b'\n') {
                    return Ok(());
                }
                continue;
            }
        };
        if request.protocol != PROTOCOL {
            let why = format!(
                "this box speaks protocol {PROTOCOL}, not {}; use the CLI of its version",
                request.protocol
            );
            say(&mut write, &Reply::Refused { why }).await?;
            continue;
        }
        if let Command::Watch { every_ms } = request.command {
            let pace = Duration::from_millis(every_ms.max(FASTEST_WATCH_MS));
            loop {
                say(&mut write, &station.answer(Command::Status).await).await?;
                tokio::time::sleep(pace).await;
            }
        }
        if let Command::Drill { output, seconds, force } = request.command {
            let order = Order { output, cut: Duration::from_secs(seconds), force };
            drill(&mut lines, &mut write, station, order).await?;
            continue;
        }
        if let Command::Measure(order) = request.command {
            measure(&mut write, station, order).await?;
            continue;
        }
        if let Command::Survey(order) = request.command {
            let mut replies = survey(station, order);
            while let Some(reply) = replies.recv().await {
                say(&mut write, &reply).await?;
            }
            continue;
        }
        let reply = station.answer(request.command).await;
        say(&mut write, &reply).await?;
    }
}

/// Listens for a client, and says now and then that it still does.
async fn measure(write: &mut OwnedWriteHalf, station: &Station, order: Measure) -> io::Result<()> {
    let mut work = std::pin::pin!(station.measure(order));
    loop {
        tokio::select! {
            outcome = &mut work => {
                let reply = match outcome {
                    Ok(changes) => Reply::Done { changes },
                    Err(why) => Reply::Refused { why },
                };
                return say(write, &reply).await;
            }
            () = tokio::time::sleep(STILL) => say(write, &Reply::Surveying { what: "listening".to_string() }).await?,
        }
    }
}

/// Drills for a client; one that goes away takes the drill along.
async fn drill(
    lines: &mut BufReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    station: &Station,
    order: Order,
) -> io::Result<()> {
    let (news, mut inbox) = mpsc::channel(UNREAD_NEWS);
    // In a task of its own: a client that reads slowly does not keep a cut from being lifted in time.
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn_local(station.drill(order, news));
    loop {
        tokio::select! {
            biased;
            Some(news) = inbox.recv() => say(write, &Reply::Drill(Box::new(news))).await?,
            outcome = tasks.join_next() => {
                let reply = match outcome {
                    Some(Ok(Ok(report))) => Reply::Drill(Box::new(DrillNews::Ended(report))),
                    Some(Ok(Err(why))) => Reply::Refused { why },
                    Some(Err(_)) | None => Reply::Refused { why: "the drill broke off; the log may say why".to_string() },
                };
                while let Ok(news) = inbox.try_recv() {
                    say(write, &Reply::Drill(Box::new(news))).await?;
                }
                return say(write, &reply).await;
            }
            () = gone(lines) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Waits until the client hangs up. What it asks meanwhile is kept for later.
async fn gone(lines: &mut BufReader<OwnedReadHalf>) {
    if lines.fill_buf().await.is_ok_and(|asked| !asked.is_empty()) {
        // It asks the next thing already; that it hangs up then shows when it is told something.
        std::future::pending::<()>().await;
    }
}

async fn say(write: &mut OwnedWriteHalf, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    // A client that does not read is let go; it holds up nobody else meanwhile.
    tokio::time::timeout(WRITE_PATIENCE, write.write_all(&line)).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// How often somebody who waits is told that there is something to wait for.
const STILL: Duration = Duration::from_secs(5);
const MOST_CLIENTS: usize = 16;
/// Lines of a drill that a client has not read yet.
const UNREAD_NEWS: usize = 64;
const LONGEST_LINE: u64 = 64 * 1024;
const FASTEST_WATCH_MS: u64 = 50;
const WRITE_PATIENCE: Duration = Duration::from_secs(5);
