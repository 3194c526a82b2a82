/* SPDX-License-Identifier: Apache-2.0 */
/* A node speaks of the fields of its API, in their units; whoever typed a command line knows the options. */
#ifndef CLI_FIELDS_H
#define CLI_FIELDS_H

/*
 * The node's message with the options' names in place of the fields', and with their values as an option would take them: "--memory
 * is 1M". NULL: no memory.
 */
char *fields_to_options(const char *message);

#endif
