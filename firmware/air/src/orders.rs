//! What people want of an output's listeners, now or at a time of day.

use std::time::Duration;

use delivery::Input;
use delivery::event::Order;
use units::snapshot::{Reply, Wanted};

use crate::clock;
use crate::driver::Driver;

/// Carries an order out, or keeps it for later. An order for later is asked about when its time has come.
pub(crate) fn order(driver: &Driver, wanted: Wanted, output: String, at: Option<&str>) -> Reply {
    let name = output.clone();
    let order = match wanted {
        Wanted::Leave => Order::Leave { output },
        Wanted::Return => Order::GiveBack { output },
        Wanted::Take => Order::Take { output },
        Wanted::Release => Order::Release { output },
    };
    let Some(at) = at else {
        return match driver.may(&order) {
            Ok(()) => {
                driver.feed(Input::Order(order));
                Reply::Done { changes: vec![format!("{name}: {}", doing(wanted))] }
            }
            Err(why) => Reply::Refused { why },
        };
    };
    let Some(time) = time_of_day(at) else {
        return Reply::Refused { why: format!("\"{at}\" is no time of day; write hh:mm:ss, as in 19:59:30") };
    };
    let Some(wait) = clock::until(time) else {
        return Reply::Refused {
            why: "the time of day is not known; set the clock, or leave --at out".to_string(),
        };
    };
    let driver = driver.clone();
    tokio::task::spawn_local(async move {
        tokio::time::sleep(wait).await;
        match driver.may(&order) {
            Ok(()) => driver.feed(Input::Order(order)),
            Err(why) => tracing::error!(alarm = true, "what was wanted for now cannot be done: {why}"),
        }
    });
    let seconds = wait.as_secs();
    Reply::Done { changes: vec![format!("{name}: {} at {at}, in {seconds} s", doing(wanted))] }
}

const fn doing(wanted: Wanted) -> &'static str {
    match wanted {
        Wanted::Leave => "moving its listeners to the fallback; `mainstay return` brings them back",
        Wanted::Return => "bringing its listeners back to the primary",
        Wanted::Take => "taking it; `mainstay release` hands it back",
        Wanted::Release => "releasing it",
    }
}

/// Seconds since midnight.
fn time_of_day(text: &str) -> Option<u32> {
    let mut parts = text.split(':').map(|part| match part.len() {
        1 | 2 => part.parse::<u32>().ok(),
        _ => None,
    });
    let (hours, minutes) = (parts.next()??, parts.next()??);
    let seconds = parts.next().unwrap_or(Some(0))?;
    let whole = parts.next().is_none() && hours < 24 && minutes < 60 && seconds < 60;
    whole.then_some(hours * 3600 + minutes * 60 + seconds)
}

/// From one second of the day to the next time that it is another one.
pub(crate) fn wait(now: u32, then: u32) -> Duration {
    const DAY: u32 = 24 * 3600;
    Duration::from_secs(u64::from((then + DAY - now) % DAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_day_are_read_strictly() {
        assert_eq!(time_of_day("19:59:30"), Some(71_970));
        assert_eq!(time_of_day("7:05"), Some(25_500));
        for wrong in ["24:00:00", "12:60", "12", "1:2:3:4", "-1:00", "aa:bb", "012:00", ""] {
            assert_eq!(time_of_day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_time_that_has_passed_is_tomorrows() {
        assert_eq!(wait(10, 20), Duration::from_secs(10));
        assert_eq!(wait(20, 10), Duration::from_secs(24 * 3600 - 10));
        assert_eq!(wait(5, 5), Duration::ZERO);
    }
}
