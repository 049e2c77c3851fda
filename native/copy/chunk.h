/* One chunk's way through a copy: extents, reading, zero detection, digest, limit, sink. Private to the copy engine. */
#ifndef NBDSVC_CHUNK_H
#define NBDSVC_CHUNK_H

#include "copy/worker.h"

/* Copies the chunk. -errno of a failure, which is recorded in the state too. */
int nbdsvc_chunk_copy(struct nbdsvc_worker *worker, uint64_t index);
/* Computes the XXH3-128 of a chunk of zeros. 0 or -ENOMEM. */
int nbdsvc_zero_digest(unsigned char *ret);

#endif
