#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# embed.sh FILE NAME OUT.c: writes the bytes of FILE as a C array NAME with its length NAME_len.
set -eu
{
    printf '#include <stddef.h>\nextern const unsigned char %s[];\nextern const size_t %s_len;\n' "$2" "$2"
    printf 'const unsigned char %s[] = {\n' "$2"
    od -An -v -tx1 "$1" | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1,/g'
    printf '};\nconst size_t %s_len = sizeof %s;\n' "$2" "$2"
} >"$3"
