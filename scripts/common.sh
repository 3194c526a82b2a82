# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# What the scripts share. Sourced, with `set -eu` in force: `. "$(dirname "$0")/common.sh"`.

ROOT=$(cd "$(dirname "$0")/.." && pwd)
SCRIPT=$(basename "$0")
# Debian's own Python: the modules that setup installs are for this one, and another may come first in PATH.
PYTHON=/usr/bin/python3
export ROOT PYTHON
JOBS=${JOBS:-$(nproc 2>/dev/null || echo 2)}

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$(printf '\033[1m') RED=$(printf '\033[31m') PLAIN=$(printf '\033[0m')
else
    BOLD='' RED='' PLAIN=''
fi

say() {
    printf '%s\n' "$SCRIPT: $*"
}

# A title in front of a step, so that a long run shows where it is.
title() {
    printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"
}

die() {
    printf '%s\n' "$RED$SCRIPT: $*$PLAIN" >&2
    exit 1
}

# In CI nothing may pass by not running.
in_ci() {
    case ${CI:-} in
    '' | 0 | false | no) return 1 ;;
    *) return 0 ;;
    esac
}

# skip WHAT WHY: says aloud that something is not done here; in CI that is a failure.
skip() {
    if in_ci; then
        die "$1 cannot run here, and CI may not skip it: $2"
    fi
    printf '%s\n' "${BOLD}SKIPPED: $1: $2$PLAIN"
    SKIPPED="${SKIPPED:-}
  $1: $2"
}

# configure DIR OPTION...: sets a build folder up; meson itself follows later changes of the build files.
configure() {
    configure_dir=$ROOT/$1
    shift
    [ -f "$configure_dir/build.ninja" ] && return 0
    rm -rf "$configure_dir" # without build.ninja it is what an interrupted set-up left
    meson setup "$@" "$configure_dir" "$ROOT"
}

# compile DIR [TARGET]...
compile() {
    compile_dir=$ROOT/$1
    shift
    ninja -C "$compile_dir" -j "$JOBS" "$@"
}

# port_is_free HOST PORT
port_is_free() {
    "$PYTHON" - "$1" "$2" <<'END'
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
try:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((host, port))
except OSError:
    sys.exit(1)
END
}

# free_port: a port that nobody listens on, below the ephemeral range so that no outgoing connection takes it meanwhile.
free_port() {
    "$PYTHON" - <<'END'
import random, socket
for port in random.sample(range(20000, 32000), 200):
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            continue
    print(port)
    break
END
}
