//! `ready FILE FOLDER`: makes a file's ready form, for a programme of 48 kHz stereo, and says what was found and what
//! it took in memory.

use std::path::Path;

use mainstay_emergency::{Target, check, prepare};
use units::{Channels, SampleRate};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, folder] = &*arguments else { return Err("ready FILE FOLDER".into()) };
    let checked = check(Path::new(file))?;
    println!("{checked:#?}");
    for note in &checked.notes {
        println!("note: {note}");
    }
    let target = Target { rate: SampleRate::Hz48000, channels: Channels::Stereo };
    let ready = prepare(Path::new(file), target, Path::new(folder))?;
    println!("{ready:#?}");
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no VmHWM"));
    Ok(())
}
