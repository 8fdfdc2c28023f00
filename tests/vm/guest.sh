#!/bin/sh
# guest.sh FOLDER: the test, inside the VM, on the host's files. Captures from each card with the program that FOLDER/listen
# names, takes the card away meanwhile, and gives it back. Judges nothing: it leaves in FOLDER, for each card, what the
# program said (CARD.jsonl, CARD.log), when the card went and came in seconds since boot (CARD.events), and its end.
# Then has clock.py step the clock under a box on air. Every wait is bounded.
set -u

share=$1
here=$(dirname "$0")
listen=$(cat "$share/listen")
dmesg -n 1

now() { cut -d ' ' -f 1 /proc/uptime; }

# await SECONDS CONDITION...: looks ten times a second.
await() {
    tries=$(($1 * 10))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || return 1
        sleep 0.1
    done
}

# said TEXT FILE
said() { grep -q -- "$1" "$2" 2>/dev/null; }

card_is() { [ -e "/proc/asound/$1" ]; }
card_gone() { ! card_is "$1"; }

# replug CARD OPTION VALUE: the option names the card to the program; `plug_CARD` and `unplug_CARD` do what they say.
replug() {
    card=$1
    events=$share/$card.events
    echo "vm: $card: capturing, $2 $3, on kernel $(uname -r)"
    timeout -k 2 60 "$listen" "$2" "$3" --seconds "$(cat "$share/seconds")" --tone 997 \
        >"$share/$card.jsonl" 2>"$share/$card.log" &
    program=$!
    await 15 said '"state":"capturing"' "$share/$card.jsonl"
    sleep 3

    echo "unplug $(now)" >>"$events"
    "unplug_$card"
    await 5 card_gone "$card"
    echo "gone $(now)" >>"$events"
    echo "vm: $card: unplugged"
    sleep 2
    echo "plug $(now)" >>"$events"
    "plug_$card"
    await 10 card_is "$card"
    echo "back $(now)" >>"$events"
    echo "vm: $card: plugged in again"

    wait $program
    echo "exit $?" >>"$events"
}

# The loopback card: what is played into one side is captured from the other. Its player comes and goes with it.
plug_Loopback() {
    [ -e /sys/bus/platform/drivers/snd_aloop/snd_aloop.0 ] ||
        echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/bind
    await 5 test -e /dev/snd/controlC0
    # Any format of the capturing side will do for the player, whoever opens first; a long buffer forgives a slow machine.
    aplay -q -D plughw:CARD=Loopback,DEV=0 --buffer-time=500000 "$share/tone.wav" 2>>"$share/player.log" &
}
unplug_Loopback() { echo snd_aloop.0 >/sys/bus/platform/drivers/snd_aloop/unbind; }

plug_LineIn() { echo plug >&3; }
unplug_LineIn() { echo unplug >&3; }

plug_Loopback
replug Loopback --device hw:CARD=Loopback,DEV=1
unplug_Loopback

mkfifo /dev/shm/usb
# Hardware does not wait for programs.
chrt -f 50 /usr/bin/python3 -B "$here/usb_line_in.py" </dev/shm/usb >"$share/usb.log" 2>&1 &
exec 3>/dev/shm/usb
plug_LineIn
await 15 card_is LineIn || echo "vm: the USB card did not show up"
# By its place this time: the virtual controller is the only one, so its first port is bus 1, port 1.
replug LineIn --usb 1-1
exec 3>&-

# The time of day jumps under a box that is on air.
echo "vm: clock: a box on air, on kernel $(uname -r)"
timeout -k 2 900 /usr/bin/python3 -B "$here/clock.py" "$share" >"$share/clock.out" 2>&1 || echo "vm: clock: did not end well"
grep '^vm: ' "$share/clock.out"
