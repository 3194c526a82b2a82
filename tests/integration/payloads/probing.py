# SPDX-License-Identifier: Apache-2.0
# What every payload imports. Each probe runs in a process of its own, so that one cannot spoil another, and its outcome is
# a word: the name of an errno, of a signal or of an exception, or what it returned.
import ctypes
import errno
import os
import signal

REFUSED = ("EPERM", "ENOSYS", "SIGSYS")  # by the filter, or by the kernel for want of a right
NO_WRITING = ("EROFS", "EACCES", "EPERM")
ABSENT = ("ENOENT",)

_probes = []
_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def probe(*right, name=None):
    """Marks a function as a probe that must come out as one of these."""

    def mark(function):
        _probes.append((name or function.__name__, function, [str(r) for r in right]))
        return function

    return mark


def try_all(label, right, function, cases):
    """One probe for each case."""
    for case in cases:
        probe(*right, name=f"{label} {case}")(lambda case=case: function(case))


def syscall(number, *arguments):
    """The naked system call; -1 is an OSError."""
    ctypes.set_errno(0)
    arguments = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    value = _libc.syscall(ctypes.c_long(number), *arguments)
    if value == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value


def read(path, size=4096):
    with open(path, "rb", 0) as file:
        return file.read(size)


def write(path, data=b"1\n"):
    """Into what is there already, without making it."""
    fd = os.open(path, os.O_WRONLY)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def _outcome(function):
    try:
        value = function()
    except OSError as error:
        return errno.errorcode.get(error.errno, f"{type(error).__name__} {error}")
    except BaseException as error:
        return f"{type(error).__name__}"
    return str(value)


def _apart(function):
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, _outcome(function).encode("utf-8", "replace")[:4000])
        os._exit(0)
    os.close(writing)
    said = b""
    while more := os.read(reading, 4096):
        said += more
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return said.decode()


def run_probes():
    return {name: [_apart(function), right] for name, function, right in _probes}
