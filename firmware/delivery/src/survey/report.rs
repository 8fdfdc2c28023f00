//! What a survey found, in words: findings, lines for the settings, lines for the server.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use units::snapshot::{SurveyFinding, SurveyReport, SurveySight};

use super::Plan;
use super::facts::{Behind, Facts};
use crate::config::{Method, ServerKind};
use crate::profile::{Evictors, Make, ServerProfile};

/// Everything in words.
pub(super) fn report(plan: &Plan, facts: &Facts) -> SurveyReport {
    let make = facts.make.unwrap_or(Make::Generic);
    let known = facts.unreachable.is_none() && !facts.liar;
    SurveyReport {
        server: facts.server.clone().unwrap_or_default(),
        kind: if known { make.habits().name.to_string() } else { String::new() },
        findings: findings(plan, facts, make),
        settings: if known { settings(plan, facts, make) } else { Vec::new() },
        headend: if known { headend(plan, facts, make) } else { Vec::new() },
    }
}

/// Three seconds of sound are what players hold after a move, in bytes.
pub(super) fn wanted_burst(plan: &Plan) -> u64 {
    (u64::from(plan.bits) * 3 / 8 + BLOCK).next_multiple_of(4096).max(65_536)
}

fn findings(plan: &Plan, facts: &Facts, make: Make) -> Vec<SurveyFinding> {
    let mut all = Findings(Vec::new());
    if let Some(why) = &facts.unreachable {
        all.bad(why.clone());
        return all.0;
    }
    for fault in &facts.faults {
        all.bad(fault.clone());
    }
    if facts.liar {
        all.bad(
            "this is no streaming server, or something stands before it: it was given no password"
                .to_string(),
        );
        return all.0;
    }
    let habits = make.habits();
    if make == Make::Generic {
        all.note("it does not say what it is".to_string());
    } else if !habits.tested {
        let name = habits.name;
        all.note(format!("{name} was not tested with Mainstay; what is known is what its authors publish"));
    }
    if habits.kind != plan.primary.server.kind && plan.fed {
        all.bad(format!("the settings take it for {}", word(plan.primary.server.kind)));
    }
    match facts.login {
        Some(true) => all.good("the login works".to_string()),
        Some(false) => all.bad("the login is refused: user or password are wrong".to_string()),
        None => {}
    }
    match facts.method {
        Some(Method::Put) => all.good("a source may open its mount by PUT".to_string()),
        Some(Method::Source) => all.note("a source may open its mount by SOURCE only".to_string()),
        None => {}
    }
    if let Some(list) = &facts.listed {
        all.note(format!("mounts on its status list: {}", count(list.len())));
    }
    match facts.room {
        Some(true) => all.good("its limit of sources leaves room".to_string()),
        Some(false) => all.bad("its limit of sources is reached".to_string()),
        None => {}
    }
    mounts(plan, facts, &mut all);
    match (facts.stats, facts.evict) {
        (_, Some(true)) => all.good("our login may evict its own source".to_string()),
        (_, Some(false)) => all.bad(
            "our login may not evict its own source: after a cut, listeners wait for the server's time-out"
                .to_string(),
        ),
        (Some(false), None) => all.note("our login may not read /admin/stats".to_string()),
        (Some(true) | None, None) => {}
    }
    if let Some(burst) = facts.burst {
        let ms = burst * 8 * 1000 / u64::from(plan.bits.max(1));
        let text = format!(
            "a new listener gets {}{burst} bytes at once: {}.{} s of sound",
            if facts.burst_more { "at least " } else { "" },
            ms / 1000,
            ms % 1000 / 100
        );
        if ms < 3000 { all.bad(text) } else { all.good(text) }
    }
    if let Some(timeout) = facts.source_timeout {
        let text = format!("it drops a silent source after {} s", rounded(timeout));
        if rounded(timeout) > 12 { all.bad(text) } else { all.good(text) }
    }
    for note in &facts.notes {
        all.note(note.clone());
    }
    all.0
}

fn mounts(plan: &Plan, facts: &Facts, all: &mut Findings) {
    let own =
        [Some((&plan.primary, facts.primary)), plan.fallback.as_ref().map(|mount| (mount, facts.fallback))];
    for (mount, seen) in own.into_iter().flatten() {
        let path = &mount.path;
        match (seen.live, seen.listeners) {
            (Some(true), Some(listeners)) => {
                all.note(format!("{path} has a source, and {}", listeners_in_words(listeners)));
            }
            (Some(true), None) => all.note(format!("{path} has a source")),
            (Some(false), _) => all.note(format!("{path} is free")),
            (None, _) => {}
        }
    }
    let primary = &plan.primary.path;
    match &facts.behind {
        Some(Behind::Mount(path)) => all.note(format!("without a source of its own, {primary} plays {path}")),
        Some(Behind::Something) => {
            all.note(format!(
                "without a source of its own, {primary} plays something: a fallback further down"
            ));
        }
        Some(Behind::Nothing) if facts.moved == Some(true) => {
            all.note(format!("with neither source, {primary} plays nothing: there is no further fallback"));
        }
        Some(Behind::Nothing) | None => {}
    }
    let Some(fallback) = plan.fallback.as_ref().map(|mount| &mount.path) else { return };
    let codec = plan.primary.rendition.codec;
    if codec.is_ogg() {
        all.note(format!(
            "{codec} is in Ogg: the server moves its listeners when a source ends, Mainstay does not hand them over"
        ));
    }
    match facts.moved {
        Some(true) => all.good(format!("listeners of {primary} are moved to {fallback}")),
        Some(false) => all.bad(format!("listeners of {primary} are not moved to {fallback}")),
        None => {}
    }
    match facts.overrides {
        Some(true) => all.good(format!("they come back when {primary} has a source again")),
        Some(false) => all.bad(format!("they stay there when {primary} has a source again")),
        None => {}
    }
}

fn settings(plan: &Plan, facts: &Facts, make: Make) -> Vec<String> {
    let habits = make.habits();
    let mut lines = Vec::new();
    if habits.kind != plan.primary.server.kind || !plan.fed {
        lines.push(format!(
            "server = \"{}\"    # in [output.primary] and [output.fallback]",
            word(habits.kind)
        ));
    }
    if facts.method == Some(Method::Source) {
        lines.push("method = \"source\"    # in [output.primary] and [output.fallback]".to_string());
    }
    // What is in Ogg is not handed over, whatever the server could do.
    let ogg = plan.primary.rendition.codec.is_ogg();
    if plan.fallback.is_none() || habits.every_listener.is_none() || ogg {
        return lines;
    }
    let fact = |key: &str, seen: Option<bool>| match seen {
        Some(seen) => format!("{key} = {seen}"),
        None => format!("# {key}: not tried"),
    };
    lines.push("[output.proven]".to_string());
    lines.push(fact("fallback", facts.moved));
    lines.push(fact("override", facts.overrides));
    lines.push(fact("evict", facts.evict));
    lines.push(match facts.burst {
        Some(burst) => format!("burst = {burst}"),
        None => format!("burst = {}    # the server's default; not measured", habits.burst),
    });
    // No page shows it, and to fill a listener's queue would cost more than it is worth.
    let queue = habits.queue.max(facts.burst.map_or(0, |burst| burst.next_multiple_of(65_536) + 65_536));
    lines.push(format!("queue = {queue}    # the server's default; compare with queue-size"));
    lines.push(match facts.source_timeout {
        Some(timeout) => format!("source_timeout = \"{} s\"", rounded(timeout)),
        None => format!(
            "source_timeout = \"{} s\"    # the server's default; --slow measures it",
            rounded(ServerProfile::of(habits.kind).source_timeout)
        ),
    });
    lines
}

fn headend(plan: &Plan, facts: &Facts, make: Make) -> Vec<String> {
    let habits = make.habits();
    let mut lines = Vec::new();
    let Some(every_listener) = habits.every_listener else { return lines };
    let mut limits = Vec::new();
    if facts.room == Some(false) {
        let listed = facts.listed.as_ref().map_or(2, Vec::len) as u64;
        limits.push(format!(
            "    <sources>{}</sources>    <!-- what is there, both mounts, one to spare -->",
            listed + 3
        ));
    }
    let wanted = wanted_burst(plan);
    let short = facts.burst.is_some_and(|burst| burst * 8 < u64::from(plan.bits) * 3 && !facts.burst_more);
    if short {
        limits.push(format!("    <burst-size>{wanted}</burst-size>    <!-- 3 s of sound -->"));
        if wanted * 4 > habits.queue {
            limits.push(format!("    <queue-size>{}</queue-size>", wanted * 4));
        }
    }
    if facts.source_timeout.is_some_and(|timeout| rounded(timeout) > 12) {
        limits.push("    <source-timeout>10</source-timeout>".to_string());
    }
    if !limits.is_empty() {
        lines.push("<limits>".to_string());
        lines.append(&mut limits);
        lines.push("</limits>".to_string());
    }
    let role = facts.evict == Some(false) && habits.evictors == Evictors::Roles;
    let whole = facts.moved != Some(true) || facts.overrides != Some(true);
    if let (Some(fallback), true) = (&plan.fallback, whole || role) {
        if facts.moved.is_none() || (facts.moved == Some(true) && facts.overrides.is_none()) {
            lines.push(
                "<!-- fallback and override were not tried: see that the mount has these lines -->"
                    .to_string(),
            );
        }
        lines.push("<mount type=\"normal\">".to_string());
        lines.push(format!("    <mount-name>{}</mount-name>", escaped(&plan.primary.path)));
        lines.push(format!("    <fallback-mount>{}</fallback-mount>", escaped(&fallback.path)));
        lines.push(format!("    <fallback-override>{every_listener}</fallback-override>"));
        if make == Make::Icecast24 && plan.primary.rendition.codec == units::Codec::Mp3 {
            lines.push("    <charset>UTF-8</charset>".to_string());
        }
        if role {
            lines.push("    <authentication>".to_string());
            lines.push("        <role type=\"static\" allow-method=\"get,post,source,put\" allow-admin=\"stats,killsource,metadata\">".to_string());
            lines.push(format!(
                "            <option name=\"username\" value=\"{}\"/>",
                escaped(&plan.primary.user)
            ));
            lines.push("            <option name=\"password\" value=\"(the source password)\"/>".to_string());
            lines.push("        </role>".to_string());
            lines.push(
                "        <role type=\"anonymous\" match-method=\"source,put\" deny-all=\"*\"/>".to_string(),
            );
            lines.push("    </authentication>".to_string());
        }
        lines.push("</mount>".to_string());
    }
    lines
}

/// A burst ends with a whole block.
const BLOCK: u64 = 1400;

struct Findings(Vec<SurveyFinding>);

impl Findings {
    fn good(&mut self, text: String) {
        self.0.push(SurveyFinding { sight: SurveySight::Good, text });
    }

    fn bad(&mut self, text: String) {
        self.0.push(SurveyFinding { sight: SurveySight::Bad, text });
    }

    fn note(&mut self, text: String) {
        self.0.push(SurveyFinding { sight: SurveySight::Note, text });
    }
}

fn count(number: usize) -> String {
    if number == 0 { "none".to_string() } else { number.to_string() }
}

fn listeners_in_words(number: u64) -> String {
    match number {
        0 => "nobody listens".to_string(),
        1 => "one listener".to_string(),
        more => format!("{more} listeners"),
    }
}

/// Whole seconds, to the nearest: a server's clock ticks once a second.
const fn rounded(time: Duration) -> u64 {
    (time.as_millis() as u64 + 500) / 1000
}

/// What the settings call it.
const fn word(kind: ServerKind) -> &'static str {
    match kind {
        ServerKind::Icecast => "icecast",
        ServerKind::IcecastKh => "icecast-kh",
        ServerKind::Harbor => "harbor",
        ServerKind::Shoutcast1 => "shoutcast-1",
        ServerKind::Generic => "generic",
    }
}

/// As XML writes text and attributes.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
