/* Is a buffer all zeros? The fastest way that this processor has, chosen at run time. */
#ifndef NBDSVC_ZERO_H
#define NBDSVC_ZERO_H

#include <stdbool.h>
#include <stddef.h>

bool nbdsvc_is_zero(const void *buffer, size_t length);

#endif
