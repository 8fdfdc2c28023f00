"""clock.py FOLDER: inside the VM. A box with a held fallback over two uplinks, a server in a network namespace whose own clock
runs on steadily, and a listener; then the box's time of day jumps. Judges nothing: it leaves clock.json in FOLDER.
Every wait is bounded."""

import ctypes
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

SHARE = Path(sys.argv[1])
WORK = Path("/dev/shm/clock")
# In memory: mapped from the shared folder, every page of a program is a question to the host.
AIR, MAINSTAY = (WORK / Path(path).name for path in (SHARE / "programs").read_text().split())
SERVER = "198.51.100.1"
PASSWORD = "let-me-on-air"
# A time after the programs were built; then an hour on, an hour back, 1970, and right again.
RIGHT = 1_900_000_000
STEPS = [("an hour on", 3600), ("an hour back", -3600), ("1970", None), ("right again", 0)]
# More than a settle time, a source timeout and a count of listeners.
BETWEEN = 20
SETTLED = 240

ICECAST = f"""<icecast>
<limits><clients>50</clients><sources>4</sources><source-timeout>10</source-timeout></limits>
<authentication><source-password>{PASSWORD}</source-password><admin-user>admin</admin-user>
<admin-password>x</admin-password></authentication>
<listen-socket><port>8000</port></listen-socket>
<mount type="normal"><mount-name>/live</mount-name><fallback-mount>/live_fallback</fallback-mount>
<fallback-override>1</fallback-override></mount>
<paths><basedir>{WORK}/server</basedir><logdir>{WORK}/server</logdir><webroot>/usr/share/icecast2/web</webroot>
<adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>2</loglevel></logging>
</icecast>
"""

SETTINGS = f"""version = 1
secrets = "secrets.toml"
[input]
tone = "997 Hz"
[control]
socket = "{WORK}/air.sock"
state = "{WORK}"
[[uplink]]
name = "one"
interface = "up0"
[[uplink]]
name = "two"
interface = "up1"
[[output]]
name = "main"
settle = "5 s"
[output.primary]
url = "http://{SERVER}:8000/live"
codec = "mp3"
bitrate = "128 kbit/s"
[output.fallback]
url = "http://{SERVER}:8000/live_fallback"
codec = "mp3"
bitrate = "64 kbit/s"
[output.proven]
fallback = true
override = true
evict = true
burst = 65536
queue = 524288
source_timeout = "10 s"
"""


def run(words):
    subprocess.run(words.split(), check=True)


def lay_wires():
    """Two links to a namespace, which has the server's address behind both."""
    inside = subprocess.Popen(["unshare", "-n", "sleep", "600"])
    time.sleep(1)
    enter = f"nsenter -t {inside.pid} -n"
    run("ip link set lo up")
    run(f"{enter} ip link set lo up")
    run(f"{enter} ip addr add {SERVER}/32 dev lo")
    for at in range(2):
        run(f"ip link add up{at} type veth peer name s{at} netns {inside.pid}")
        run(f"ip addr add 10.0.{at}.2/24 dev up{at}")
        run(f"ip link set up{at} up")
        run(f"{enter} ip addr add 10.0.{at}.1/24 dev s{at}")
        run(f"{enter} ip link set s{at} up")
        run(f"ip route add default via 10.0.{at}.1 dev up{at} metric {100 + at}")
    return enter


def start(enter):
    folder = WORK / "server"
    folder.mkdir()
    (folder / "icecast.xml").write_text(ICECAST)
    run(f"chown -R 65534:65534 {folder}")
    server = f"{enter} setpriv --reuid 65534 --regid 65534 --clear-groups env LD_PRELOAD={SHARE}/steady.so"
    subprocess.Popen(f"{server} icecast2 -c {folder}/icecast.xml".split(), stderr=subprocess.DEVNULL)
    (WORK / "settings.toml").write_text(SETTINGS)
    secrets = WORK / "secrets.toml"
    secrets.write_text(f'[main]\nprimary = "{PASSWORD}"\nfallback = "{PASSWORD}"\n')
    secrets.chmod(0o600)
    log = open(SHARE / "clock.log", "wb")
    return subprocess.Popen([str(AIR), "--config", str(WORK / "settings.toml")], stderr=log, stdout=log)


class Listener(threading.Thread):
    """A player on the primary: the bytes he has, and whether his connection was ended."""

    def __init__(self):
        super().__init__(daemon=True)
        self.bytes, self.ended = 0, False

    def run(self):
        try:
            with socket.create_connection((SERVER, 8000), 10) as connection:
                connection.settimeout(60)
                connection.sendall(b"GET /live HTTP/1.0\r\n\r\n")
                while some := connection.recv(65536):
                    self.bytes += len(some)
        finally:
            self.ended = True


def status():
    words = [str(MAINSTAY), "--socket", f"{WORK}/air.sock", "status", "--json"]
    try:
        said = subprocess.run(words, capture_output=True, timeout=60, check=False)
        if said.returncode == 0:
            return json.loads(said.stdout)
        print(f"vm: clock: no status: {said.stderr.decode(errors='replace').strip()}", flush=True)
    except subprocess.TimeoutExpired:
        print("vm: clock: no status in time", flush=True)
    return {"outputs": []}


def states(snapshot):
    return [mount["state"] for output in snapshot["outputs"] for mount in output["mounts"]]


def set_clock(seconds):
    """As a time service does it: the step, and the kernel told that the clock is right (STA_UNSYNC clear)."""
    time.clock_settime(time.CLOCK_REALTIME, seconds)
    timex = (ctypes.c_int64 * 64)()
    # modes = ADJ_STATUS | ADJ_MAXERROR, all else zero (adjtimex(2)): with the error that a step leaves, the kernel would call
    # its clock wrong again a second later.
    ctypes.cast(timex, ctypes.POINTER(ctypes.c_uint32))[0] = 0x14
    ctypes.CDLL(None).adjtimex(timex)


def main():
    WORK.mkdir()
    for path in (SHARE / "programs").read_text().split():
        shutil.copy(path, WORK)
    set_clock(RIGHT)
    enter = lay_wires()
    print("vm: clock: links are there", flush=True)
    air = start(enter)
    deadline = time.monotonic() + SETTLED
    while states(status()) != ["verified", "held"] and time.monotonic() < deadline:
        time.sleep(1)
    listener = Listener()
    listener.start()
    time.sleep(10)
    seen = []
    begun = time.monotonic() - (time.clock_gettime(time.CLOCK_REALTIME) - RIGHT)

    def look(what):
        # A machine that is starved of its processor may be late with an answer.
        snapshot = next((said for said in (status() for _ in range(3)) if said["outputs"]), {"outputs": []})
        seen.append({"after": what, "wall": snapshot.get("wall"), "states": states(snapshot), "bytes": listener.bytes,
                     "ended": listener.ended, "outputs": snapshot["outputs"], "uplinks": snapshot.get("uplinks")})
        print(f"vm: clock: {what}: {states(snapshot)}, wall {snapshot.get('wall')}", flush=True)

    look("the start")
    for what, off in STEPS:
        set_clock(3600 if off is None else RIGHT + time.monotonic() - begun + off)
        time.sleep(BETWEEN)
        look(what)
    (SHARE / "clock.json").write_text(json.dumps({"seen": seen, "alive": air.poll() is None}))
    air.terminate()
    air.wait(timeout=20)


main()
