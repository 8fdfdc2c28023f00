"""run.py KERNEL-TREE PROGRAMS FOLDER: boots the VM, has guest.sh run the programs (a folder) in it, and judges what it left in
FOLDER."""

import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import initramfs
from usb_line_in import RATE, one_second
from verdict import judge, judge_clock

HERE = Path(__file__).resolve().parent
CARDS = ["Loopback", "LineIn"]
# Long enough for three seconds of sound, an absence, and sound again, on a machine several times slower than real hardware.
LISTEN_SECONDS = 14
# A run takes three minutes, more on a machine that is busy otherwise; whatever takes longer than this hangs.
VM_SECONDS = 420

# Cards, the virtual USB host, and the host's files by 9p; with options where they need some.
MODULES = {
    "virtio_pci": "",
    "9pnet_virtio": "",
    "9p": "",
    "snd-hrtimer": "",
    "snd-aloop": "pcm_substreams=1",
    "vhci-hcd": "",
    "snd-usb-audio": "",
    "veth": "",
}


def prepare(folder, programs):
    """The shared folder, with all that the guest reads from it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "listen").write_text(str(programs / "examples/listen"))
    (folder / "programs").write_text(f"{programs}/mainstay-air {programs}/mainstay")
    steady = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(folder / "steady.so"), str(HERE / "steady.c")]
    subprocess.run(steady, check=True)
    (folder / "seconds").write_text(str(LISTEN_SECONDS))
    with wave.open(str(folder / "tone.wav"), "wb") as tone:
        tone.setnchannels(2)
        tone.setsampwidth(2)
        tone.setframerate(RATE)
        second = b"".join(one_second())
        for _ in range(60):
            tone.writeframes(second)


def boot(kernel, image, folder):
    """Runs the VM to its end, passing on what the guest says; ends it by its process when it takes too long."""
    command = ["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512"]
    command += ["-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio", "-monitor", "none"]
    command += ["-kernel", str(kernel), "-initrd", str(image)]
    # Starved of its processor, an emulated timer looks broken to the kernel, which then gives up.
    command += ["-append", "console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check"]
    # `remap`: the host's files may lie on several file systems, whose inode numbers overlap.
    command += ["-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"]
    command += ["-virtfs", f"local,path={folder},mount_tag=share,security_model=none"]
    deadline = time.monotonic() + VM_SECONDS
    with open(folder / "console.log", "wb") as console, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as qemu, selectors.DefaultSelector() as selector:
        selector.register(qemu.stdout, selectors.EVENT_READ)
        line = b""
        try:
            while (left := deadline - time.monotonic()) > 0:
                if not selector.select(left):
                    break
                some = os.read(qemu.stdout.fileno(), 65536)
                if not some:
                    return qemu.wait(timeout=10) == 0
                console.write(some)
                *lines, line = (line + some).split(b"\n")
                for whole in lines:
                    if whole.startswith(b"vm: "):
                        print(whole.decode(errors="replace").strip(), flush=True)
            print(f"vm: not done after {VM_SECONDS} s, ended", flush=True)
            return False
        finally:
            if qemu.poll() is None:
                qemu.kill()


def main():
    # Ended from outside, it still ends the VM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tree, programs, folder = (Path(a).resolve() for a in sys.argv[1:4])
    (modules,) = (tree / "usr/lib/modules").iterdir()
    prepare(folder, programs)
    image = folder / "initramfs.gz"
    settings = f"SHARE='{folder}'\nTEST='{HERE / 'guest.sh'}'\n"
    image.write_bytes(initramfs.build(tree, modules, MODULES, (HERE / "init").read_bytes(), settings))

    began = time.monotonic()
    ended = boot(modules / "vmlinuz", image, folder)
    passed = failed = 0
    checks = [("the VM ran to its end", ended, f"{time.monotonic() - began:.0f} s; its console is in {folder}/console.log")]
    for card in CARDS:
        checks += judge(card, folder)
    checks += judge_clock(folder)
    for what, good, said in checks:
        print(f"{'ok  ' if good else 'FAIL'} {what}: {said}")
        passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
