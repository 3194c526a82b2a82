#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/embed.c does what it says, twice in the same folder.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 1 2; do
    said=$("$1" "$folder/state" "$TEST_LIBEXEC_DIR")
    wanted="kept notes/first.txt, version $version, 32 bytes
python task: COMPLETED, result 45
function task: COMPLETED, result {\"greeted\": [\"world\"]}"
    if [ "$said" != "$wanted" ]; then
        printf 'it printed:\n%s\nand not:\n%s\n' "$said" "$wanted" >&2
        exit 1
    fi
done
