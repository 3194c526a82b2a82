/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OTHER_H
#define OTHER_H
#endif
