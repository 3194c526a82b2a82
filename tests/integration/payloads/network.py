# SPDX-License-Identifier: Apache-2.0
# Sockets. Given: PORT of the node itself, ABSTRACT (a name that a server outside listens at), PATHS of sockets outside.
import fcntl
import os
import re
import socket
import struct

from given import ABSTRACT, PATHS, PORT
from probing import ABSENT, REFUSED, probe, read, try_all

KINDS = {"stream": 1, "datagram": 2, "raw": 3, "rdm": 4, "seqpacket": 5, "packet": 10}
USUAL = {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6}
NO_FAMILY = ("EAFNOSUPPORT", *REFUSED)
NO_WAY = ("ENETUNREACH", "EHOSTUNREACH", "EADDRNOTAVAIL", "ECONNREFUSED", "ENETDOWN", "EACCES", "EPERM", "EINVAL")

try_all("socket of family and kind", NO_FAMILY, lambda case: socket.socket(case[0], KINDS[case[1]], 0),
        [(family, kind) for family in range(46) if family not in USUAL for kind in ("stream", "datagram", "raw", "seqpacket")])
try_all("pair of family", NO_FAMILY, lambda family: socket.socketpair(family, 1, 0), [f for f in range(46) if f != socket.AF_UNIX])
try_all("raw socket of family and protocol", (*REFUSED, "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"),
        lambda case: socket.socket(case[0], KINDS["raw"], case[1]),
        [(f, p) for f in (socket.AF_INET, socket.AF_INET6) for p in (0, 1, 6, 17, 58, 255)])
try_all("old packet socket of family", (*NO_FAMILY, "ESOCKTNOSUPPORT", "EPROTONOSUPPORT", "EINVAL"),
        lambda family: socket.socket(family, KINDS["packet"], 0), sorted(USUAL))
try_all("netlink protocol", NO_FAMILY, lambda protocol: socket.socket(socket.AF_NETLINK, 3, protocol), range(23))
try_all("vsock to", NO_FAMILY, lambda cid: socket.socket(40, 1).connect((cid, 1024)), [0, 1, 2])


def connect(address):
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as s:
        s.settimeout(5)
        s.connect(address)
    return "connected"


def send(address):
    with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM) as s:
        return s.sendto(b"out", address)


OUTSIDE = [("127.0.0.1", PORT), ("::1", PORT), ("169.254.169.254", 80), ("10.0.0.1", 53), ("192.168.0.1", 80), ("8.8.8.8", 53),
           ("2001:4860:4860::8888", 53), ("fe80::1", 80), ("0.0.0.0", PORT), ("172.17.0.1", 2375)]
try_all("connect to", NO_WAY, connect, OUTSIDE)
try_all("send to", NO_WAY, send, [a for a in OUTSIDE if a[0] not in ("127.0.0.1", "::1", "0.0.0.0")])


def connect_unix(name):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(name)
    return "connected"


@probe("ECONNREFUSED")
def abstract_socket_of_the_host():
    return connect_unix("\0" + ABSTRACT)


try_all("socket file", (*ABSENT, "EACCES"), connect_unix, PATHS)


def be_somebody(who):
    a, b = socket.socketpair()
    b.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("iII", *who))])
    return "believed"


try_all("credentials of", ("EPERM", "EINVAL"), be_somebody, [(1, 1000, 1000), (os.getpid(), 0, 0), (os.getpid(), 1000, 0)])


@probe("['lo']")
def the_interfaces():
    return sorted(re.findall(r"^\s*(\S+):", read("/proc/net/dev").decode(), re.M))


def interface(request, data):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return fcntl.ioctl(s, request, struct.pack("16sH14x", b"lo", data) + bytes(16))


@probe(*REFUSED)
def bring_the_interface_up():
    return interface(0x8914, 0x49)  # SIOCSIFFLAGS


@probe(*REFUSED)
def address_of_the_interface():
    return interface(0x8916, socket.AF_INET)  # SIOCSIFADDR


@probe(*REFUSED, "EINVAL", "ENOTTY")
def make_a_bridge():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        return fcntl.ioctl(s, 0x89A0, b"br0\0" + bytes(28))


def option(case):
    level, number, value = case
    with socket.socket(socket.AF_INET) as s:
        s.setsockopt(level, number, value)
    return "set"


# SO_MARK, SO_SNDBUFFORCE, SO_BUSY_POLL raised, IP_TRANSPARENT, IPT_SO_SET_REPLACE, TCP_REPAIR
try_all("option", (*REFUSED, "ENOPROTOOPT", "EINVAL"), option,
        [(1, 36, 7), (1, 32, 1 << 30), (0, 19, 1), (0, 64, b"\0" * 128), (6, 19, 1)])


@probe("EACCES", "EPERM")
def a_port_of_the_system():
    with socket.socket() as s:
        s.bind(("0.0.0.0", 80))
    return "bound"
