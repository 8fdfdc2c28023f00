//! Listens to a stream as an input for some seconds and says once a second how it is:
//! `stream HOST:PORT /MOUNT SECONDS`, over plain HTTP. By hand: for a server and a player to compare it with.

use std::error::Error;
use std::net::TcpStream;
use std::time::Duration;

use mainstay_capture::{self as capture, Clock, Config, Dial, Input, Next, PeriodKind, Pick, Request};
use units::SampleRate;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [host, target, seconds] = &arguments[..] else {
        return Err("stream HOST:PORT /MOUNT SECONDS".into());
    };
    let seconds: u64 = seconds.parse()?;
    let request = Request {
        host: host.clone(),
        target: target.clone(),
        agent: "mainstay-example".into(),
        authorization: None,
    };
    let name = format!("http://{host}{target}");
    let dial = Dial::new(move || {
        let connection = TcpStream::connect(&request.host)?;
        connection.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(capture::request(connection, &request)?)
    });
    let mut capture = capture::start(Config {
        input: Input::Stream { name, dial },
        rate: SampleRate::Hz48000,
        pick: Pick::Stereo,
        period: 1_152,
        clock: Clock::Report,
    })?;
    let (mut sound, mut silence, mut peak, mut next) = (0, 0, 0.0_f32, 48_000);
    while next <= seconds * 48_000 {
        let Next::Period(period) = capture.next(Duration::from_secs(1)) else { continue };
        let frames = period.samples.len() as u64 / 2;
        peak = period.samples.iter().fold(peak, |peak, sample| peak.max(sample.abs()));
        match period.kind {
            PeriodKind::Sound => sound += frames,
            PeriodKind::Silence => silence += frames,
        }
        if sound + silence >= next {
            next += 48_000;
            let report = capture.status().report(capture::now());
            println!(
                "sound {sound} silence {silence} peak {peak:.3} gaps {} {:?}",
                report.gaps, report.state
            );
            peak = 0.0;
        }
    }
    Ok(())
}
