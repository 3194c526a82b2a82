/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file of a task package is run.
 *
 * run_task.sh if there is one (by a shell), else the first of main.py, task_script.py, run.py, app.py and script.py, else the
 * first *.py in the order of its bytes whose name is UTF-8 without control characters and does not begin with a dot. Only
 * regular files count, and no link, wherever it leads: Python would look for a script's modules beside what a link leads to.
 *
 * Where the package is one folder and nothing else, as archives made from a repository or by "compress this folder" are, all
 * that holds for what is in that folder, and the task works there. (A __MACOSX beside it does not count.)
 */
#ifndef PACKAGE_ENTRY_H
#define PACKAGE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include <taskworker/error.h>

enum package_kind {
    PACKAGE_PYTHON = 1,
    PACKAGE_SHELL = 2,
};

enum { PACKAGE_NAME_SIZE = 256 }; /* NAME_MAX and its NUL */

struct package_entry {
    enum package_kind kind;
    char folder[PACKAGE_NAME_SIZE]; /* below the workspace, where the task works; "": the workspace itself */
    char file[PACKAGE_NAME_SIZE];   /* in there */
};

/*
 * Looks in the folder of this fd (open for reading; it stays the caller's, and where it stands in the folder is not changed).
 * 0, or -1 with *error: NOT_FOUND names what was looked for and what is there.
 */
int package_find_entry(int folder_fd, struct package_entry *ret, struct tw_error *error);

/* --- the same for whoever walks a folder by itself: one search for each folder, each of its names offered once --- */

enum { ENTRY_SHOWN_MAX = 6 };

struct entry_search {
    size_t n_names;
    size_t n_folders;
    char folder[PACKAGE_NAME_SIZE]; /* one of these, if there are any */
    unsigned rank;                  /* of `file`, 0: there is none; 1 is the best */
    char file[PACKAGE_NAME_SIZE];
    char shown[ENTRY_SHOWN_MAX][PACKAGE_NAME_SIZE]; /* the first names in order, for the error */
};

enum entry_type { ENTRY_FILE, ENTRY_FOLDER, ENTRY_OTHER };

/* In any order. All zero is a search that has seen nothing. */
void entry_search_offer(struct entry_search *s, const char *name, enum entry_type type);
/* The folder to look in instead of this one; NULL: none. */
const char *entry_search_only_folder(const struct entry_search *s);
/* 0 or -1 as package_find_entry(). `folder` is what was searched, "" for the top. */
int entry_search_result(
    const struct entry_search *s, const char *folder, struct package_entry *ret, struct tw_error *error);

#endif
