/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions and version specifiers of Python packages, as "Version Specifiers" of the Python packaging specifications has them
 * (PEP 440). They are checked and not compared: that is pip's.
 */
#ifndef PACKAGE_VERSION_H
#define PACKAGE_VERSION_H

#include <stdbool.h>
#include <stddef.h>

/* A public or local version: 1.0, v1!2.0rc1.post2.dev3, 1.0+local.1. */
bool version_is_valid(const char *s, size_t len);

/*
 * One clause without spaces: an operator (~= == != <= >= < > ===) and a version. ".*" only behind == and !=, a local version
 * neither with ~=, <=, >=, < nor >, and ~= wants at least two numbers. Behind === stands any text of letters, digits and ._+!-
 */
bool version_clause_is_valid(const char *s, size_t len);

#endif
