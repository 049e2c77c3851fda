/*
 * Token buckets: at most so much a second (bytes, microseconds of work), over all the threads and jobs that share one.
 *
 * Jobs that wait get equal shares, however many threads each has: start-time fair queueing (Goyal, Vin and Cheng, 1996). A job
 * that has taken less goes first, as long as it waits; one that takes little leaves the rest to the others, and keeps no
 * claim to what it left.
 */
#ifndef NBDSVC_TOKEN_BUCKET_H
#define NBDSVC_TOKEN_BUCKET_H

#include <stdint.h>

struct nbdsvc_token_bucket;

/* rate: bytes a second; 0: no limit. -ENOMEM. */
int nbdsvc_token_bucket_create(uint64_t rate, struct nbdsvc_token_bucket **ret);
void nbdsvc_token_bucket_destroy(struct nbdsvc_token_bucket *bucket);
/* May be called at any time, also while threads wait: they see it within 50 ms. */
void nbdsvc_token_bucket_set(struct nbdsvc_token_bucket *bucket, uint64_t rate);
/* Whether there is a limit now. bucket may be NULL, here and below. */
int nbdsvc_token_bucket_limits(struct nbdsvc_token_bucket *bucket);
/* A job among those that share a bucket; its owner keeps it in place from join to leave. */
struct nbdsvc_share {
	double turn; /* on the clock of the bucket, which counts what was taken */
	double refused; /* when, in seconds; 0: not since it last took */
	struct nbdsvc_share *next;
};

void nbdsvc_token_bucket_join(struct nbdsvc_token_bucket *bucket, struct nbdsvc_share *share);
void nbdsvc_token_bucket_leave(struct nbdsvc_token_bucket *bucket, struct nbdsvc_share *share);
/* 0 when the bytes may go, else nanoseconds to wait (at most 50 ms) before the next call. */
uint64_t nbdsvc_token_bucket_take(struct nbdsvc_token_bucket *bucket, struct nbdsvc_share *share, uint64_t bytes);

#endif
