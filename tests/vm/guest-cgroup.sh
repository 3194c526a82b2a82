#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In the guest, as root: the tests of control groups in every place that a node may be started in. /share holds bin/ (the
# test program and the helper programs) and libexec (the path under which the test program looks for the latter).
set -u
test=/share/bin/test_sandbox_groups
failed=0
libexec=$(cat /share/libexec)
mkdir -p "$(dirname "$libexec")"
ln -s /share/bin "$libexec"
useradd -m -u 1234 user
say() { printf '\n=== %s\n' "$*"; }
check() { # whether it succeeds, and whether what was expected (a pattern for grep) is or is not (!) said
    expected=$1; shift
    "$@" > /tmp/out 2>&1 || { echo "FAILED with $?"; failed=1; }
    case $expected in
    !*) grep -q -- "${expected#!}" /tmp/out && { failed=1; echo "FAILED: ${expected#!}"; } ;;
    *) grep -q -- "$expected" /tmp/out || { failed=1; echo "FAILED: not said: $expected"; } ;;
    esac
    grep -v 'OK \]\|RUN  ' /tmp/out
}
nothing_left() {
    find /sys/fs/cgroup -name 'hivemind-[0-9]*' | grep . && { failed=1; echo "FAILED: groups are left"; }
}
# Only the first of the two runs of a program that root starts: the second is as nobody, who has no group of its own.
skips=SKIPPED

say "root, unit with Delegate=yes"
check "once more as an ordinary user" systemd-run -q --wait --pipe -E CI=1 -p Delegate=yes $test
nothing_left
say "root, unit without delegation"
check "once more as an ordinary user" systemd-run -q --wait --pipe -E CI=1 $test
nothing_left
say "root, among other processes of its unit: the root of all groups"
check "once more as an ordinary user" systemd-run -q --wait --pipe -E CI=1 sh -c "sleep 1000 & $test; r=\$?; kill \$!; exit \$r"
nothing_left
say "root of a container, alone in its groups"
check "once more as an ordinary user" systemd-run -q --wait --pipe -E CI=1 -p OOMPolicy=continue \
    unshare -Cm sh -c "umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && [ \"\$(head -n 1 /proc/self/cgroup)\" = 0::/ ] && exec $test"
nothing_left
say "ordinary user, unit with Delegate=yes"
check "!$skips" systemd-run -q --wait --pipe -p Delegate=yes -p User=user $test
nothing_left
say "the same twice in one unit, under a shell: the second time from within the leaf"
check "!$skips" systemd-run -q --wait --pipe -p Delegate=yes -p User=user sh -c "$test && $test"
nothing_left
say "ordinary user, unit without delegation"
check "$skips" systemd-run -q --wait --pipe -p User=user $test
nothing_left
if loginctl enable-linger user 2> /dev/null && systemctl start user@1234.service; then
    say "ordinary user, scope of the user's own manager with Delegate=yes"
    check "!$skips" runuser -u user -- env XDG_RUNTIME_DIR=/run/user/1234 systemd-run -q --user --scope -p Delegate=yes $test
    nothing_left
    say "the same as a service of the user's own manager"
    check "!$skips" runuser -u user -- env XDG_RUNTIME_DIR=/run/user/1234 systemd-run -q --user --wait --pipe -p Delegate=yes \
        $test
    nothing_left
    say "ordinary user, scope of the user's own manager without delegation"
    check "$skips" runuser -u user -- env XDG_RUNTIME_DIR=/run/user/1234 systemd-run -q --user --scope $test
    nothing_left
else
    say "SKIPPED: no user manager in this guest"
fi
exit $failed
