/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walls, tried from inside: each case is a task that raises an exception where a wall does not hold. What may differ
 * between root and an ordinary user outside must not differ inside.
 */
#include "harness.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct world world;

/* Before each case: system calls by number, and what they must answer. */
static const char prelude[] =
    "import ctypes, errno, os, socket, sys\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "def call(nr, *args):\n"
    "    ctypes.set_errno(0)\n"
    "    r = libc.syscall(ctypes.c_long(nr), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])\n"
    "    return errno.errorcode.get(ctypes.get_errno(), '0') if r == -1 else 'ok'\n"
    "def refused(f, *kinds):\n"
    "    try: f()\n"
    "    except OSError as e:\n"
    "        assert not kinds or errno.errorcode[e.errno] in kinds, e\n"
    "    else: raise AssertionError('it worked')\n"
    "status = dict(l.split(':', 1) for l in open('/proc/self/status').read().splitlines())\n";

static const struct {
    const char *name, *source;
} cases[] = {
    {"identity",
        "assert os.getresuid() == (1000,) * 3 and os.getresgid() == (1000,) * 3\n"
        "import pwd; assert pwd.getpwuid(os.getuid()).pw_name == 'task'\n"
        "assert socket.gethostname() == 'sandbox'"},
    {"no way to another id",
        "refused(lambda: os.setuid(0)); refused(lambda: os.setgid(0)); refused(lambda: os.setgroups([0]))\n"
        "refused(lambda: os.setresuid(0, 0, 0))"},
    {"no capabilities", "for k in 'Inh Prm Eff Bnd Amb'.split(): assert int(status['Cap' + k], 16) == 0, k"},
    {"no new privileges, a filter", "assert status['NoNewPrivs'].strip() == '1' and status['Seccomp'].strip() == '2'"},
    {"own session, no terminal",
        "assert os.getsid(0) == os.getpid()\nrefused(lambda: open('/dev/tty'), 'ENOENT', 'ENXIO')\n"
        "refused(lambda: open('/dev/ptmx'), 'ENOENT')"},
    {"empty standard input", "assert sys.stdin.read() == ''\nassert os.readlink('/proc/self/fd/0') == '/dev/null'"},
    {"no other fds",
        "fds = sorted(int(f) for f in os.listdir('/proc/self/fd'))\n"
        "open_fds = []\n"
        "for f in fds:\n"
        "    try: os.fstat(f); open_fds.append(f)\n"
        "    except OSError: pass\n"
        "assert open_fds == [0, 1, 2, 4], open_fds"},
    {"signals as new",
        "import signal\nassert int(status['SigBlk'], 16) == 0\n"
        "assert int(status['SigIgn'], 16) == 1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1, status['SigIgn']"},
    {"environment", "assert sorted(os.environ) == ['HOME', 'LANG', 'PATH', 'TASK_ID', 'TMPDIR'], os.environ"},
    {"limits",
        "import resource as r\nassert r.getrlimit(r.RLIMIT_CORE) == (1, 1)\n"
        "assert r.getrlimit(r.RLIMIT_NOFILE)[1] <= 1024 and r.getrlimit(r.RLIMIT_NPROC)[1] <= 1032\n"
        "for l in (r.RLIMIT_NOFILE, r.RLIMIT_NPROC):\n"
        "    try: r.setrlimit(l, (2000, 2000))\n"
        "    except (ValueError, OSError): pass\n"
        "    else: raise AssertionError(l)"},
    {"read-only root",
        "for p in ('/x', '/usr/x', '/usr/bin/x', '/etc/x', '/dev/x', '/proc/x', '/var/x', '/home/x', '/root/x'):\n"
        "    refused(lambda: open(p, 'w'), 'EROFS', 'EACCES', 'ENOENT')\n"
        "refused(lambda: open('/etc/passwd', 'a'), 'EROFS', 'EACCES')\n"
        "refused(lambda: os.chmod('/etc/passwd', 0o666), 'EROFS', 'EPERM')\n"
        "refused(lambda: os.unlink('/etc/passwd'), 'EROFS', 'EACCES')"},
    {"every mount is read-only or its own",
        "own = {'/tmp', '/var/tmp', '/workspace', '/dev/shm'}\n"
        "mounts = {l.split()[4]: l.split()[5].split(',') for l in open('/proc/self/mountinfo')}\n" /* the last covers */
        "for path, opts in mounts.items():\n"
        "    assert 'nosuid' in opts, path\n"
        "    assert path in own or 'ro' in opts, path\n"
        "    assert 'nodev' in opts or path.startswith('/dev/') or path.startswith('/proc/'), path"},
    {"nothing of the host",
        "assert set(os.listdir('/')) <= set('bin dev environment etc home inputs lib lib32 lib64 libx32 proc root run "
        "sbin tmp usr "
        "var"
        " workspace'.split()), os.listdir('/')\n"
        "for d in ('/home', '/root', '/run', '/tmp', '/workspace', '/dev/shm'): assert os.listdir(d) == [], d\n"
        "assert not os.path.exists('/etc/shadow') and not os.path.exists('/sys')"},
    {"devices",
        "assert sorted(os.listdir('/dev')) == 'fd full null random shm stderr stdin stdout urandom zero'.split()\n"
        "open('/dev/null', 'w').write('x'); assert open('/dev/zero', 'rb').read(2) == b'\\0\\0'\n"
        "import stat\nrefused(lambda: os.mknod('/workspace/d', 0o600 | stat.S_IFCHR, os.makedev(1, 1)), 'EPERM')\n"
        "refused(lambda: os.mknod('/workspace/b', 0o600 | stat.S_IFBLK, os.makedev(254, 0)), 'EPERM')"},
    {"only its own processes",
        "pids = {int(p) for p in os.listdir('/proc') if p.isdigit()}\n"
        "assert pids == {os.getpid()} == {2}, pids\n"
        "refused(lambda: os.listdir('/proc/1'), 'ENOENT')\nrefused(lambda: os.readlink('/proc/1/root'), 'ENOENT')"},
    {"pid 1 is out of reach",
        "import signal\n"
        "for s in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV):\n"
        "    try: os.kill(1, s)\n    except PermissionError: pass\n"
        "import resource\n"
        "refused(lambda: resource.prlimit(1, resource.RLIMIT_CPU, (0, 0)), 'EPERM')\n"
        "assert call(101, 16, 1, 0, 0) == 'EPERM'"},
    {"no tracing, no foreign memory",
        "pid = os.fork()\nif pid == 0:\n    import time; time.sleep(60)\n"
        "assert call(101, 16, pid, 0, 0) == 'EPERM'\n" /* PTRACE_ATTACH, even of its own child */
        "assert call(310, pid, 0, 0, 0, 0, 0) == 'EPERM' and call(311, pid, 0, 0, 0, 0, 0) == 'EPERM'\n"
        "os.kill(pid, 9); os.wait()"},
    {"no mounts",
        "for t in (b'tmpfs', b'proc'): assert call(165, t, b'/workspace', t, 0, 0) == 'EPERM'\n"
        "assert call(165, b'/usr', b'/workspace', 0, 4096, 0) == 'EPERM'\n"
        "assert call(166, b'/proc', 2) == 'EPERM' and call(155, b'/', b'/') == 'EPERM' and call(161, b'/tmp') == "
        "'EPERM'\n"
        "for nr in (428, 429, 430, 431, 432, 433): assert call(nr, 0, 0, 0, 0, 0) == 'EPERM', nr"},
    {"no namespaces",
        "for f in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):\n"
        "    assert call(272, f) == 'EPERM', hex(f)\n"
        "    assert call(56, f | 17, 0, 0, 0, 0) == 'EPERM', hex(f)\n"
        "assert call(435, 0, 0) == 'ENOSYS'\n"
        "assert call(308, 0, 0) == 'EPERM'"},
    {"no kernel interfaces",
        "for nr in (321, 298, 250, 248, 249, 425, 426, 427, 323, 246, 320, 175, 313, 176, 169, 167, 168, 103, 163, "
        "172, 173,\n"
        "           304, 303, 438, 312, 240, 29, 68, 64, 227, 170, 171):\n"
        "    assert call(nr, 0, 0, 0, 0, 0) == 'EPERM', nr\n"
        "assert call(9999) == 'ENOSYS'"},
    {"no network",
        "assert open('/proc/net/dev').read().count(':') <= 1\n"
        "for fam in (16, 17, 40, 38, 31, 1 << 20, 3, 44): refused(lambda: socket.socket(fam, 3), 'EAFNOSUPPORT')\n"
        "for a in ('127.0.0.1', '8.8.8.8'):\n"
        "    s = socket.socket(); s.settimeout(2); refused(lambda: s.connect((a, 80)), 'ENETUNREACH')\n"
        "refused(lambda: socket.socket(2, 3, 1), 'EPERM', 'EACCES', 'EPROTONOSUPPORT')\n"
        "a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'"},
    {"no kernel settings",
        "for p in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/self/oom_score_adj',\n"
        "          '/proc/self/uid_map', '/proc/sys/net/ipv4/ip_forward', '/proc/self/attr/current'):\n"
        "    refused(lambda: open(p, 'w'), 'EROFS', 'EACCES', 'ENOENT')\n"
        "for p in ('/proc/kcore', '/proc/kmsg', '/proc/keys', '/proc/timer_list'):\n"
        "    try: assert open(p, 'rb').read(1) == b'', p\n    except OSError: pass"},
    {"private folders, of a size",
        "for d in ('/tmp', '/workspace', '/dev/shm', '/var/tmp'):\n"
        "    open(d + '/mine', 'w').write('x')\n"
        "    v = os.statvfs(d); assert 0 < v.f_blocks * v.f_frsize <= 1 << 30, d\n"
        "v = os.statvfs('/dev/shm'); n = v.f_blocks * v.f_frsize\n"
        "f = open('/dev/shm/fill', 'wb')\n"
        "def fill():\n    for i in range(n // (1 << 20) + 2): f.write(bytes(1 << 20)); f.flush()\n"
        "refused(fill, 'ENOSPC')"},
    {"and nothing of the one before",
        "for d in ('/tmp', '/workspace', '/dev/shm', '/var/tmp'): assert os.listdir(d) == [], d"},
    {"threads and processes still work",
        "import threading, subprocess, multiprocessing\n"
        "t = threading.Thread(target=lambda: None); t.start(); t.join()\n"
        "assert subprocess.run(['true']).returncode == 0\n"
        "q = multiprocessing.Queue(); p = multiprocessing.Process(target=q.put, args=(1,)); p.start(); assert q.get() "
        "== 1; p.join()\n"
        "import tempfile, random, ssl, sqlite3, hashlib, time, mmap; tempfile.TemporaryFile().write(b'x'); "
        "time.sleep(0.01)"},
};

static void try_all(void)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF struct buf source = BUF_INIT(1 << 20);
        struct job j = {0};
        buf_append_str(&source, prelude);
        buf_append_str(&source, cases[i].source);
        assert_int_equal(buf_append_u8(&source, 0), 0);
        job_run(&world, &j, "python", (const char *)source.data);
        if (j.end != RUN_EXITED || j.exit_code != 0)
            fail_msg("%s: end %d, signal %d, %s\n%s", cases[i].name, j.end, j.signal, j.message, job_err(&j));
        job_done(&j);
    }
}

static void test_walls(void **state)
{
    (void)state;
    try_all();
}

/* All of it on a kernel that cannot make a tree of mounts read-only in one call: played by a filter around the launcher. */
static void test_walls_on_an_old_kernel(void **state)
{
    (void)state;
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    assert_non_null(ctx);
    assert_int_equal(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(mount_setattr), 0), 0);
    pid_t pid = fork();
    if (pid == 0) {
        /* With no_new_privs: a root launcher could load it without, an ordinary user's could not. */
        if (seccomp_load(ctx) < 0)
            _exit(2);
        world_open(&world, 1);
        try_all(); /* a failed check ends up in the runner and as its exit code */
        world_close(&world);
        _exit(0);
    }
    seccomp_release(ctx);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Numbers of another architecture mean other calls: not even asked. */
static void test_other_architectures(void **state)
{
    (void)state;
#ifdef __x86_64__
    static const char *const sources[] = {
        "call(0x40000000 + 39)",                                                                         /* x32 */
        "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n" /* i386: int 0x80 */
        "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()",
    };
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        CLEANUP_BUF struct buf source = BUF_INIT(1 << 20);
        struct job j = {0};
        buf_append_str(&source, prelude);
        buf_append_str(&source, sources[i]);
        assert_int_equal(buf_append_u8(&source, 0), 0);
        job_run(&world, &j, "python", (const char *)source.data);
        /* SEGV: a kernel without 32-bit support. */
        if (j.end != RUN_SIGNALED || (j.signal != SIGSYS && !(i == 1 && j.signal == SIGSEGV)))
            fail_msg("%zu: end %d, code %d, signal %d\n%s", i, j.end, j.exit_code, j.signal, job_err(&j));
        job_done(&j);
    }
#endif
}

static void test_source_is_sealed(void **state)
{
    (void)state;
    struct job j = {0};
    job_run(
        &world, &j, "shell", "echo changed >&3 && echo hole; echo changed > /proc/self/fd/3 && echo hole; echo end");
    assert_string_equal(job_out(&j), "end\n");
    job_done(&j);
}

static int open_world(void **state)
{
    (void)state;
    world_open(&world, 1); /* one slot: each task follows the one before */
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    world_close(&world);
    return 0;
}

static int tests(void)
{
    const struct CMUnitTest list[] = {
        cmocka_unit_test(test_walls),
        cmocka_unit_test(test_walls_on_an_old_kernel),
        cmocka_unit_test(test_other_architectures),
        cmocka_unit_test(test_source_is_sealed),
    };
    return cmocka_run_group_tests(list, open_world, close_world);
}

int main(int argc, char **argv)
{
    (void)argc;
    return run_as_both(argv, tests);
}
