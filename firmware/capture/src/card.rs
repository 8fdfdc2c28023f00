//! An opened ALSA card: found by name or USB path, set up as the programme needs it, read back, and read from.

use std::fs;
use std::io;
use std::path::Path;

use alsa::pcm::{Access, Format, HwParams, PCM, TstampType};
use alsa::poll::{Descriptors, Flags, pollfd};
use alsa::{Direction, ValueOr};
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use units::SampleRate;

use crate::clock::NS_PER_SECOND;
use crate::error::Error;
use crate::realtime::Hush;
use crate::samples::{Encoding, Layout, Pick};

/// Which card, by something that stays the same when it is plugged in again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Device {
    /// An ALSA PCM: `hw:CARD=Device`, or any other name, plugins included.
    Pcm(String),
    /// The card on this USB path (`1-1.2`: bus 1, port 1, port 2 of the hub there), whatever its index is today.
    UsbPath(String),
}

impl Device {
    /// How people know it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Pcm(name) => name.clone(),
            Self::UsbPath(path) => format!("usb:{path}"),
        }
    }

    /// Whether alsa-lib goes straight to the kernel for it.
    pub(crate) fn is_hardware(&self) -> bool {
        match self {
            Self::Pcm(name) => name.starts_with("hw:"),
            Self::UsbPath(_) => true,
        }
    }

    /// The PCM's name at this moment.
    fn pcm_name(&self, sound_class: &Path) -> Result<String, Error> {
        match self {
            Self::Pcm(name) => Ok(name.clone()),
            Self::UsbPath(path) => {
                usb_card(sound_class, path).map(|index| format!("hw:{index}")).ok_or_else(|| Error::Absent {
                    device: self.name(),
                    cause: "no sound card on this USB path".into(),
                })
            }
        }
    }
}

/// Sample formats that may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SampleFormat {
    /// The best of S32, packed S24, S24 and S16 that the card has.
    Auto,
    /// 16 bits.
    S16,
    /// 24 bits, packed in three bytes or in the low part of four.
    S24,
    /// 32 bits.
    S32,
}

impl SampleFormat {
    fn candidates(self) -> &'static [(Format, Encoding)] {
        const ALL: [(Format, Encoding); 4] = [
            (Format::S32LE, Encoding::S32),
            (Format::S243LE, Encoding::S24Packed),
            (Format::S24LE, Encoding::S24),
            (Format::S16LE, Encoding::S16),
        ];
        match self {
            Self::Auto => &ALL,
            Self::S32 => &ALL[..1],
            Self::S24 => &ALL[1..3],
            Self::S16 => &ALL[3..],
        }
    }
}

/// What a card is opened for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) device: Device,
    pub(crate) format: SampleFormat,
    pub(crate) rate: SampleRate,
    pub(crate) pick: Pick,
    pub(crate) period: u32,
}

/// A card that is set up and not started.
pub(crate) struct Card {
    pcm: PCM,
    /// As read back.
    pub(crate) layout: Layout,
    /// Frames per wake-up, as read back.
    pub(crate) period: u32,
}

/// How a read or a wait for one can end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// As many frames as were asked for.
    Whole,
    /// Fewer.
    Partial(usize),
    /// Woken for nothing: no frame is there yet.
    Spurious,
    /// EPIPE: the card's buffer ran over and it stopped.
    Overrun,
    /// ESTRPIPE: the machine slept.
    Suspended,
    /// ENODEV, EBADFD, POLLHUP, POLLNVAL: the card is gone.
    Unplugged,
    /// The card has been silent for longer than any card should.
    TimedOut,
    /// A signal, or our own bell.
    Interrupted,
    /// An error without an arm of its own.
    Failed,
}

impl Card {
    /// Opens and sets up; never blocks for a busy device. Allocates: not for the real-time thread.
    pub(crate) fn open(wanted: &Wanted) -> Result<Self, Error> {
        let _hush = Hush::new();
        let name = wanted.device.pcm_name(Path::new(SOUND_CLASS))?;
        // `PCM::new` would panic on a zero byte.
        if name.contains('\0') {
            return Err(Error::Name { device: name });
        }
        let pcm = PCM::new(&name, Direction::Capture, true)
            .map_err(|error| open_error(wanted.device.name(), error))?;
        let layout = set_up(&pcm, wanted)?;
        let period = pcm
            .hw_params_current()
            .and_then(|params| params.get_period_size())
            .map_err(|error| alsa_error(wanted, "reading the period back", error))?;
        if pcm.count() > MAX_DESCRIPTORS {
            return Err(Error::Alsa {
                device: wanted.device.name(),
                what: "asking for poll descriptors",
                cause: format!("it has {}, {MAX_DESCRIPTORS} are supported", pcm.count()),
            });
        }
        let period = u32::try_from(period).unwrap_or(wanted.period).max(1);
        Ok(Self { pcm, layout, period })
    }

    /// Capture has to be started by hand, after opening as after each recovery.
    pub(crate) fn start(&self) -> bool {
        self.pcm.start().is_ok()
    }

    /// Makes a stopped card ready and starts it again.
    pub(crate) fn restart(&self) -> bool {
        self.pcm.prepare().is_ok() && self.start()
    }

    /// Frames that wait, as the card sees it at this moment. May cost a system call.
    pub(crate) fn waiting_now(&self) -> Option<u64> {
        self.pcm.avail().ok().and_then(|frames| u64::try_from(frames).ok())
    }

    /// Frames that still wait after a read, as far as is known without asking the hardware.
    pub(crate) fn waiting(&self) -> Option<u64> {
        self.pcm.avail_update().ok().and_then(|frames| u64::try_from(frames).ok())
    }

    /// When the card's position was last known, in ns of whatever clock it stamps by, and the frames that waited then: both
    /// taken by the driver at one moment, where it can. One system call; allocates nothing.
    pub(crate) fn stamped(&self) -> Option<(i64, u64)> {
        let status = self.pcm.status().ok()?;
        let stamp = status.get_htstamp();
        let stamp = TimeSpec::from(stamp);
        let ns = stamp.tv_sec() * NS_PER_SECOND + stamp.tv_nsec();
        Some((ns, u64::try_from(status.get_avail()).ok()?))
    }

    /// Fills in the poll descriptors; how many there are.
    pub(crate) fn descriptors(&self, fds: &mut [pollfd]) -> usize {
        let count = self.pcm.count().min(fds.len());
        self.pcm.fill(&mut fds[..count]).unwrap_or(0)
    }

    /// What the polled descriptors mean. `None`: try to read, whose result says more than the event does.
    pub(crate) fn woken(&self, fds: &[pollfd]) -> Option<Ending> {
        match self.pcm.revents(fds) {
            Ok(flags) if flags.intersects(Flags::HUP | Flags::NVAL) => Some(Ending::Unplugged),
            Ok(flags) if flags.intersects(Flags::IN | Flags::ERR) => None,
            Ok(_) => Some(Ending::Spurious),
            Err(error) => Some(ending(error)),
        }
    }

    /// Reads as many whole frames as `bytes` holds, without waiting.
    pub(crate) fn read(&self, bytes: &mut [u8]) -> Ending {
        let wanted = bytes.len() / self.layout.frame_bytes();
        // The only IO object of this PCM, and gone at the end of the statement: a second one would panic.
        match self.pcm.io_bytes().readi(bytes) {
            Ok(0) => Ending::Spurious,
            Ok(frames) if frames == wanted => Ending::Whole,
            Ok(frames) => Ending::Partial(frames),
            Err(error) => ending(error),
        }
    }
}

/// Poll descriptors a card may have; the kernel's have one, plugins a few.
pub(crate) const MAX_DESCRIPTORS: usize = 8;

const SOUND_CLASS: &str = "/sys/class/sound";

#[expect(clippy::wildcard_enum_match_arm, reason = "errno is not ours and has 130 values")]
fn ending(error: alsa::Error) -> Ending {
    match errno(error) {
        Errno::EPIPE => Ending::Overrun,
        Errno::ESTRPIPE => Ending::Suspended,
        Errno::ENODEV | Errno::EBADFD => Ending::Unplugged,
        Errno::EINTR => Ending::Interrupted,
        Errno::EAGAIN => Ending::Spurious,
        _ => Ending::Failed,
    }
}

/// alsa 0.12 keeps some codes negative.
fn errno(error: alsa::Error) -> Errno {
    Errno::from_raw(error.errno().abs())
}

#[expect(clippy::wildcard_enum_match_arm, reason = "errno is not ours and has 130 values")]
fn open_error(device: String, error: alsa::Error) -> Error {
    match errno(error) {
        Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => {
            Error::Absent { device, cause: errno(error).desc().into() }
        }
        Errno::EBUSY | Errno::EAGAIN => Error::Busy { device },
        Errno::EACCES | Errno::EPERM => Error::Denied { device },
        other => Error::Alsa { device, what: "opening", cause: other.desc().into() },
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "errno is not ours and has 130 values")]
fn alsa_error(wanted: &Wanted, what: &'static str, error: alsa::Error) -> Error {
    // A card may vanish while it is being set up.
    match errno(error) {
        Errno::ENODEV | Errno::EBADFD => {
            Error::Absent { device: wanted.device.name(), cause: "it vanished while it was set up".into() }
        }
        other => Error::Alsa { device: wanted.device.name(), what, cause: other.desc().into() },
    }
}

fn set_up(pcm: &PCM, wanted: &Wanted) -> Result<Layout, Error> {
    let failed = |what| move |error| alsa_error(wanted, what, error);
    let hw = HwParams::any(pcm).map_err(failed("reading what the card offers"))?;
    // A plugin must not resample behind our back; the rate is the card's or refused.
    hw.set_rate_resample(false).map_err(failed("switching resampling off"))?;
    hw.set_access(Access::RWInterleaved).map_err(failed("asking for interleaved reads"))?;
    let refused = |asked: String, offered: String, remedy| Error::Refused {
        device: wanted.device.name(),
        asked,
        offered,
        remedy,
    };
    let hz = wanted.rate.hz();
    if hw.set_rate(hz, ValueOr::Nearest).is_err() {
        let offered = range("Hz", hw.get_rate_min(), hw.get_rate_max());
        return Err(refused(format!("{hz} Hz"), offered, "set the programme's rate to one of these"));
    }
    let channels = match wanted.pick {
        Pick::Mono => hw.set_channels(1).map(|()| 1),
        Pick::Stereo | Pick::Swapped | Pick::Left | Pick::Right | Pick::MonoMix => hw
            .set_channels(2)
            .map(|()| 2)
            // A multichannel card may offer nothing smaller: its first two are taken.
            .or_else(|refusal| match hw.get_channels_min() {
                Ok(least) if least > 2 => hw.set_channels(least).map(|()| least),
                Ok(_) | Err(_) => Err(refusal),
            }),
    };
    let Ok(channels) = channels else {
        let offered = range("channels", hw.get_channels_min(), hw.get_channels_max());
        return Err(match wanted.pick {
            Pick::Mono => refused("one channel".into(), offered, "pick left, right or the mono mix"),
            Pick::Stereo | Pick::Swapped | Pick::Left | Pick::Right | Pick::MonoMix => {
                refused("two channels".into(), offered, "pick mono")
            }
        });
    };
    let candidates = wanted.format.candidates();
    let Some((_, encoding)) = candidates.iter().find(|(format, _)| hw.set_format(*format).is_ok()) else {
        let asked = names(candidates.iter());
        let offered =
            names(SampleFormat::Auto.candidates().iter().filter(|(f, _)| hw.test_format(*f).is_ok()));
        return Err(refused(asked, offered, "set the sample format to `auto`"));
    };
    hw.set_period_size_near(wanted.period.into(), ValueOr::Nearest).map_err(failed("setting the period"))?;
    let period = hw.get_period_size().map_err(failed("reading the period back"))?;
    hw.set_buffer_size_near(buffer_frames(period, hz)).map_err(failed("setting the buffer"))?;
    pcm.hw_params(&hw).map_err(failed("setting the card up"))?;

    let sw = pcm.sw_params_current().map_err(failed("reading the wake-up settings"))?;
    sw.set_avail_min(period).map_err(failed("setting the wake-up"))?;
    sw.set_tstamp_mode(true).map_err(failed("switching time stamps on"))?;
    // Older plugins know no other clock than their own; nothing here depends on it.
    let _ = sw.set_tstamp_type(TstampType::Monotonic);
    pcm.sw_params(&sw).map_err(failed("setting the wake-up"))?;
    Ok(Layout { encoding: *encoding, channels: channels as usize })
}

/// At least four periods and 200 ms, in whole periods: what a busy machine may oversleep before frames are lost.
fn buffer_frames(period: alsa::pcm::Frames, hz: u32) -> alsa::pcm::Frames {
    let fifth = alsa::pcm::Frames::from(hz.cast_signed() / 5);
    let periods = (fifth + period - 1) / period.max(1);
    period * periods.max(4)
}

fn range(unit: &str, least: alsa::Result<u32>, most: alsa::Result<u32>) -> String {
    match (least, most) {
        (Ok(least), Ok(most)) if least == most => format!("{least} {unit}"),
        (Ok(least), Ok(most)) => format!("{least} to {most} {unit}"),
        (Err(_), _) | (_, Err(_)) => format!("an unknown range of {unit}"),
    }
}

fn names<'a>(formats: impl Iterator<Item = &'a (Format, Encoding)>) -> String {
    let names: Vec<_> = formats.map(|(format, _)| format.to_string()).collect();
    if names.is_empty() { "none of the formats known here".into() } else { names.join(", ") }
}

/// The index of the card whose device sits on `path` or on an interface of it (`1-1.2:1.0`).
fn usb_card(sound_class: &Path, path: &str) -> Option<u32> {
    let entries: io::Result<Vec<_>> = fs::read_dir(sound_class).and_then(Iterator::collect);
    let on_path = |target: &Path| {
        target.components().any(|part| {
            let part = part.as_os_str().to_string_lossy();
            part.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        })
    };
    let mut found: Vec<u32> = entries
        .unwrap_or_default()
        .into_iter()
        .filter_map(|entry| {
            let index = entry.file_name().to_str()?.strip_prefix("card")?.parse().ok()?;
            on_path(&fs::canonicalize(entry.path()).ok()?).then_some(index)
        })
        .collect();
    // A device with two cards gives the lower one, always.
    found.sort_unstable();
    found.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_usb_path_names_a_card_whatever_its_index() {
        let root = tempfile::tempdir().unwrap();
        let class = root.path().join("class/sound");
        fs::create_dir_all(&class).unwrap();
        for (index, place) in [
            (0, "pci0000:00/0000:00:1b.0/sound/card0"),
            (1, "usb1/1-1/1-1.2/1-1.2:1.0/sound/card1"),
            (12, "usb1/1-1/1-1.23/1-1.23:1.0/sound/card12"),
        ] {
            let target = root.path().join("devices").join(place);
            fs::create_dir_all(&target).unwrap();
            symlink(&target, class.join(format!("card{index}"))).unwrap();
        }
        fs::write(class.join("version"), "").unwrap();
        assert_eq!(usb_card(&class, "1-1.2"), Some(1));
        assert_eq!(usb_card(&class, "1-1.23"), Some(12));
        assert_eq!(usb_card(&class, "1-1.4"), None);
        let device = Device::UsbPath("1-1.4".into());
        assert!(matches!(device.pcm_name(&class), Err(Error::Absent { .. })));
    }

    #[test]
    fn the_buffer_holds_four_periods_and_a_fifth_of_a_second() {
        for (period, hz) in [(64, 48_000), (1152, 48_000), (1152, 44_100), (24_000, 48_000)] {
            let frames = buffer_frames(period, hz);
            assert!(frames >= 4 * period && frames >= i64::from(hz) / 5 && frames % period == 0);
        }
    }

    #[test]
    fn each_way_a_read_ends_has_its_arm() {
        let of = |errno: Errno| ending(alsa::Error::new("snd_pcm_readi", errno as i32));
        assert_eq!(of(Errno::EPIPE), Ending::Overrun);
        assert_eq!(of(Errno::ESTRPIPE), Ending::Suspended);
        assert_eq!(of(Errno::ENODEV), Ending::Unplugged);
        assert_eq!(of(Errno::EBADFD), Ending::Unplugged);
        assert_eq!(of(Errno::EINTR), Ending::Interrupted);
        assert_eq!(of(Errno::EAGAIN), Ending::Spurious);
        assert_eq!(of(Errno::EIO), Ending::Failed);
        assert_eq!(ending(alsa::Error::new("poll", -(Errno::EPIPE as i32))), Ending::Overrun);
    }
}
