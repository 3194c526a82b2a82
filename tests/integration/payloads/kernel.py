# SPDX-License-Identifier: Apache-2.0
# The kernel's doors. Every call that a task has no business with is knocked at twice: with senseless arguments, which a
# filter refuses and a kernel would answer with another error, and (the dangerous ones) with those that an attacker uses.
# Given: NR {name: number}, FORBIDDEN [names] and the MACHINE (its processor).
import ctypes
import fcntl
import os
import resource
import signal
import socket

from given import FORBIDDEN, MACHINE, NR
from probing import REFUSED, probe, read, syscall, try_all

CLONE_FLAGS = {"PARENT": 0x8000, "NEWTIME": 0x80, "NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000,
               "NEWUSER": 0x10000000, "NEWPID": 0x20000000, "NEWNET": 0x40000000}
SIGCHLD = signal.SIGCHLD.value

try_all("senseless", REFUSED, lambda name: syscall(NR[name], *[-1] * 6), [n for n in FORBIDDEN if n in NR])
# Numbers that are none: in the gap before the common ones, and beyond all that there is yet.
try_all("number", ("ENOSYS",), lambda number: syscall(number, 0, 0, 0, 0, 0, 0),
        [*range(400, 423), 500, 511, 600, 1000, 4095] if MACHINE == "x86_64" else [600, 1000, 4095])


def path(text):
    return ctypes.c_char_p(text.encode())


# --- mounts and namespaces ---

@probe(*REFUSED)
def mount_tmpfs():
    return syscall(NR["mount"], path("none"), path("/tmp"), path("tmpfs"), 0, path(""))


@probe(*REFUSED)
def mount_bind():
    return syscall(NR["mount"], path("/usr"), path("/workspace"), None, 0x1000, None)


@probe(*REFUSED)
def remount_root_writable():
    return syscall(NR["mount"], None, path("/"), None, 0x1000 | 0x20, None)


@probe(*REFUSED)
def umount_proc():
    return syscall(NR["umount2"], path("/proc"), 2)


@probe(*REFUSED)
def fsopen_proc():
    return syscall(NR["fsopen"], path("proc"), 0)


@probe(*REFUSED)
def open_tree_clone():
    return syscall(NR["open_tree"], -100, path("/"), 1 | 0x8000)


@probe(*REFUSED)
def chroot_into_workspace():
    os.chroot("/workspace")


@probe(*REFUSED)
def pivot_root():
    return syscall(NR["pivot_root"], path("/workspace"), path("/workspace"))


try_all("unshare", REFUSED, lambda flag: syscall(NR["unshare"], CLONE_FLAGS[flag]), CLONE_FLAGS)


def clone_with(flag):
    pid = syscall(NR["clone"], CLONE_FLAGS[flag] | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return f"made {pid}"


# CLONE_NEWTIME is no flag of clone(): its bits are part of the signal there.
try_all("clone", REFUSED, clone_with, [flag for flag in CLONE_FLAGS if flag != "NEWTIME"])


@probe(*REFUSED)
def clone3_new_user():
    arguments = (ctypes.c_uint64 * 11)(CLONE_FLAGS["NEWUSER"], 0, 0, 0, SIGCHLD)
    pid = syscall(NR["clone3"], ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return f"made {pid}"


def setns_to(kind):
    return syscall(NR["setns"], os.open(f"/proc/self/ns/{kind}", os.O_RDONLY), 0)


try_all("setns", (*REFUSED, "EACCES"), setns_to, ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"])

# --- other processes ---


@probe(*REFUSED)
def ptrace_myself():
    return syscall(NR["ptrace"], 0, 0, 0, 0)


@probe(*REFUSED)
def ptrace_seize_pid_1():
    return syscall(NR["ptrace"], 0x4206, 1, 0, 0)


@probe(*REFUSED)
def ptrace_attach_parent():
    return syscall(NR["ptrace"], 16, os.getppid(), 0, 0)


def remote(call, pid):
    memory = ctypes.create_string_buffer(16)
    here = (ctypes.c_uint64 * 2)(ctypes.addressof(memory), 16)
    return syscall(NR[call], pid, ctypes.byref(here), 1, ctypes.byref(here), 1, 0)


try_all("process_vm_readv of", REFUSED, lambda pid: remote("process_vm_readv", pid), [1, os.getpid()])
try_all("process_vm_writev of", REFUSED, lambda pid: remote("process_vm_writev", pid), [1, os.getpid()])


@probe(*REFUSED)
def pidfd_getfd_of_pid_1():
    return syscall(NR["pidfd_getfd"], os.pidfd_open(1), 0, 0)


# --- whole subsystems ---


@probe(*REFUSED)
def add_key():
    return syscall(NR["add_key"], path("user"), path("x"), path("secret"), 6, -3)


@probe(*REFUSED)
def keyctl_session_keyring():
    return syscall(NR["keyctl"], 0, -3, 1)


@probe(*REFUSED)
def request_key():
    return syscall(NR["request_key"], path("user"), path("x"), None, -3)


@probe(*REFUSED)
def io_uring():
    return syscall(NR["io_uring_setup"], 4, ctypes.create_string_buffer(256))


@probe(*REFUSED)
def bpf_map():
    return syscall(NR["bpf"], 0, (ctypes.c_uint32 * 32)(2, 4, 4, 1), 128)


@probe(*REFUSED)
def userfaultfd():
    return syscall(NR["userfaultfd"], 1)


@probe(*REFUSED)
def perf_event():
    return syscall(NR["perf_event_open"], (ctypes.c_uint32 * 32)(1, 128), 0, -1, -1, 0)


@probe(*REFUSED)
def set_the_clock():
    import time
    time.clock_settime(time.CLOCK_REALTIME, time.time())


@probe(*REFUSED)
def read_the_kernel_log():
    return syscall(NR["syslog"], 3, ctypes.create_string_buffer(4096), 4096)


@probe(*REFUSED)
def host_name():
    socket.sethostname("stolen")


@probe("sandbox")
def host_name_is_not_the_machines():
    return socket.gethostname()


try_all("personality", (*REFUSED, "EINVAL"), lambda bits: syscall(NR["personality"], bits),
        [0x0040000, 0x0400000, 0x0020000, 0x0000008])  # ADDR_NO_RANDOMIZE, READ_IMPLIES_EXEC, UNAME26, LINUX32


@probe(*REFUSED)
def shared_memory():
    return syscall(NR["shmget"], 0x7461, 4096, 0o1777)


@probe(*REFUSED)
def semaphores():
    return syscall(NR["semget"], 0x7461, 1, 0o1777)


@probe(*REFUSED)
def messages():
    return syscall(NR["msgget"], 0x7461, 0o1777)


@probe(*REFUSED)
def posix_message_queue():
    return syscall(NR["mq_open"], path("stay"), os.O_CREAT | os.O_RDWR, 0o600, None)


# --- rights; EINVAL where there is no such user in the namespace ---


@probe(*REFUSED, "EINVAL")
def become_root():
    os.setuid(0)


@probe(*REFUSED, "EINVAL")
def become_roots_group():
    os.setgid(0)


@probe(*REFUSED, "EINVAL")
def become_root_by_setresuid():
    os.setresuid(0, 0, 0)


@probe(*REFUSED, "EINVAL")
def join_groups():
    os.setgroups([0, 4, 27])


@probe("1000 1000")
def file_system_root():
    libc = ctypes.CDLL(None)
    libc.setfsuid(0)
    libc.setfsgid(0)
    return f"{libc.setfsuid(-1)} {libc.setfsgid(-1)}"


@probe(*REFUSED)
def take_all_capabilities():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    return syscall(NR["capset"], ctypes.byref(header), (ctypes.c_uint32 * 6)(*[0xffffffff] * 6))


@probe(*REFUSED, "EINVAL")
def ambient_capability():
    return syscall(NR["prctl"], 47, 2, 21, 0, 0)


@probe("1")
def no_new_privs_stays():
    try:
        syscall(NR["prctl"], 38, 0, 0, 0, 0)
    except OSError:
        pass
    return syscall(NR["prctl"], 39, 0, 0, 0, 0)


@probe(*REFUSED, "EINVAL")
def seccomp_off():
    return syscall(NR["prctl"], 22, 0, 0, 0, 0)


@probe(*REFUSED)
def securebits():
    return syscall(NR["prctl"], 28, 0, 0, 0, 0)


@probe(*REFUSED)
def memory_layout_of_my_own():
    return syscall(NR["prctl"], 35, 1, 0x10000, 0, 0)


def status_field(name):
    for line in read("/proc/self/status", 65536).decode().splitlines():
        if line.startswith(name + ":"):
            return " ".join(line.split()[1:])
    return "absent"


try_all("status", ("0000000000000000",), status_field, ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"])
try_all("status", ("1",), status_field, ["NoNewPrivs"])
try_all("status", ("2",), status_field, ["Seccomp"])
try_all("status", ("1000 1000 1000 1000",), status_field, ["Uid", "Gid"])
try_all("status", ("", "65534"), status_field, ["Groups"])

# --- resource limits ---


def raise_limit(name):
    kind = getattr(resource, name)
    soft, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY:
        return "unlimited"
    resource.setrlimit(kind, (soft, hard + 1))
    return "raised"


try_all("raise", ("ValueError", "EPERM"), raise_limit,
        ["RLIMIT_CORE", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_NPROC", "RLIMIT_STACK", "RLIMIT_MEMLOCK",
         "RLIMIT_MSGQUEUE", "RLIMIT_RTPRIO", "RLIMIT_NICE"])


@probe("(1, 1)")  # less than the smallest one; 0 would not stop the host from piping it to a program of its own
def no_core_files():
    return resource.getrlimit(resource.RLIMIT_CORE)


@probe("ValueError", *REFUSED)  # what Python makes of EPERM here
def core_files_to_a_pipe():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@probe(*REFUSED)
def core_files_to_a_pipe_by_high_bits():
    """The kernel takes the lower half of the number only: a filter that compares all of it must not let this through."""
    return syscall(NR["prlimit64"], 0, 1 << 32 | resource.RLIMIT_CORE, ctypes.c_char_p(bytes(16)), None)


@probe(*REFUSED)
def limits_of_pid_1():
    resource.prlimit(1, resource.RLIMIT_NOFILE, (1, 1))


@probe(*REFUSED, "EACCES")
def more_processor():
    os.setpriority(os.PRIO_PROCESS, 0, -5)


@probe(*REFUSED)
def real_time():
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))


@probe("ENOMEM", "EPERM", "EAGAIN")
def lock_memory():
    import mmap
    area = mmap.mmap(-1, 1 << 20)
    return syscall(NR["mlock"], ctypes.addressof(ctypes.c_char.from_buffer(area)), 1 << 20)


@probe("1000")
def first_to_die_when_memory_runs_out():
    return int(read("/proc/self/oom_score_adj"))


# --- the terminal ---


def push_into(fd):
    return fcntl.ioctl(fd, 0x5412, b"x")  # TIOCSTI


try_all("TIOCSTI into", ("ENOTTY", "EBADF", "EINVAL", *REFUSED), push_into, [0, 1, 2, 3, 4])


@probe("ENOTTY", "EBADF", "EINVAL", *REFUSED)
def paste_into_console():
    return fcntl.ioctl(0, 0x541C, b"\x03")  # TIOCLINUX


@probe("ENOTTY", "EBADF", "EINVAL", *REFUSED)
def take_a_terminal():
    os.setsid()
    return fcntl.ioctl(0, 0x540E, 1)  # TIOCSCTTY


@probe("ENOENT", "EPERM", "EACCES")
def make_a_terminal():
    return os.openpty()


@probe("0")
def terminal_of_my_session():
    return read("/proc/self/stat").decode().rpartition(")")[2].split()[4]


# --- memory ---


@probe("SIGSEGV")
def the_first_page():
    return ctypes.string_at(8, 1)


@probe("EPERM", "EACCES")
def map_the_first_page():
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_long
    libc.mmap.argtypes = [ctypes.c_long] * 6
    if libc.mmap(0, 4096, 3, 0x32, -1, 0) == -1:
        raise OSError(ctypes.get_errno(), "mmap")
    return "mapped"
