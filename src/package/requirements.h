/* SPDX-License-Identifier: Apache-2.0 */
/*
 * requirements.txt of a task package: what it asks for, as a closed list of names, and what is made of that for pip.
 *
 * The file is hostile text that would otherwise be read by pip, whose format can name any file, any address and any option. So
 * pip never sees it: it is parsed here, strictly, and pip reads what requirements_write() makes of the result. The daemon may
 * parse again what a child has passed on: what is written parses to the same.
 *
 * A line of it is a project's name, with extras in brackets, version specifiers and an environment marker if need be ("Dependency
 * specifiers" of the Python packaging specifications, but no addresses), then any number of --hash=sha256:HEX (or sha384,
 * sha512). Comments, empty lines, lines continued by a '\' at their end, LF and CRLF, and a UTF-8 mark at the beginning are
 * as pip has them. Everything else is refused with a reason: other requirement and constraint files, editable installs,
 * addresses, paths, index settings and other options, and variables of the environment.
 */
#ifndef PACKAGE_REQUIREMENTS_H
#define PACKAGE_REQUIREMENTS_H

#include <stddef.h>
#include <stdint.h>

#include <taskworker/error.h>

#include "base/buf.h"

enum {
    REQUIREMENTS_BYTES_MAX = 256 * 1024,
    REQUIREMENTS_MAX = 1000,           /* requirements; lines are bounded by the bytes alone */
    REQUIREMENTS_LINE_MAX = 64 * 1024, /* bytes of one requirement with its hashes */
    REQUIREMENTS_NAME_MAX = 128,       /* of a project or an extra */
    REQUIREMENTS_EXTRAS_MAX = 32,      /* of one requirement */
    REQUIREMENTS_CLAUSES_MAX = 32,     /* of one specifier */
    REQUIREMENTS_MARKER_MAX = 1024,    /* bytes */
    REQUIREMENTS_HASHES_MAX = 512,     /* of one requirement */
};

#define REQUIREMENTS_ONLY_NAMES \
    "; only names from the node's own index or wheels in the package's wheels/ folder are installed"

/* The sentence follows "requirements.txt, line N: ". */
#define REQUIREMENTS_RESULTS(X)                                                                                     \
    X(OK, "is as it should be")                                                                                     \
    X(NO_MEMORY, "there is no memory to read it")                                                                   \
    X(TOO_LARGE, "the file is larger than 256 KiB")                                                                 \
    X(TOO_MANY, "there are more than 1000 requirements")                                                            \
    X(LINE_TOO_LONG, "the line, with what it is continued by, is longer than 64 KiB")                               \
    X(UTF16, "the file is UTF-16; save it as UTF-8")                                                                \
    X(BAD_BYTE, "there is a byte that is no printable ASCII, or in a comment no UTF-8")                             \
    X(NAME, "a project's name of up to 128 letters, digits, '-', '_' and '.' was expected")                         \
    X(EXTRAS, "the extras in brackets are not names with commas between them, or more than 32")                     \
    X(SPECIFIER, "the version specifier is not like >=1.2,<2 (PEP 440), or has more than 32 clauses")               \
    X(MARKER, "the environment marker behind the ';' is not like python_version < \"3.12\" (PEP 508), or too long") \
    X(HASH, "a hash is not --hash=sha256: and 64 hex digits (or sha384, sha512), or there are more than 512")       \
    X(INCLUDE, "-r and -c would read another file; put its lines here")                                             \
    X(EDITABLE, "-e would run code of the project to install it" REQUIREMENTS_ONLY_NAMES)                           \
    X(INDEX, "a package cannot choose where packages come from" REQUIREMENTS_ONLY_NAMES)                            \
    X(OPTION, "options other than --hash are not taken")                                                            \
    X(ADDRESS, "an address is not fetched" REQUIREMENTS_ONLY_NAMES)                                                 \
    X(PATH, "a path is not installed" REQUIREMENTS_ONLY_NAMES)

enum requirements_result {
#define X(name, sentence) REQUIREMENTS_##name,
    REQUIREMENTS_RESULTS(X)
#undef X
        REQUIREMENTS_RESULT_MAX
};

/* The sentence, never NULL. */
const char *requirements_result_to_string(enum requirements_result result);

/* All strings are NUL-terminated ASCII. */
struct requirement {
    char *name;      /* in the normal form of PEP 503: lower case, "-" for any run of "-_." */
    char *extras;    /* "a,b": sorted, as they were written; "": none */
    char *specifier; /* ">=1.0,<2": sorted, in lower case, without spaces; "": any version */
    char *marker;    /* in the form of marker.h; "": none */
    char *hashes;    /* "sha256:HEX sha256:HEX": sorted, in lower case; "": none */
    unsigned line;   /* where it begins, from 1 */
};

/* Sorted by their text, and none there twice. */
struct requirements {
    struct requirement *items;
    size_t n_items;
};

/*
 * Parses len bytes (data may be NULL where len is 0) in linear time. On REQUIREMENTS_OK *ret is the caller's, to be freed with
 * requirements_done(); else it is empty and *ret_line is the line on which the refused requirement begins (0: it is the whole
 * file).
 */
enum requirements_result requirements_parse(const void *data, size_t len, struct requirements *ret, unsigned *ret_line);

/* The same, with the mistake as an error of INVALID_ARGUMENT (or RESOURCE_EXHAUSTED, without memory). */
int requirements_read(const void *data, size_t len, struct requirements *ret, struct tw_error *error);

void requirements_done(struct requirements *r);
void requirement_done(struct requirement *item);
#define CLEANUP_REQUIREMENTS CLEANUP(requirements_done)

/*
 * Appends the canonical file, one requirement a line: name[extras]specifier ; marker --hash=sha256:HEX. It depends on what is
 * asked for alone, not on the order or spelling in which it was. 0, or what the buffer says.
 */
int requirements_write(const struct requirements *r, struct buf *out);

/* --- the key of what is installed --- */

struct requirements_wheel {
    const char *name; /* the file's: pip takes project and version from it */
    uint8_t digest[32];
};

/* What decides the outcome of an installation besides the requirements. */
struct requirements_context {
    const char *python;    /* the tags of the interpreter: "cp311-cp311-linux_x86_64" */
    const char *owner;     /* whose packages they are, "" for nobody's in particular: they are not shared */
    const char *index_url; /* NULL: no index is asked; "": pip's own */
    const struct requirements_wheel *wheels; /* of the package's wheels/ folder, in any order */
    size_t n_wheels;
};

/*
 * SHA-256 over all of that, each part behind its length, in an order of its own: the same question has the same key on every
 * machine, and no two questions run into each other. 0, -ENOMEM, or -EIO where libcrypto fails.
 */
int requirements_key(const struct requirements *r, const struct requirements_context *context, uint8_t ret[32]);

/* --- pip --- */

/* Where pip finds things: paths as it sees them. */
struct requirements_pip {
    const char *python;    /* the interpreter */
    const char *file;      /* what requirements_write() wrote */
    const char *target;    /* the folder that it installs into */
    const char *index_url; /* NULL: no index is asked; "": pip's own */
    const char *wheels;    /* the folder of the package's wheels; NULL: none */
};

enum { REQUIREMENTS_PIP_ARGUMENTS = 32 };

/*
 * Fills the arguments of the interpreter, itself first, NULL behind the last: pip that installs wheels alone, asks nobody, and
 * reads neither variables of the environment nor a user's settings. The strings are those of *pip and constants. The caller also
 * sets PIP_CONFIG_FILE=/dev/null in its environment, which is pip's one way to have it read no settings of the system.
 */
void requirements_pip_arguments(const struct requirements_pip *pip, const char *ret[REQUIREMENTS_PIP_ARGUMENTS]);

/* Why it failed, as one line that can be shown, of at most 400 bytes of what it printed; the first and the last part of that are enough. NULL: no memory. */
char *requirements_why(const void *output, size_t len);

#endif
