/*
 * A raw source of which it is known where nothing is stored: the rest reads as zeros, and its input does not see a read of it.
 */
#ifndef NBDSVC_PARTS_H
#define NBDSVC_PARTS_H

#include "source/source.h"

/* Takes the input over when it succeeds. ranges: `count` pairs of begin and end of what is stored, in ascending order,
 * without overlaps, in the input's size; they are copied. -EINVAL, -ENOMEM. */
int nbdsvc_source_parts_create(struct nbdsvc_input *input, const uint64_t *ranges, size_t count, struct nbdsvc_source **ret);

#endif
