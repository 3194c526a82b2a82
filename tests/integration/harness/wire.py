# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frame by frame, for what no well-behaved client library would send."""
import socket
import ssl
import struct
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
SERVICE = "/taskworker.TaskWorkerService/"


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """One frame; `length` makes its header lie."""
    length = len(payload) if length is None else length
    return struct.pack(">I", length)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(payload, compressed=0, length=None):
    """One gRPC message; `length` makes its prefix lie."""
    return struct.pack(">BI", compressed, len(payload) if length is None else length) + payload


def grpc_headers(method, **changes):
    """The headers of a call, in order; a change to None leaves one out. Underscores stand for dashes, h_ for a colon."""
    path = method if method.startswith("/") else SERVICE + method
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "test", "te": "trailers",
               "content-type": "application/grpc"}
    for name, value in changes.items():
        name = ":" + name[2:] if name.startswith("h_") else name.replace("_", "-")
        headers[name] = value
    return [(k, v) for k, v in headers.items() if v is not None]


class Closed(Exception):
    """The server closed the connection."""


class Response:
    def __init__(self):
        self.headers, self.trailers, self.data, self.reset, self.ended = {}, {}, b"", None, False

    @property
    def http_status(self):
        return int(self.headers.get(":status", 0))

    @property
    def grpc_status(self):
        value = self.trailers.get("grpc-status", self.headers.get("grpc-status"))
        return None if value is None else int(value)

    @property
    def grpc_message(self):
        return self.trailers.get("grpc-message", self.headers.get("grpc-message", ""))

    @property
    def over(self):
        return self.ended or self.reset is not None


# What calls to a node say who they are, by its address, where the tests as a whole are run as its administrator (--authenticated).
tokens = {}


class Connection:
    def __init__(self, address, seconds=15, preface=True, tls=None, source=None):
        """`tls` is an ssl.SSLContext; `source` an address of ours, such as 127.0.0.2, to be another peer than 127.0.0.1."""
        self.token = tokens.get(address)
        host, port = address.rsplit(":", 1)
        self.seconds = seconds
        self.socket = socket.create_connection((host, int(port)), timeout=seconds, source_address=source and (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer = b""
        self.responses = {}
        self.pongs, self.goaway, self.settings = [], None, None
        if preface:
            self.send(PREFACE + frame(SETTINGS))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, raw):
        try:
            self.socket.sendall(raw)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError) as error:
            raise Closed() from error

    def send_headers(self, stream, headers, flags=END_HEADERS):
        self.send(frame(HEADERS, flags, stream, self.encoder.encode(self.with_token(headers))))

    def with_token(self, headers):
        if not self.token or any(name == "authorization" for name, _ in headers):
            return headers
        return [*headers, ("authorization", f"Bearer {self.token}")]

    def send_data(self, stream, payload, flags=END_STREAM):
        self.send(frame(DATA, flags, stream, payload))

    def call(self, method, payload=b"", stream=1, **changes):
        """A whole unary call."""
        self.send_headers(stream, grpc_headers(method, **changes))
        self.send_data(stream, message(payload))
        return self.response(stream)

    def _read_frame(self, deadline):
        while True:
            if len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + length:
                    kind, flags, stream = struct.unpack(">BBI", self.buffer[3:9])
                    payload, self.buffer = self.buffer[9:9 + length], self.buffer[9 + length:]
                    return kind, flags, stream & 0x7fffffff, payload
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError as error:
                raise Closed() from error
            if not more:
                raise Closed()
            self.buffer += more

    def _handle(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            self.settings = dict(struct.iter_unpack(">HI", payload))
            self.send(frame(SETTINGS, ACK))
        elif kind == PING:
            if flags & ACK:
                self.pongs.append(payload)
            else:
                self.send(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])
        elif kind in (HEADERS, DATA, RST_STREAM):
            response = self.responses.setdefault(stream, Response())
            if kind == RST_STREAM:
                response.reset = struct.unpack(">I", payload)[0]
            elif kind == DATA:
                response.data += payload
                if payload and not flags & END_STREAM:
                    window = struct.pack(">I", len(payload))
                    self.send(frame(WINDOW_UPDATE, 0, 0, window) + frame(WINDOW_UPDATE, 0, stream, window))
            else:
                assert flags & END_HEADERS, "the server split a header block; teach this client CONTINUATION"
                headers = dict(self.decoder.decode(payload))
                if response.headers:
                    response.trailers.update(headers)
                else:
                    response.headers.update(headers)
            if kind != RST_STREAM and flags & END_STREAM:
                response.ended = True

    def until(self, condition):
        """Reads frames until the condition holds; Closed or a time-out otherwise."""
        deadline = time.monotonic() + self.seconds
        while not condition():
            self._handle(*self._read_frame(deadline))

    def response(self, stream=1):
        self.until(lambda: stream in self.responses and self.responses[stream].over)
        return self.responses[stream]

    def ping(self):
        """A round trip: everything sent before has been seen by the server, and the connection lives."""
        payload = b"%08d" % (len(self.pongs) + 1)
        self.send(frame(PING, 0, 0, payload))
        self.until(lambda: payload in self.pongs)

    def until_closed(self):
        """Reads until the server closes; returns GOAWAY's (last stream, error code) or None."""
        try:
            self.until(lambda: False)
        except Closed:
            pass
        return self.goaway
