"""What is asked of a capture that lost its card and got it back, as checks on what guest.sh left."""

import json

# A busy machine without KVM schedules the program's threads this late at the worst. The absence, which must not be missing
# from the count, is eight times as long.
SLACK_SECONDS = 0.25
# snd-usb-audio moves its pointer before it copies the packet (kernel: sound/usb/pcm.c, retire_capture_urb). Who reads in
# between gets what lay there before. On hardware that is nanoseconds; an emulated processor can be stopped right there.
PACKET_FRAMES = 48
STALE_PACKETS = 5
# After a replug, the loopback card carries silence until its player runs again; a USB card brings its own tone.
PLAYER_SECONDS = {"Loopback": 3.0, "LineIn": 0.0}


def judge(card, folder):
    """Checks as (what, whether it holds, what was seen)."""
    try:
        events = [line.split() for line in (folder / f"{card}.events").read_text().splitlines()]
        events = {name: float(value) for name, value in events}
        said = [json.loads(line) for line in (folder / f"{card}.jsonl").read_text().splitlines()]
        end = next(line for line in said if line["event"] == "end")
        states = [line for line in said if line["event"] == "state"]
        late = seconds_behind(folder) if card == "LineIn" else 0.0
        return [(f"{card}: {what}", good, seen) for what, good, seen in checks(card, events, states, end, late)]
    except (OSError, ValueError, KeyError, StopIteration) as why:
        return [(f"{card}: the program reported", False, f"{why!r}; what it said is in {folder}/{card}.log")]


def seconds_behind(folder):
    """What the USB device itself could not deliver in time, in seconds of sound."""
    words = (line.split() for line in (folder / "usb.log").read_text().splitlines())
    return sum(float(word[1]) for word in words if word[0] == "behind")


def checks(card, events, states, end, late):
    rate, slack = end["rate"], SLACK_SECONDS * end["rate"]
    yield "the program ended well", events["exit"] == 0, f"exit {events['exit']:.0f}, {end['real_time']}"

    off = end["frames"] - end["seconds"] * rate
    yield (
        "as many frames as time",
        -late * rate <= off + end["period"] + slack and off <= end["period"] + slack,
        f"{end['frames']} frames in {end['seconds']:.3f} s by the reader's clock, {off:+.0f} off"
        + (f"; the machine was too slow for {late * rate:.0f} of them" if late else ""),
    )

    lost = [s for s in states if s["state"] == "lost" and events["unplug"] <= s["uptime"] <= events["plug"]]
    yield (
        "the unplug was noticed",
        bool(lost),
        f"{lost[0]['uptime'] - events['unplug']:.2f} s after it: {lost[0]['why']}" if lost else "never",
    )

    back = [s for s in states if s["state"] == "capturing" and s["uptime"] >= events["plug"]]
    yield (
        "capture resumed",
        bool(back),
        f"{back[0]['uptime'] - events['plug']:.2f} s after the replug" if back else "never",
    )

    # Gone for certain from `gone` to `plug`; gone at the most from `unplug` until it was back.
    least = (events["plug"] - events["gone"]) * rate
    most = (back[0]["uptime"] - events["unplug"]) * rate + slack if back else 0
    yield (
        "the gap was counted",
        end["gaps"] >= 1 and least <= end["gap_frames"] <= most,
        f"{end['gap_frames']} frames in {end['gaps']} gaps, {end['xruns']} of them overruns; "
        f"absent for {least:.0f} frames at least",
    )
    yield (
        "silence of exactly the gap's length stands in",
        end["silence_frames"] == end["gap_frames"],
        f"{end['silence_frames']} frames in {end['silence_periods']} pieces",
    )

    tone, stale = joined(end["tone"])
    yield (
        "the tone breaks nowhere but at a counted gap",
        len(tone) == end["gaps"] + 1 and stale <= STALE_PACKETS,
        (", ".join(f"{t['frames']} frames from {t['from']}" for t in tone) or "no tone")
        + (f"; {stale} packets read before the driver had copied them" if stale else ""),
    )
    heard = sum(stretch["frames"] for stretch in tone)
    yield (
        "all sound is the tone",
        # A stretch may lose the first two samples, which are needed to know it.
        0 <= end["sound_frames"] - heard <= 2 * len(tone) + PLAYER_SECONDS[card] * rate,
        f"{heard} of {end['sound_frames']} frames in {end['sound_periods']} periods",
    )


def joined(tone):
    """The stretches of tone, those made one that only old content of a single packet parts; and how many such there were.

    The tone is where it should be on both sides of such a packet. After a lost or doubled piece it is not: then the next
    stretch follows at once.
    """
    whole, stale = [], 0
    for stretch in tone:
        last = whole[-1] if whole else None
        if last and 0 < stretch["from"] - last["from"] - last["frames"] <= PACKET_FRAMES:
            last["frames"] = stretch["from"] + stretch["frames"] - last["from"]
            stale += 1
        else:
            whole.append(dict(stretch))
    return whole, stale


def judge_clock(folder):
    """What became of a box on air whose time of day jumped, as checks."""
    try:
        told = json.loads((folder / "clock.json").read_text())
        log = (folder / "clock.log").read_text()
        checks = [(f"clock: {what}", good, seen) for what, good, seen in clock_checks(told, log)]
        return checks
    except (OSError, ValueError, KeyError, IndexError) as why:
        return [("clock: the box reported", False, f"{why!r}; what it said is in {folder}/clock.log and clock.out")]


def clock_checks(told, log):
    seen = told["seen"]
    first = seen[0]
    yield "a mount is verified and one held", first["states"] == ["verified", "held"], str(first["states"])
    yield "the box runs on", told["alive"], "alive" if told["alive"] else "ended"
    for before, after in zip(seen, seen[1:]):
        what = after["after"]
        same = after["states"] == first["states"] and counts(after) == counts(first)
        yield f"{what}: mounts and hand-over as before", same, f"{after['states']}, {counts(after)}"
        more = after["bytes"] - before["bytes"]
        yield f"{what}: the listener hears on", more > 0 and not after["ended"], f"{more} bytes more"
    lines = log.splitlines()
    moved = [line for line in lines if "listeners moved" in line]
    yield "nobody is moved", not moved, f"{len(lines)} lines of log" + (f": {moved[0]}" if moved else "")
    walls = [entry["wall"] for entry in seen]
    yield "the time of day is called unknown in 1970 only", walls[3] != walls[4], str(walls)


def counts(entry):
    """Connections taken, attempts that failed, and hand-overs."""
    mounts = [mount for output in entry["outputs"] for mount in output["mounts"]]
    incidents = sum(len(output["hand_over"]["incidents"]) for output in entry["outputs"])
    phases = [output["hand_over"]["phase"] for output in entry["outputs"]]
    return [mount["accepted"] for mount in mounts], [mount["failures"] for mount in mounts], incidents, phases
