/*
 * Copies a source to a sink with several threads, and can go on where a killed copy stopped.
 *
 * The destination reads like the source afterwards, and as zeros from the source's end to `size`, whatever it held
 * before. A journal (optional, for sinks that are resumable) holds one bit per chunk; a bit is written only after the
 * chunk's bytes are on stable storage, so a later run with the same journal skips it.
 */
#ifndef NBDSVC_COPY_H
#define NBDSVC_COPY_H

#include "bucket.h"
#include "digest.h"
#include "sink.h"
#include "source.h"

enum { NBDSVC_SIDE_NONE = 0, NBDSVC_SIDE_READ = 1, NBDSVC_SIDE_WRITE = 2, NBDSVC_SIDE_JOURNAL = 3 };

struct nbdsvc_copy {
	/* In. */
	struct nbdsvc_source *source;
	struct nbdsvc_sink *sink;
	int journal_fd; /* or -1 */
	int threads; /* 1: strictly ascending offsets, for sources that stream */
	int may_clone; /* share the bytes where source and sink can */
	uint64_t size; /* of the destination, at least the source's */
	unsigned char fingerprint[32]; /* of the source; a journal of another source is started anew */
	unsigned char *digests; /* or NULL: room for the XXH3-128 of each chunk, in the canonical byte order */
	struct nbdsvc_bucket *buckets[2]; /* bytes; each may be NULL: the job's own limit, and the host's */
	struct nbdsvc_bucket *cpu; /* or NULL: microseconds of the workers' processor time a second */
	/* May be read, and `cancel` written, while it runs. */
	volatile int cancel;
	volatile uint64_t done; /* bytes of the source dealt with, skipped ones included */
	volatile uint64_t data; /* bytes written that are not zero */
	volatile uint64_t skipped; /* bytes that the journal said were there */
	volatile uint64_t cloned; /* bytes that are shared with the source */
	/* Out, on failure. */
	int side;
	uint64_t offset;
	char reason[256];
};

/* 0, -ECANCELED, or -errno of the first failure. Blocks. */
int nbdsvc_copy_run(struct nbdsvc_copy *copy);

#endif
