/* The state that the threads of one copy share, and the state of each of them. Private to the copy engine. */
#ifndef NBDSVC_WORKER_H
#define NBDSVC_WORKER_H

#include "copy/digest.h"
#include "copy/job.h"
#include "copy/journal.h"

#include <pthread.h>
#include <stdatomic.h>

/* Zeros are looked for in steps of this size: the cluster size of nearly all images. */
enum { NBDSVC_GRAIN = 64 << 10 };
/* One read and at most one write: large enough for the disk, small enough that it is still in the cache when written. */
enum { NBDSVC_READ_MOST = 1 << 20 };
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
	pthread_cond_t ended; /* signalled when a worker ends */
	uint64_t placed; /* chunks that an ordered sink has placed */
	int waiting; /* threads that wait for their turn to place a chunk */
	/* Chunks of zeros that need no place and did not wait for their turn: a bit for each of so many from `placed` on. */
	unsigned char early[NBDSVC_EARLY / 8];
	pthread_cond_t advanced; /* placed grew, or all is over */
	struct nbdsvc_share shares[NBDSVC_LIMITS], cpu_share; /* of the limits */
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

/* -ENOMEM, or the -errno of the source's and the sink's scratch_init. */
int nbdsvc_worker_init(struct nbdsvc_worker *worker, struct nbdsvc_state *state);
void nbdsvc_worker_deinit(struct nbdsvc_worker *worker);

/* Records the first failure: err is -errno, side NBDSVC_SIDE_*. */
void nbdsvc_state_fail(struct nbdsvc_state *state, int err, int side, uint64_t offset);
/* 1 when the copy has failed or is to stop. */
int nbdsvc_state_stopped(struct nbdsvc_state *state);

#endif
