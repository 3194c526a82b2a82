/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a configuration, told to the log of a daemon that runs already. */
#ifndef NODE_COMPLAIN_H
#define NODE_COMPLAIN_H

#include "node/config.h"

void complain_of_errors(const struct config_errors *errors);
/* Where a failure begins with the name of a setting: what that is, and who says so. */
void complain_of_setting(const struct config *c, const char *failure);

#endif
