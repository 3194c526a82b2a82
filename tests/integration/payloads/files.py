# SPDX-License-Identifier: Apache-2.0
# What can be seen, read and changed in the file system. Given: SECRETS [paths outside that a task must not reach].
import os
import shutil
import stat
import subprocess

from given import SECRETS
from probing import ABSENT, NO_WRITING, REFUSED, probe, read, try_all, write

READ_ONLY = (*NO_WRITING, "EBUSY", "EXDEV")
UNREADABLE = ("ENOENT", "EACCES", "EPERM", "b''")

# --- the read-only system ---


def make_file(folder):
    os.close(os.open(f"{folder}/new", os.O_CREAT | os.O_WRONLY, 0o644))
    return "made"


FOLDERS = ["", "/usr", "/usr/bin", "/usr/lib", "/etc", "/lib", "/bin", "/dev", "/run", "/var", "/home", "/inputs", "/environment", "/root", "/usr/local"]
try_all("make a file in", READ_ONLY, make_file, FOLDERS)
try_all("make a folder in", READ_ONLY, lambda folder: os.mkdir(f"{folder}/new"), FOLDERS)
try_all("make a link in", READ_ONLY, lambda folder: os.symlink("/tmp", f"{folder}/new"), FOLDERS)
try_all("open for writing", READ_ONLY, lambda path: os.open(path, os.O_WRONLY),
        ["/etc/passwd", "/etc/hosts", "/etc/ld.so.cache", "/usr/bin/env", "/bin/sh"])
SYSTEM = ["/", "/usr", "/usr/bin/env", "/etc/passwd", "/etc", "/dev/null", "/dev/zero"]
try_all("chmod", READ_ONLY, lambda path: os.chmod(path, 0o777), SYSTEM)
try_all("chown", READ_ONLY, lambda path: os.chown(path, os.getuid(), os.getgid()), SYSTEM)
try_all("touch", READ_ONLY, lambda path: os.utime(path, (1, 1)), SYSTEM)
try_all("remove", READ_ONLY, os.unlink, ["/usr/bin/env", "/etc/passwd", "/dev/null", "/bin"])
try_all("remove the folder", READ_ONLY, os.rmdir, ["/tmp", "/workspace", "/dev/shm", "/proc", "/home", "/run", "/var/tmp"])
try_all("truncate", READ_ONLY, lambda path: os.truncate(path, 0), ["/etc/passwd", "/usr/bin/env"])
try_all("mark with an attribute", (*READ_ONLY, "ENOTSUP"), lambda path: os.setxattr(path, "user.x", b"1"), ["/usr/bin/env", "/etc/passwd"])


def rename(pair):
    os.rename(*pair)
    return "renamed"


open("/tmp/mine", "w").close()
try_all("rename", (*READ_ONLY, "EISDIR", "ENOTDIR", "ENOTEMPTY"), rename,
        [("/workspace", "/tmp/w"), ("/tmp/mine", "/etc/passwd"), ("/tmp/mine", "/proc"), ("/tmp/mine", "/dev/null"),
         ("/usr/bin/env", "/tmp/env"), ("/tmp", "/workspace"), ("/etc/passwd", "/etc/shadow")])

# --- what is not there ---

try_all("look at", ABSENT, os.stat,
        ["/sys", "/boot", "/mnt", "/media", "/opt", "/srv", "/var/run", "/var/lib", "/var/log", "/etc/shadow", "/etc/gshadow",
         "/etc/sudoers", "/etc/ssh", "/etc/ssl/private", "/etc/machine-id", "/etc/resolv.conf", "/run/docker.sock",
         "/run/dbus", "/run/systemd", "/run/user", "/var/run/docker.sock", "/lost+found", "/work"])
try_all("list", ("[]",), os.listdir, ["/run", "/home", "/root", "/inputs", "/environment"])
try_all("look at the node's", (*ABSENT, "EACCES"), os.stat, SECRETS)


@probe("['bin', 'dev', 'environment', 'etc', 'home', 'inputs', 'lib', 'lib32', 'lib64', 'libx32', 'proc', 'root', 'run', 'sbin', 'tmp', 'usr', 'var', 'workspace']")
def the_root_folder():
    """With those that this machine has not filled in."""
    return sorted({*os.listdir("/"), "lib32", "lib64", "libx32"})


# --- devices ---


@probe("['fd', 'full', 'null', 'random', 'shm', 'stderr', 'stdin', 'stdout', 'urandom', 'zero']")
def the_devices():
    return sorted(os.listdir("/dev"))


try_all("open the device", ABSENT, lambda name: os.open(f"/dev/{name}", os.O_RDWR | os.O_NONBLOCK),
        ["mem", "kmem", "port", "kmsg", "tty", "tty0", "console", "ptmx", "pts/0", "sda", "vda", "loop0", "loop-control", "fuse",
         "kvm", "net/tun", "userfaultfd", "hpet", "rtc0", "watchdog", "cpu/0/msr", "mqueue", "hugepages", "vhost-net", "autofs",
         "mapper/control", "uinput", "input/event0", "snd/seq", "nvidia0", "dri/card0", "vsock", "binder", "ppp", "snapshot"])
try_all("make the device", (*REFUSED, "EACCES"),
        lambda which: os.mknod(f"/workspace/device-{which[0]}-{which[1]}", which[2] | 0o666, os.makedev(which[0], which[1])),
        [(1, 1, stat.S_IFCHR), (1, 3, stat.S_IFCHR), (5, 0, stat.S_IFCHR), (254, 0, stat.S_IFBLK), (7, 0, stat.S_IFBLK),
         (10, 229, stat.S_IFCHR)])


@probe("ENOSPC")
def full_is_full():
    return write("/dev/full")


@probe("1")
def null_takes_all():
    return write("/dev/null", b"x")


# --- /proc ---

WRITES = ["sys/kernel/core_pattern", "sys/kernel/hostname", "sys/kernel/modprobe", "sys/vm/drop_caches", "sys/vm/overcommit_memory",
          "sys/kernel/randomize_va_space", "sys/net/ipv4/ip_forward", "sys/net/ipv4/ip_unprivileged_port_start", "sys/fs/binfmt_misc/register",
          "sys/user/max_user_namespaces", "sys/kernel/ns_last_pid", "sysrq-trigger", "self/oom_score_adj", "self/uid_map", "self/gid_map",
          "self/setgroups", "self/attr/current", "self/timens_offsets", "self/clear_refs", "self/loginuid", "self/coredump_filter",
          "self/projid_map", "self/autogroup", "self/mem", "irq/default_smp_affinity", "mtrr", "acpi/wakeup"]
try_all("write to /proc/", (*NO_WRITING, "ENOENT", "EIO"), lambda path: write(f"/proc/{path}", b"0\n"), WRITES)


@probe(*NO_WRITING, "EINVAL")
def less_likely_to_be_killed():
    return write("/proc/self/oom_score_adj", b"-1000")


try_all("read /proc/", UNREADABLE, lambda name: read(f"/proc/{name}", 64),
        ["kcore", "keys", "timer_list", "kmsg", "slabinfo", "pagetypeinfo", "vmallocinfo", "kpagecount", "kpageflags", "sched_debug",
         "latency_stats", "timer_stats", "scsi/scsi", "sys/vm/mmap_min_addr_x"])
OF_PID_1 = ["mem", "environ", "fd", "root", "cwd", "maps", "exe", "stat", "status", "cmdline", "ns", "task", "map_files", "pagemap",
            "syscall", "stack", "auxv", "mountinfo", "attr/current", "fd/0", "root/etc/shadow", "cwd/etc/shadow"]
try_all("/proc/1/", (*ABSENT, "EACCES", "EPERM"), lambda name: os.lstat(f"/proc/1/{name}") and read(f"/proc/1/{name}"), OF_PID_1)


@probe("[]")
def processes_of_others():
    mine = {os.getpid(), os.getppid()}
    return [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in mine]


@probe("[]")
def addresses_of_the_kernel():
    try:
        with open("/proc/kallsyms") as symbols:
            return [line for line in (symbols.readline() for _ in range(200)) if line and int(line.split()[0], 16)]
    except OSError:
        return []


@probe("[]")
def addresses_of_memory():
    try:
        with open("/proc/iomem") as areas:
            return [line for line in areas if line.split("-")[0].strip("0 ")]
    except OSError:
        return []


# --- every mount is locked as it should be ---


def mounts():
    for line in read("/proc/self/mountinfo", 1 << 20).decode().splitlines():
        fields = line.split()
        yield fields[4], set(fields[5].split(","))


@probe("[]")
def mounts_that_may_be_written():
    return sorted({where for where, flags in mounts() if "ro" not in flags} - {"/tmp", "/var/tmp", "/workspace", "/dev/shm", "/proc"})


@probe("[]")
def mounts_with_setuid():
    return [where for where, flags in mounts() if "nosuid" not in flags]


@probe("[]")
def mounts_with_devices():
    five = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")}
    return [where for where, flags in mounts() if "nodev" not in flags and where not in five and not where.startswith("/proc/")]


# --- links out of the working folder ---


def through_symlink(target):
    link = f"/workspace/link{os.getpid()}"
    os.symlink(target, link)
    return read(link)


OUT = ["/etc/shadow", "../../../../../../etc/shadow", "/proc/self/root/etc/shadow", "/proc/self/cwd/../etc/shadow", "/proc/1/root/etc/shadow",
       "/proc/self/task/1/root/etc/shadow", "/dev/fd/../../../../etc/shadow", "/workspace/../etc/shadow", *SECRETS]
try_all("read through a link to", (*ABSENT, "EACCES", "ELOOP"), through_symlink, OUT)
try_all("read", (*ABSENT, "EACCES"), read, OUT)
try_all("hard link to", ("EXDEV", "EPERM", "EROFS", "EACCES"), lambda target: os.link(target, "/workspace/hard", follow_symlinks=True),
        ["/usr/bin/su", "/etc/passwd", "/usr/bin/env", "/dev/null", "/proc/self/status"])


@probe("ELOOP")
def link_to_itself():
    os.symlink("/workspace/circle", "/workspace/circle")
    return read("/workspace/circle")


@probe("False")
def up_from_an_open_folder():
    """However far up one goes, / is the end, and it is the sandbox's own."""
    fd = os.open("/workspace", os.O_RDONLY)
    for _ in range(64):
        fd = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    return os.path.lexists(f"/proc/self/fd/{fd}/sys") or os.fstat(fd).st_ino != os.stat("/").st_ino


# --- programs with more rights than their caller ---


@probe("1000")
def own_setuid_file():
    shutil.copy("/usr/bin/id", "/workspace/id")
    os.chmod("/workspace/id", 0o6755)
    return subprocess.run(["/workspace/id", "-u"], capture_output=True, text=True, check=True).stdout.strip()


@probe(*REFUSED, "ENOTSUP")
def file_with_capabilities():
    shutil.copy("/usr/bin/id", "/workspace/capable")
    os.setxattr("/workspace/capable", "security.capability", bytes.fromhex("00000002ffffffff00000000ffffffff00000000"))


def setuid_program(command):
    """What it did with all its rights gone: 'refused' unless it says that it did something."""
    if not os.path.exists(command[0]):
        return "refused"
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    return "refused" if done.returncode else f"did {done.stdout!r}"


try_all("run", ("refused",), setuid_program,
        [("/usr/bin/su", "-c", "id"), ("/usr/bin/mount", "-t", "tmpfs", "none", "/tmp"), ("/usr/bin/umount", "/tmp"),
         ("/usr/bin/passwd", "-d", "root"), ("/usr/bin/chsh", "-s", "/bin/sh", "root"), ("/usr/bin/newgrp", "root"),
         ("/usr/bin/gpasswd", "-a", "task", "root"), ("/usr/bin/sudo", "-n", "id"), ("/usr/bin/pkexec", "id"),
         ("/usr/bin/unshare", "-Ur", "id"), ("/usr/bin/newuidmap", "1", "0", "0", "1"), ("/usr/bin/nsenter", "-t", "1", "-a", "id"),
         ("/usr/sbin/chroot", "/workspace", "id"), ("/usr/bin/dmesg",)])
