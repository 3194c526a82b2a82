# SPDX-License-Identifier: Apache-2.0
"""Tasks that take all they can, will not end, or lie about how they ended.

What they get is what they are meant to get, the verdict is the kernel's, and the node has an ear for others all the while.
"""
import json
import secrets
import threading

import pytest

from harness import walls

MIB = 1 << 20


def under_attack(cell, data, **fields):
    """Runs it, asking the node how it is until it has ended; what matters is that it always answers."""
    task_id = cell.submit(data, **fields)
    ended = threading.Event()
    taken = []

    def wait():
        try:
            taken.append(cell.wait(task_id, 60))
        finally:
            ended.set()

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        walls.answers(cell)
        while not ended.wait(0.1):
            walls.answers(cell)
    finally:
        thread.join()
    return taken[0]


def check_timeout(task, pb, within_us=10_000_000):
    assert (task.state, task.reason) == (pb.Task.FAILED, pb.Task.TIMEOUT_WALL), task.message + task.error
    assert task.finished_us - task.started_us < task.timeout_ms * 1000 + within_us


# --- more and more of something ---

@pytest.mark.parametrize("kind, bomb", [
    ("python", "import os\nwhile True:\n try: os.fork()\n except OSError: pass"),
    ("python", "import os, signal\nfor s in range(1, 65):\n try: signal.signal(s, signal.SIG_IGN)\n except (OSError, ValueError): pass\n"
               "while True:\n try:\n  if os.fork() == 0: os.setsid()\n except OSError: pass"),
    ("shell", "b() { b | b & }\nwhile :; do b; sleep 0.1; done"),
    ("shell", "trap '' TERM HUP INT QUIT CHLD\nb() { setsid sh -c 'sleep 1000 & sleep 1000' & b; }\nb"),
])
def test_fork_bombs(cell, pb, kind, bomb):
    task, _ = under_attack(cell, bomb, task_type=kind, timeout_ms=1000)
    assert task.state == pb.Task.FAILED, task.message
    if kind == "python":
        check_timeout(task, pb)


def test_thread_bomb(cell):
    task, result = under_attack(cell, """
import threading
stop, n = threading.Event(), 0
try:
    while n < 5000:
        threading.Thread(target=stop.wait, daemon=True).start()
        n += 1
except (RuntimeError, MemoryError):
    pass
stop.set()
result = n
""", timeout_ms=60_000)
    assert 10 < int(result) < 1100, task.error


@pytest.mark.parametrize("where, most", [("/tmp", 256 * MIB), ("/dev/shm", 256 * MIB)])
def test_large_file(cell, where, most):
    task, result = under_attack(cell, f"""
import os
piece, written = b"x" * (4 << 20), 0
fd = os.open("{where}/bomb", os.O_CREAT | os.O_WRONLY)
try:
    while written < {2 * most}:
        written += os.write(fd, piece)
except OSError as error:
    result = [error.strerror, written]
""", timeout_ms=60_000)
    why, written = json.loads(result)
    assert why == "No space left on device" and MIB < written <= most, task.error


def test_the_working_folder_is_bounded(cell):
    """Asked for, not filled: the bound is large."""
    task, result = cell.run("""
import errno, os
fd, size = os.open("/workspace/bomb", os.O_CREAT | os.O_WRONLY), 0
try:
    os.posix_fallocate(fd, 0, (1 << 30) + 1)
except OSError as error:
    first = errno.errorcode[error.errno]
os.posix_fallocate(fd, 0, 1 << 20)
result = [first, os.statvfs("/workspace").f_blocks * os.statvfs("/workspace").f_frsize]
""")
    why, size = json.loads(result)
    assert why in ("ENOSPC", "EFBIG") and size <= 1 << 30, task.error


@pytest.mark.parametrize("where", ["/tmp", "/workspace", "/dev/shm"])
def test_many_files(cell, where):
    task, result = under_attack(cell, f"""
import os
n = 0
try:
    while n < 200_000:
        os.mkdir(f"{where}/{{n}}")
        n += 1
except OSError as error:
    result = [error.strerror, n]
""", timeout_ms=60_000)
    why, made = json.loads(result)
    assert why == "No space left on device" and 100 < made < 70_000, task.error


def test_deep_folders(cell, pb):
    """The node has nothing to walk through; the kernel takes it all away at once."""
    task, result = under_attack(cell, """
import os
depth = 0
while depth < 5000:
    os.mkdir("d"); os.chdir("d")
    depth += 1
result = depth
""", timeout_ms=60_000)
    assert (task.state, result) == (pb.Task.COMPLETED, b"5000"), task.error


def test_endless_output(cell, pb):
    task, _ = under_attack(cell, "import os\npiece = b'x' * 65536\nwhile True:\n os.write(1, piece)\n os.write(2, piece)", timeout_ms=1500)
    check_timeout(task, pb)
    assert task.log_truncated and task.log_size <= MIB
    task, _ = under_attack(cell, "yes >&2 & yes", task_type="shell", timeout_ms=1000)
    check_timeout(task, pb)
    assert task.log_truncated


def test_output_of_tiny_pieces(cell, pb):
    """Each write may be a record of its own in the log; that must not be a way to more of it."""
    task, _ = under_attack(cell, "import os\nwhile True:\n os.write(1, b'x')\n os.write(2, b'y')", timeout_ms=1500)
    check_timeout(task, pb)
    assert task.log_size <= MIB


@pytest.mark.parametrize("kind", ["python", "shell"])
def test_output_that_is_taken_back(cell, pb, kind):
    """Where it may, a task reads its own pipes from the other end: what the node was told to read is gone when it does."""
    source = """
import os
def reader(fd):
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
ends = [(fd, reader(fd)) for fd in FDS]
while True:
    for fd, end in ends:
        os.write(fd, b"x")
        try:
            end and os.read(end, 65536)
        except BlockingIOError:
            pass
"""
    if kind == "python":
        task, _ = under_attack(cell, "FDS = [1, 2]" + source, timeout_ms=1500)
    else:
        task, _ = under_attack(cell, f"exec python3 -c 'FDS = [1, 2]{source}'", task_type="shell", timeout_ms=1500)
    check_timeout(task, pb)


def test_huge_result(cell, pb):
    task, result = under_attack(cell, "result = 'x' * 50_000_000", timeout_ms=60_000)
    assert (task.state, task.reason, result) == (pb.Task.FAILED, pb.Task.OUTPUT_LIMIT, b""), task.message


def test_endless_result(cell, pb):
    """One that is announced as long as a length can say, and goes on until the time-out."""
    source = "import os\nos.write(4, b'R' + b'\\xff' * 7 + b'\\x7f')\nwhile True: os.write(4, b'x' * 65536)"
    task, result = under_attack(cell, source, timeout_ms=1500)
    check_timeout(task, pb)
    assert result == b""


def test_no_more_files_to_open(cell):
    task, result = cell.run("""
import os
n = 0
try:
    while n < 100_000:
        os.dup(0)
        n += 1
except OSError as error:
    result = [error.strerror, n]
    os.closerange(5, 100_000)
""")
    why, opened = json.loads(result)
    assert why == "Too many open files" and 100 < opened < 2000, task.error


def test_pipes_full_of_fds(cell, pb):
    """File descriptors in flight count too."""
    task, _ = under_attack(cell, """
import array, os, socket
pairs, sent = [], 0
try:
    while sent < 100_000:
        a, b = socket.socketpair()
        pairs.append((a, b))
        for _ in range(50):
            a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [b.fileno()] * 200))], socket.MSG_DONTWAIT)
            sent += 200
except OSError as error:
    pass
result = sent
""", timeout_ms=60_000)
    assert task.state in (pb.Task.COMPLETED, pb.Task.FAILED)


def test_all_processors(cell, pb):
    burner = "import os\nfor _ in range(7):\n if os.fork() == 0: break\nwhile True: pass"
    task_id = cell.submit(burner, timeout_ms=60_000)
    while cell.get(task_id).state != pb.Task.RUNNING:
        pass
    for _ in range(20):
        walls.answers(cell)
    task, result = cell.run("result = 1", timeout_ms=30_000)
    assert result == b"1", task.message
    assert cell.stop_task(task_id).task.state == pb.Task.STOPPED


# --- what will not end ---

IGNORE = """
import ctypes, os, signal, time
def deaf():
    for s in range(1, 65):
        try:
            signal.signal(s, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
def named():
    ctypes.CDLL(None).prctl(15, NAME.encode(), 0, 0, 0)
def away():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            return True
        os._exit(0)
    return False
def ever():
    while True:
        time.sleep(1000)
"""
EVASIONS = {
    "deaf": "deaf(); named(); ever()",
    "double fork, session, deaf": "named()\nif away(): deaf(); ever()\never()",
    "stopped": "named()\nos.kill(os.getpid(), signal.SIGSTOP); ever()",
    "all of them stopped": "named()\nfor _ in range(4):\n if os.fork() == 0: os.kill(os.getpid(), signal.SIGSTOP)\nos.kill(0, signal.SIGSTOP); ever()",
    "stops whoever waits": "named()\nif away():\n while True:\n  try: os.kill(-1, signal.SIGSTOP)\n  except OSError: pass\never()",
    "all closed": "named()\nos.closerange(0, 1024); deaf(); ever()",
    "all closed, in the background": "named()\nif away():\n os.closerange(0, 1024); deaf(); ever()\nos.closerange(0, 1024); ever()",
    "always another": "named(); deaf()\nwhile True:\n try:\n  if os.fork(): os._exit(0) if os.getpid() != 2 else time.sleep(0.001)\n except OSError: pass",
    "busy": "named(); deaf()\nwhile True: pass",
    "in vfork": "named(); deaf()\nimport subprocess\nsubprocess.run(['sh', '-c', 'trap \"\" TERM; sleep 1000']); ever()",
    "waits for a pipe": "named()\nr, w = os.pipe(); os.read(r, 1)",
    "waits for an answer to its own filter":
        "named()\nclass F(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]\n"
        "code = ctypes.create_string_buffer(bytes.fromhex('060000000000c07f'))\n"
        "ctypes.CDLL(None).syscall({'x86_64': 317, 'aarch64': 277}[os.uname().machine], 1, 8, ctypes.byref(F(1, ctypes.addressof(code))))\never()",
    "knocks at pid 1": "named()\nwhile True:\n for s in (17, 18, 15, 9, 19):\n  try: os.kill(1, s)\n  except OSError: pass",
    "leaves orphans to pid 1": "named()\nwhile True:\n try:\n  if os.fork() == 0:\n   os.fork(); os._exit(0)\n  os.wait()\n except OSError: pass",
    "frozen by its own filter": "named()\nclass F(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]\n"
                                "code = ctypes.create_string_buffer(bytes.fromhex('060000000000ff7f'))\n"
                                "ctypes.CDLL(None).prctl(22, 2, ctypes.byref(F(1, ctypes.addressof(code))), 0, 0); deaf(); ever()",
}


@pytest.mark.parametrize("how", EVASIONS)
def test_timeout_cannot_be_evaded(cell, pb, how):
    name = f"evade-{secrets.token_hex(4)}"
    task, _ = cell.run(f"NAME = {name!r}\n{IGNORE}\n{EVASIONS[how]}", timeout_ms=700)
    check_timeout(task, pb)
    assert not walls.named(name), "some of it lives on"


def test_end_of_the_main_process_is_the_end(cell, pb):
    """Whoever is left when the task's own process ends does not delay the verdict, nor survive it."""
    name = f"stay-{secrets.token_hex(4)}"
    task, result = cell.run(f"NAME = {name!r}\n{IGNORE}\n" + """
r, w = os.pipe()
for _ in range(20):
    if away():
        named(); deaf(); os.write(w, b"x"); ever()
for _ in range(20):
    os.read(r, 1)
result = "told"
""", timeout_ms=60_000)
    assert (task.state, result) == (pb.Task.COMPLETED, b'"told"'), task.message + task.error
    assert task.finished_us - task.started_us < 30_000_000
    assert not walls.named(name)


@pytest.mark.parametrize("kind, source", [
    ("python", "named(); print('up', flush=True)\nwhile True:\n try:\n  if os.fork() == 0: os.setsid()\n except OSError: pass"),
    ("shell", "echo up; while :; do (setsid sleep 1000 &) ; done"),
])
def test_stop_while_it_forks_as_fast_as_it_can(cell, pb, kind, source):
    name = f"many-{secrets.token_hex(4)}"
    task_id = cell.submit(f"NAME = {name!r}\n{IGNORE}\n{source}" if kind == "python" else source, task_type=kind)
    cell.wait_for_output(task_id, b"up")
    answer = cell.stop_task(task_id)
    assert (answer.task.state, answer.task.reason) == (pb.Task.STOPPED, pb.Task.STOPPED_BY_USER)
    assert not walls.named(name)


# --- lies ---

FRAME = "import os\ndef frame(kind, data, fd=4): os.write(fd, kind + len(data).to_bytes(8, 'little') + data)\n"
TOO_MUCH = ("BAD_RESULT", "OUTPUT_LIMIT")
NOTHING = (b"", b"null")
FORGERIES = {
    # A task may say as its result what it likes, and that is all.
    "its own frame, then the end": ("frame(b'R', b'1'); os._exit(0)", ("COMPLETED", "NONE"), b"1"),
    "a result and a failure": ("frame(b'R', b'1'); os._exit(3)", ("FAILED", "EXIT_CODE"), None),
    "two results": ("frame(b'R', b'1'); result = 2", ("FAILED", "BAD_RESULT"), b""),
    "two frames of its own": ("frame(b'R', b'1'); frame(b'R', b'2'); os._exit(0)", ("FAILED", "BAD_RESULT"), b""),
    "a frame that is cut off": ("os.write(4, b'R' + (100).to_bytes(8, 'little') + b'[1'); os._exit(0)", ("FAILED", "BAD_RESULT"), b""),
    "the largest length": ("os.write(4, b'R' + b'\\xff' * 8 + b'1'); os._exit(0)", ("FAILED", TOO_MUCH), b""),
    "a negative length": ("os.write(4, b'R' + b'\\0' * 7 + b'\\x80' + b'1'); os._exit(0)", ("FAILED", TOO_MUCH), b""),
    "an unknown type": ("frame(b'X', b'COMPLETED'); os._exit(0)", ("FAILED", "BAD_RESULT"), b""),
    "noise": ("os.write(4, os.urandom(4096)); os._exit(0)", ("FAILED", TOO_MUCH), b""),
    "no JSON": ("frame(b'R', b'{]'); os._exit(0)", ("FAILED", "BAD_RESULT"), b""),
    "JSON without an end": ("frame(b'R', b'[' * 500000); os._exit(0)", ("FAILED", "BAD_RESULT"), b""),
    "no text": ("frame(b'R', b'\"\\xff\\xfe\"'); os._exit(0)", ("FAILED", "BAD_RESULT"), b""),
    "from a grandchild that stays": ("if os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  frame(b'R', b'7'); os.write(1, b'x')\n  while True: pass\n os._exit(0)\n"
                                     "os.wait()\nimport time; time.sleep(0.3); os._exit(4)", ("FAILED", "EXIT_CODE"), None),
    "killed after its result": ("frame(b'R', b'1'); os.kill(os.getpid(), 9)", ("FAILED", "SIGNAL"), None),
    "an error and then success": ("frame(b'E', b'lies'); os._exit(0)", ("COMPLETED", "NONE"), None),
    "closed": ("os.close(4); result = 5", ("COMPLETED", "NONE"), NOTHING),
    "the exit code of a time-out": ("os._exit(124)", ("FAILED", "EXIT_CODE"), NOTHING),
    "an exit code of two bytes": ("os._exit(256)", ("COMPLETED", "NONE"), NOTHING),
    "stopped by nobody": ("os.kill(os.getpid(), 15); import time; time.sleep(1000)", ("FAILED", "SIGNAL"), NOTHING),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_verdict_cannot_be_forged(cell, pb, what):
    source, (state, reasons), right = FORGERIES[what]
    task, result = cell.run(FRAME + source, timeout_ms=30_000)
    reasons = (reasons,) if isinstance(reasons, str) else reasons
    assert pb.Task.State.Name(task.state) == state, f"{pb.Task.Reason.Name(task.reason)} {task.message} {task.error}"
    assert pb.Task.Reason.Name(task.reason) in reasons, task.message
    if right is not None:
        assert result in (right if isinstance(right, tuple) else (right,))


def test_text_that_means_to_confuse(cell, pb):
    """Escape sequences and the like in what a task says of itself are shown to people: as text."""
    task, _ = cell.run(FRAME + "frame(b'E', b'\\x1b]0;owned\\x07\\x1b[2J\\x00\\r\\xff' + 'e\\u202eb'.encode()); os._exit(1)")
    assert task.state == pb.Task.FAILED
    assert not set(task.error) & set("\x1b\x07\x00"), task.error


# --- odd surroundings ---

ODD = {"LD_PRELOAD": "/workspace/evil.so", "LD_LIBRARY_PATH": "/workspace", "LD_AUDIT": "/workspace/evil.so", "LD_DEBUG": "all",
       "LD_DEBUG_OUTPUT": "/workspace/debug", "PYTHONPATH": "/workspace", "PYTHONHOME": "/nonexistent", "PYTHONSTARTUP": "/workspace/x.py",
       "PYTHONINSPECT": "1", "PYTHONWARNINGS": "error", "PYTHONMALLOC": "debug", "PYTHONVERBOSE": "1", "PYTHONIOENCODING": "rot13",
       "IFS": "/", "ENV": "/workspace/x", "BASH_ENV": "/workspace/x", "SHELLOPTS": "xtrace", "PATH": "", "HOME": "/nonexistent", "TMPDIR": "/nonexistent",
       "GCONV_PATH": "/workspace", "LOCPATH": "/workspace", "GLIBC_TUNABLES": "glibc.malloc.check=3", "MALLOC_ARENA_MAX": "0",
       "LANG": "../../../../etc", "TZ": "../../../../../etc/shadow", "TASK_ID": "another", "NOTIFY_SOCKET": "@x", "LISTEN_FDS": "3", "_": "\x01\x7f"}


def test_odd_environment(cell, pb):
    task, result = cell.run("import os; result = os.environ['TASK_ID']", env=ODD, timeout_ms=30_000)
    assert task.state == pb.Task.COMPLETED, task.message + task.error
    assert json.loads(result) == task.task_id
    for name, value in ODD.items():
        task, _ = cell.run("echo on", task_type="shell", env={name: value}, timeout_ms=30_000)
        assert task.state == pb.Task.COMPLETED, f"{name}: {task.message}"


@pytest.mark.parametrize("source", [
    "import os, shutil; shutil.rmtree(os.getcwd(), ignore_errors=True); os.chmod('/workspace', 0); result = os.listdir('/')",
    "import os; os.chmod('/workspace', 0); os.chmod('/tmp', 0); os.chmod('/dev/shm', 0)",
    "import os; os.makedirs('gone'); os.chdir('gone'); os.rmdir('../gone'); result = 1",
    "import os\nos.makedirs('a'); os.chdir('a')\nfor i in range(100): os.symlink('../' * 50 + 'etc/shadow', f'l{i}')\nos.rename('../a', '../b'); result = 1",
    "import os; os.mkfifo('pipe'); os.mkfifo('/tmp/pipe'); result = 1",
    "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 26, 1 << 26)); sys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
    "import ctypes; ctypes.string_at(0)",
    "import os; os.abort()",
    "import gc, sys; sys.modules.clear(); gc.collect()",
    "import os; os.environ.clear(); os.close(0); os.close(1); os.close(2)",
])
def test_sawing_off_its_own_branch(cell, pb, source):
    """However it ends, it is an end; what must hold comes afterwards."""
    task, _ = cell.run(source, timeout_ms=30_000)
    assert task.state in (pb.Task.COMPLETED, pb.Task.FAILED)
    assert task.reason in (pb.Task.NONE, pb.Task.EXIT_CODE, pb.Task.SIGNAL), task.message
