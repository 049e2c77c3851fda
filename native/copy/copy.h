/*
 * Copies a source to a sink with several threads, and can go on where a killed copy stopped.
 *
 * The destination reads like the source afterwards, and as zeros from the source's end to `size`, whatever it held
 * before. A journal (optional, for sinks that are resumable) holds one bit per chunk; a bit is written only after the
 * chunk's bytes are on stable storage, so a later run with the same journal skips it.
 */
#ifndef NBDSVC_COPY_H
#define NBDSVC_COPY_H

#include "copy/job.h"

/* Blocks. -ECANCELED, -EINVAL for options that do not go together, or the -errno of the first failure. */
int nbdsvc_copy_run(struct nbdsvc_copy *copy);

#endif
