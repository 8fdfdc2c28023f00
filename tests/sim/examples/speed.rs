//! How many hours are simulated in a second, with one world on one core.

use std::time::Duration;

use mainstay_sim::Scenario;

#[expect(clippy::disallowed_methods, reason = "this measures the simulation itself")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn main() -> Result<(), Box<mainstay_sim::Failed>> {
    let (mut simulated, mut inputs) = (Duration::ZERO, 0);
    let began = now();
    for seed in 0..100 {
        let outcome = Scenario::hour(seed).run()?;
        simulated += outcome.length;
        inputs += outcome.inputs;
    }
    let took = began.elapsed().as_secs_f64();
    let hours = simulated.as_secs_f64() / 3600.0;
    println!(
        "{hours:.0} simulated hours in {took:.2} s: {:.1} simulated hours per second, {:.2} million inputs per second",
        hours / took,
        inputs as f64 / took / 1e6
    );
    Ok(())
}
