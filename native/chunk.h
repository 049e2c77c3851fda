/* One chunk's way through a copy: extents, reading, zero detection, digest, limit, sink. Private to the copy engine. */
#ifndef NBDSVC_CHUNK_H
#define NBDSVC_CHUNK_H

#include "copy.h"
#include "digest.h"
#include "journal.h"

#include <pthread.h>
#include <stdatomic.h>

enum { NBDSVC_EARLY = 1 << 16 };

struct nbdsvc_state {
	struct nbdsvc_copy *copy;
	struct nbdsvc_journal journal;
	uint64_t chunks;
	atomic_uint_fast64_t next;
	atomic_int running;
	atomic_int failed; /* -errno of the first failure */
	unsigned char zero_digest[NBDSVC_DIGEST_SIZE]; /* of a chunk of zeros */
	pthread_mutex_t lock;
	pthread_cond_t ended; /* a worker ended */
	uint64_t placed; /* chunks that an ordered sink has placed */
	int waiting; /* threads that wait for their turn to place a chunk */
	/* Chunks of zeros that need no place and did not wait for their turn: a bit for each of so many from `placed` on. */
	unsigned char early[NBDSVC_EARLY / 8];
	pthread_cond_t advanced; /* placed grew, or all is over */
	struct nbdsvc_share shares[2], cpu_share; /* of the limits */
};

struct nbdsvc_worker {
	struct nbdsvc_state *state;
	void *source_scratch;
	void *sink_scratch;
	unsigned char *buffer;
	unsigned char *zeros;
	struct nbdsvc_digest *hash; /* or NULL where no digest is wanted */
	uint64_t paid; /* microseconds of processor time that this thread has accounted for */
	int dry; /* the chunk is at its place already: only its digest is wanted */
};

int nbdsvc_worker_init(struct nbdsvc_worker *worker, struct nbdsvc_state *state);
void nbdsvc_worker_deinit(struct nbdsvc_worker *worker);
/* Copies the chunk; a failure is recorded in the state. */
int nbdsvc_chunk_copy(struct nbdsvc_worker *worker, uint64_t index);

void nbdsvc_state_fail(struct nbdsvc_state *state, int err, int side, uint64_t offset);
int nbdsvc_state_stopped(struct nbdsvc_state *state);
/* XXH3-128 of a chunk of zeros. 0 or -ENOMEM. */
int nbdsvc_zero_digest(unsigned char *ret);

#endif
