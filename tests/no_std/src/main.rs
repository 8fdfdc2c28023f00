//! A program without `std` that puts a mount on air: the proof that `delivery`, and all below it, are `no_std` + alloc.
//!
//! It proves two things, and fails loudly at each:
//! - **It links.** Anything below that pulls `std` in brings `std`'s own panic handler, and rustc refuses the second one:
//!   ``error[E0152]: found duplicate lang item `panic_impl` ``, "first defined in crate `std` (which `serde` depends
//!   on)". `./run --negative` shows that this guard bites: it builds the same sources with serde's `std` switched on
//!   and passes only if that very error comes.
//! - **It works.** One mount is configured, resolved, connected, greeted, fed and acknowledged; [`judge`] compares what the
//!   core asked for and what it reports. Exit code 0, or the number of the first step that went wrong.
#![no_std]
#![no_main]

extern crate alloc;

mod bare;

use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use delivery::config::{Config, Method, MountConfig, MountId, Server, ServerKind, Station};
use delivery::event::{Input, Output, Reply, Talk, Verdict};
use delivery::wire::ReplyReader;
use delivery::{Backlog, Delivery, RenditionId};
use units::snapshot::{MountState, Role};
use units::{BitRate, Channels, Codec, Frames, Instant, Rendition, SampleRate, Secret};

/// Bytes of a constant MP3 packet at 320 kbit/s and 48 kHz.
const PACKET: [u8; 960] = [0x55; 960];

/// What went wrong; its number is the exit code.
#[derive(Clone, Copy)]
#[repr(i32)]
pub(crate) enum Wrong {
    Bitrate = 1,
    NoResolve,
    NoConnect,
    NoRequest,
    ReplyUnread,
    NothingWritten,
    BytesNotKept,
    NotLive,
    Lateness,
}

/// Takes one mount from nothing to live.
fn judge() -> Result<(), Wrong> {
    let bitrate = BitRate::from_kbit(320).ok_or(Wrong::Bitrate)?;
    let rendition =
        Rendition { codec: Codec::Mp3, rate: SampleRate::Hz48000, channels: Channels::Stereo, bitrate };
    let mut core = Delivery::new();
    let mut backlog = Backlog::new(&rendition);
    let mut now = Instant::from_millis(1);

    let outputs = feed(&mut core, now, &Input::Configure(config(rendition).into()));
    let link = outputs.iter().find_map(|output| {
        if let Output::Resolve { link, uplink: None, host } = output
            && host == "stream.example.org"
        {
            Some(*link)
        } else {
            None
        }
    });
    let addresses = Vec::from([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let outputs = feed(&mut core, now, &Input::Resolved { link: link.ok_or(Wrong::NoResolve)?, addresses });
    let link = outputs.iter().find_map(|output| {
        if let Output::Connect { link, address, talk: Talk::Http, .. } = output
            && address.port() == 8000
        {
            Some(*link)
        } else {
            None
        }
    });
    let link = link.ok_or(Wrong::NoConnect)?;
    feed(&mut core, now, &Input::Reached { link });
    let outputs = feed(&mut core, now, &Input::Connected { link });
    let asked = |output: &Output| matches!(output, Output::Send { bytes, .. } if bytes.starts_with(b"PUT /live HTTP/1.1\r\n"));
    if !outputs.iter().any(asked) {
        return Err(Wrong::NoRequest);
    }

    let answer = b"HTTP/1.1 100 Continue\r\nServer: Icecast 2.4.4\r\n\r\n";
    let reply = ReplyReader::new(Talk::Http).feed(answer).ok_or(Wrong::ReplyUnread)?;
    if !matches!(&reply, Reply { status: 100, verdict: Verdict::Go, server: Some(server) } if server == "Icecast 2.4.4")
    {
        return Err(Wrong::ReplyUnread);
    }
    feed(&mut core, now, &Input::Replied { link, reply });

    let mut acked = 0;
    for packet in 1..=50u64 {
        now += Duration::from_millis(24);
        // Questions that come due stay unanswered: this server has no status page.
        feed(&mut core, now, &Input::Tick);
        let end = backlog.push(&PACKET);
        let produced =
            Input::Produced { rendition: RenditionId(0), end, frames: Frames(packet * 1152), entry: true, more: false };
        let outputs = feed(&mut core, now, &produced);
        let range = outputs.iter().find_map(|output| {
            if let Output::Write { from, to, .. } = output { Some((*from, *to)) } else { None }
        });
        let (from, to) = range.ok_or(Wrong::NothingWritten)?;
        let (first, second) = backlog.bytes(from, to);
        let bytes = u32::try_from(first.len() + second.len()).map_err(|_| Wrong::BytesNotKept)?;
        if u64::from(bytes) != to.since(from) {
            return Err(Wrong::BytesNotKept);
        }
        acked += u64::from(bytes);
        feed(&mut core, now, &Input::Wrote { link, bytes, acked, blocked: false });
    }

    let report = core.report();
    let mount = report.first().and_then(|output| output.mounts.first()).ok_or(Wrong::NotLive)?;
    if mount.state != MountState::Live || mount.acked != backlog.end().0 {
        return Err(Wrong::NotLive);
    }
    // A mount on air has something to look after: the core wants to be woken, and not in the past.
    if core.wakeup().is_none_or(|at| at < now) { Err(Wrong::Lateness) } else { Ok(()) }
}

fn feed(core: &mut Delivery, now: Instant, input: &Input) -> Vec<Output> {
    core.handle(now, input);
    core::iter::from_fn(|| core.poll()).collect()
}

fn config(rendition: Rendition) -> Config {
    let mount = MountConfig {
        id: MountId { output: "main".to_string(), role: Role::Primary },
        server: Server {
            // Icecast would get whole blocks instead of packets.
            kind: ServerKind::Generic,
            host: "stream.example.org".to_string(),
            port: 8000,
            tls: None,
            method: Method::Put,
        },
        path: "/live".to_string(),
        user: "source".to_string(),
        password: Secret::new("hackme".to_string()),
        rendition,
        station: Station::default(),
        longest_lag: Duration::from_secs(15),
    };
    Config {
        agent: "Mainstay/no_std".to_string(),
        seed: 1,
        mounts: Vec::from([mount]),
        uplinks: Vec::new(),
        outputs: Vec::new(),
    }
}
