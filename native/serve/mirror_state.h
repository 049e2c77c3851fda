/* What the three files of a mirror share: mirror_state.c its state, mirror_copy.c the thread, mirror_request.c the clients. */
#ifndef NBDSVC_MIRROR_STATE_H
#define NBDSVC_MIRROR_STATE_H

#include "copy/token_bucket.h"
#include "serve/mirror.h"
#include "serve/ranges.h"

#include <pthread.h>
#include <stdatomic.h>

struct nbdsvc_mirror {
	struct nbdsvc_vol *source;
	struct nbdsvc_second *destination;
	int is_zero;
	struct nbdsvc_ranges ranges;
	struct nbdsvc_token_bucket *bucket;
	struct nbdsvc_share share;
	pthread_t thread;
	int runs;
	atomic_int stopped;
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t changed;
	struct nbdsvc_mirror_progress progress;
	int64_t inside; /* the copy, and requests, that are or may be at the destination */
	enum { FREE, BOUND, MOVED } choice;
};

/*
 * Whether the destination takes part in a request, or the copy: 1 until `leave`, 0 for the source alone. -errno where the
 * destination has become the volume, and has failed.
 */
int nbdsvc_mirror_enter(struct nbdsvc_mirror *mirror);
void nbdsvc_mirror_leave(struct nbdsvc_mirror *mirror);
int nbdsvc_mirror_lives(struct nbdsvc_mirror *mirror);
/* Ends the mirror with -errno `err`. The first failure counts. */
void nbdsvc_mirror_fail(struct nbdsvc_mirror *mirror, int err, int while_reading, uint64_t offset);
/*
 * The answer of a request that the source answered with `err`, and the destination with `there`. An error of the destination
 * is its client's only where that has become the volume; until this is known, the client waits.
 */
int nbdsvc_mirror_answer(struct nbdsvc_mirror *mirror, int err, int there, uint64_t offset);
/* After a failed request: whatever it left at the source is copied. The range is held. Beyond the end it left nothing. */
void nbdsvc_mirror_heal(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset);

#endif
