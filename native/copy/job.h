/* One copy as its caller describes it, and as it can be watched. */
#ifndef NBDSVC_JOB_H
#define NBDSVC_JOB_H

#include "copy/token_bucket.h"
#include "sink/sink.h"
#include "source/source.h"

enum { NBDSVC_SIDE_NONE = 0, NBDSVC_SIDE_READ = 1, NBDSVC_SIDE_WRITE = 2, NBDSVC_SIDE_JOURNAL = 3 };

#define NBDSVC_LIMITS 3

struct nbdsvc_copy {
	/* Set by the caller. */
	struct nbdsvc_source *source;
	struct nbdsvc_sink *sink;
	int journal_fd; /* or -1 */
	int threads; /* 1: strictly ascending offsets, for sources that stream */
	int may_clone; /* share the bytes where source and sink can */
	uint64_t size; /* of the destination, at least the source's */
	unsigned char fingerprint[32]; /* of the source; a journal of another source is started anew */
	unsigned char *digests; /* or NULL: room for the XXH3-128 of each chunk, in the canonical byte order */
	/* Bytes; each may be NULL: the job's own limit, and those of the backends of its source and its sink. */
	struct nbdsvc_token_bucket *buckets[NBDSVC_LIMITS];
	struct nbdsvc_token_bucket *cpu; /* or NULL: microseconds of the workers' processor time a second */
	/* May be read, and `cancel` written, while it runs. */
	volatile int cancel;
	volatile uint64_t done; /* bytes of the source dealt with, skipped ones included */
	volatile uint64_t data; /* bytes written that are not zero */
	volatile uint64_t skipped; /* bytes that the journal said were there */
	volatile uint64_t cloned; /* bytes that are shared with the source */
	/* Set on failure. */
	int side;
	uint64_t offset;
	char reason[256];
};

#endif
