"""A USB line-in that can be plugged and unplugged, for the kernel's own snd-usb-audio.

It is a USB Audio Class 1.0 device at full speed: 48 kHz, stereo, 16 bit, one isochronous packet a millisecond, carrying a
sine. It answers the USB/IP protocol (kernel: Documentation/usb/usbip_protocol.rst) on one end of a socket pair; the other end
is given to the virtual host controller vhci-hcd. Commands are lines on standard input, `plug` and `unplug`; its end ends it.
Root only, and meant for the VM: the device is real to the kernel it runs on.
"""

import math
import os
import select
import socket
import struct
import sys
import time
from collections import deque

RATE = 48_000
FRAMES_PER_PACKET = RATE // 1000
# 997 Hz, the usual test frequency of digital audio (AES17): no whole number of cycles fits a packet, so a lost or doubled
# packet breaks the sine. A whole number fits a second, which is therefore all that is stored.
TONE_HZ = 997
LEFT, RIGHT = 12_000, 6_000

CONTROLLER = "/sys/devices/platform/vhci_hcd.0"
PORT, DEVICE_ID, FULL_SPEED = 0, 1 << 16 | 1, 2

CMD_SUBMIT, CMD_UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
EPIPE, ECONNRESET = 32, 104
HEADER_BYTES = 48
# The head of CMD_SUBMIT without its 8 bytes of setup, and an entry of the table of packets: offset, length, actual, status.
SUBMIT, PACKET = struct.Struct(">5II4i"), struct.Struct(">4I")
BATCH_SECONDS = 0.003


def one_second():
    """The tone's samples, as the packets that carry them."""

    def sample(peak, n):
        return round(peak * math.sin(2 * math.pi * TONE_HZ * n / RATE))

    frames = [struct.pack("<hh", sample(LEFT, n), sample(RIGHT, n)) for n in range(RATE)]
    return [b"".join(frames[n : n + FRAMES_PER_PACKET]) for n in range(0, RATE, FRAMES_PER_PACKET)]


def descriptor(kind, *fields):
    """A descriptor: its length, its type, then its fields; each is one byte, or bytes as they are."""
    body = b"".join(f if isinstance(f, bytes) else bytes([f]) for f in fields)
    return bytes([2 + len(body), kind]) + body


def le16(value):
    return struct.pack("<H", value)


# Types and values: USB 2.0 chapter 9, USB Audio 1.0 chapter 4, USB Audio Data Formats 1.0.
DEVICE_TYPE, CONFIGURATION_TYPE, STRING_TYPE, INTERFACE, ENDPOINT, CS_INTERFACE, CS_ENDPOINT = 1, 2, 3, 4, 5, 0x24, 0x25
AUDIO, CONTROL_SUBCLASS, STREAMING_SUBCLASS = 1, 1, 2
LINE_CONNECTOR, USB_STREAMING, LEFT_AND_RIGHT = le16(0x0603), le16(0x0101), le16(3)

# 1209:0001 is the identity that pid.codes sets aside for tests.
DEVICE = descriptor(DEVICE_TYPE, le16(0x0110), 0, 0, 0, 64, le16(0x1209), le16(0x0001), le16(0x0100), 1, 2, 3, 1)
INTERFACES = b"".join(
    [
        descriptor(INTERFACE, 0, 0, 0, AUDIO, CONTROL_SUBCLASS, 0, 0),
        descriptor(CS_INTERFACE, 1, le16(0x0100), le16(30), 1, 1),  # 30 bytes of class descriptors, streams on interface 1
        descriptor(CS_INTERFACE, 2, 1, LINE_CONNECTOR, 0, 2, LEFT_AND_RIGHT, 0, 0),  # terminal 1: the socket
        descriptor(CS_INTERFACE, 3, 2, USB_STREAMING, 0, 1, 0),  # terminal 2: what leaves by USB, fed by terminal 1
        descriptor(INTERFACE, 1, 0, 0, AUDIO, STREAMING_SUBCLASS, 0, 0),  # idle: takes no bandwidth
        descriptor(INTERFACE, 1, 1, 1, AUDIO, STREAMING_SUBCLASS, 0, 0),
        descriptor(CS_INTERFACE, 1, 2, 1, le16(1)),  # terminal 2, PCM
        descriptor(CS_INTERFACE, 2, 1, 2, 2, 16, 1, RATE.to_bytes(3, "little")),  # stereo, 2 bytes, one rate
        descriptor(ENDPOINT, 0x81, 5, le16(200), 1, 0, 0),  # isochronous in, asynchronous, each millisecond
        descriptor(CS_ENDPOINT, 1, 1, 0, le16(0)),
    ]
)
CONFIGURATION = descriptor(CONFIGURATION_TYPE, le16(9 + len(INTERFACES)), 2, 1, 0, 0x80, 50) + INTERFACES
# The kernel makes the card's id of the product's last word.
STRINGS = {1: "Mainstay test rig", 2: "Studio LineIn", 3: "0001"}


def string(index):
    text = le16(0x0409) if index == 0 else STRINGS.get(index, "?").encode("utf-16le")
    return descriptor(STRING_TYPE, text)


class Plugged:
    """The device while it is in its socket: one connection to the host controller.

    The kernel asks for one packet in each request and keeps a dozen requests waiting, a millisecond each. A few are
    answered at once: emulated processors have better things to do than to wake a program a thousand times a second.
    """

    def __init__(self, tone):
        self.tone = tone
        self.packet = 0
        self.requests = deque()  # waiting for sound: (sequence number, [(offset, length) of each packet])
        self.due = None  # when the last answered one was full: what the next one counts from
        self.received = b""
        self.socket, kernel_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with kernel_end, open(f"{CONTROLLER}/attach", "w") as attach:
            attach.write(f"{PORT} {kernel_end.fileno()} {DEVICE_ID} {FULL_SPEED}")

    def serve(self):
        """Takes the requests that have come from the controller."""
        some = self.socket.recv(1 << 16)
        if not some:
            raise EOFError
        self.received += some
        used = 0
        while (size := self.request_at(used)) > 0:
            used += size
        self.received = self.received[used:]

    def request_at(self, start):
        """Takes the request at `start` of what was received. Its size; 0 when it is not whole yet."""
        data = self.received
        if len(data) < start + HEADER_BYTES:
            return 0
        command, sequence, _, inward, endpoint, _, length, _, packets, _ = SUBMIT.unpack_from(data, start)
        if command == CMD_UNLINK:
            self.unlink(sequence, *struct.unpack_from(">I", data, start + 20))
            return HEADER_BYTES
        size = HEADER_BYTES + (0 if inward else length) + (PACKET.size * packets if endpoint else 0)
        if len(data) < start + size:
            return 0
        if endpoint == 0:
            answer, status = self.control(data[start + 40 : start + HEADER_BYTES])
            answer = answer[:length] if inward else b""
            self.socket.sendall(returned(sequence, status, len(answer) if inward else length, 0) + answer)
        else:
            table = data[start + HEADER_BYTES : start + size]
            self.requests.append((sequence, [packet[:2] for packet in PACKET.iter_unpack(table)]))
            if self.due is None:
                self.due = time.monotonic()
        return size

    def unlink(self, sequence, victim):
        """The kernel wants a request back: the stream is being stopped."""
        self.stopped()
        found = [request for request in self.requests if request[0] == victim]
        for request in found:
            self.requests.remove(request)
        self.socket.sendall(struct.pack(">5Ii24x", RET_UNLINK, sequence, 0, 0, 0, -ECONNRESET if found else 0))

    def control(self, setup):
        """Answers a control request: the data to return and the status."""
        kind, request, value, _, _ = struct.unpack("<BBHHH", setup)
        of_class, to_host = kind & 0x60 == 0x20, kind & 0x80
        if of_class:  # the sampling frequency, asked for or set to the only one there is
            return (RATE.to_bytes(3, "little") if to_host else b"", 0)
        match request:
            case 0:  # GET_STATUS
                return (le16(0), 0)
            case 6:  # GET_DESCRIPTOR
                match value >> 8:
                    case 1:
                        return (DEVICE, 0)
                    case 2:
                        return (CONFIGURATION, 0)
                    case 3:
                        return (string(value & 0xFF), 0)
                return (b"", -EPIPE)
            case 8:  # GET_CONFIGURATION
                return (b"\1", 0)
            case 10:  # GET_INTERFACE
                return (b"\0", 0)
            case 11:  # SET_INTERFACE: streaming begins or ends
                self.stopped()
        return (b"", 0)

    def stopped(self):
        """A stream is over. What it should have carried by now and did not, this machine was too slow for."""
        if self.due is not None:
            print(f"behind {time.monotonic() - self.due:.3f}", flush=True)
            self.due = None

    def answer_due(self, now):
        """Answers the requests whose time is full. Late is caught up as far as the machine can."""
        answers = []
        while self.requests and (full := self.due + len(self.requests[0][1]) / 1000) <= now:
            sequence, packets = self.requests.popleft()
            self.due = full
            sound, table = b"", b""
            for offset, length in packets:
                data = self.tone[self.packet][:length]
                self.packet = (self.packet + 1) % len(self.tone)
                sound += data
                table += PACKET.pack(offset, length, len(data), 0)
            answers.append(returned(sequence, 0, len(sound), len(packets)) + sound + table)
        if answers:
            self.socket.sendall(b"".join(answers))

    def wait(self, now):
        """Seconds until a few requests are due; none while nothing is asked for."""
        if not self.requests:
            return None
        return max(0.0, self.due + BATCH_SECONDS - now)


def returned(sequence, status, length, packets):
    """The head of an answer to CMD_SUBMIT."""
    return struct.pack(">5I5i8x", RET_SUBMIT, sequence, 0, 0, 0, status, length, 0, packets, 0)


def main():
    tone = one_second()
    device = None
    commands = sys.stdin.fileno()
    pending = b""
    print("ready", flush=True)
    while True:
        sources = [commands] + ([device.socket] if device else [])
        readable, _, _ = select.select(sources, [], [], device.wait(time.monotonic()) if device else None)
        try:
            if device and device.socket in readable:
                device.serve()
            if device:
                device.answer_due(time.monotonic())
        except (EOFError, ConnectionError):
            device.stopped()
            device.socket.close()
            device = None
            print("out", flush=True)
        if commands in readable:
            some = os.read(commands, 4096)
            if not some:
                return
            pending += some
            *lines, pending = pending.split(b"\n")
            for line in lines:
                if line == b"plug" and device is None:
                    device = Plugged(tone)
                    print("in", flush=True)
                elif line == b"unplug" and device is not None:
                    with open(f"{CONTROLLER}/detach", "w") as detach:
                        detach.write(str(PORT))


if __name__ == "__main__":
    main()
