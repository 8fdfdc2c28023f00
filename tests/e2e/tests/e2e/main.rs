//! The real box against real servers and players. Needs icecast2, ffmpeg, mpg123, faad, mpv and liquidsoap, which tools/test
//! installs, Icecast 2.5 from tools/lab/trixie, and `cargo build -p mainstay-air -p mainstay-cli`;
//! `cargo xtask test --floor e2e` sees to all of it.
//!
//! No test asserts a time: that a mount was not disturbed is shown by its bytes (every packet once and whole, the
//! programme's clock unbroken) and by the count of its connections. Limits of waits are generous, for a busy machine.

mod archive;
mod capture;
mod codecs;
mod drill;
mod emergency_files;
mod faults;
mod ogg;
mod outages;
mod peers;
mod reload;
mod secrets;
mod stage;
mod strangers;
mod survey;
mod take;
mod tiers;
mod titles;
mod tls;
