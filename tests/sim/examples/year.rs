//! A year's faults of a bad provider, and what a listener loses by them: the box, beside plain reconnects and two mounts
//! without hand-over. `cargo run --release -p mainstay-sim --example year [EVERY]` takes every EVERYth fault; 1 if left out.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mainstay_sim::tcp::year::{Toll, Who, YEAR, heard, trial};
use mainstay_sim::tcp::{Most, Trial};

fn main() {
    let every = std::env::args().nth(1).map_or(1, |text| text.parse().expect("EVERY is a whole number"));
    let jobs: Vec<(usize, u64)> = YEAR
        .iter()
        .enumerate()
        .flat_map(|(place, rate)| (0..rate.a_year).step_by(every).map(move |number| (place, number)))
        .collect();
    let whos = [Who::HandOver, Who::Two, Who::Plain];
    let (next, tolls) = (AtomicUsize::new(0), Mutex::new(vec![[Toll::default(); 3]; YEAR.len()]));
    let broken = Mutex::new(Vec::new());
    let work = || {
        while let Some(&(place, number)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            for (column, &who) in whos.iter().enumerate() {
                let trial = trial(place, number, who);
                match trial.run() {
                    Ok(world) => {
                        tolls.lock().expect("nobody panics while adding")[place][column] += heard(&world);
                    }
                    Err(failed) => {
                        // What it cost is counted, also where it cost what it must not.
                        let lax = Trial { most: Most::default(), ..trial.clone() };
                        if let Ok(world) = lax.run() {
                            tolls.lock().expect("nobody panics while adding")[place][column] += heard(&world);
                        }
                        broken.lock().expect("nobody panics while adding").push((trial, failed));
                    }
                }
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, usize::from)).for_each(|_| {
            scope.spawn(work);
        });
    });
    let tolls = tolls.into_inner().expect("nobody panicked while adding");
    println!(
        "{:22} {:>7} | hand-over: lost s  torn  longest pause | two mounts: lost s  torn | plain: lost s  drops",
        "", "faults"
    );
    let mut sum = [Toll::default(); 3];
    for (rate, row) in YEAR.iter().zip(&tolls) {
        line(rate.name, row);
        sum.iter_mut().zip(row).for_each(|(sum, toll)| *sum += *toll);
    }
    line("a year", &sum);
    let broken = broken.into_inner().expect("nobody panicked while adding");
    for (trial, failed) in &broken {
        println!("{failed}\n{}", serde_json::to_string(&trial.shrunk()).expect("a trial is plain data"));
    }
    println!(
        "{} runs, {} of them broke an invariant, or lost, tore or repeated what they must not",
        jobs.len() * whos.len(),
        broken.len()
    );
}

fn line(name: &str, [box_, two, plain]: &[Toll; 3]) {
    println!(
        "{name:22} {:>7} | {:>17.2} {:>5} {:>12} ms | {:>18.2} {:>5} | {:>13.2} {:>6}",
        box_.faults,
        box_.lost.as_secs_f64(),
        box_.torn + box_.repeated,
        box_.pause.as_millis(),
        two.lost.as_secs_f64(),
        two.torn + two.repeated,
        plain.lost.as_secs_f64(),
        plain.drops,
    );
}
