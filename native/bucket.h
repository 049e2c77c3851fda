/* Token buckets: at most so much a second (bytes, microseconds of work), over all the threads and jobs that share one. */
#ifndef NBDSVC_BUCKET_H
#define NBDSVC_BUCKET_H

#include <stdint.h>

struct nbdsvc_bucket;

int nbdsvc_bucket_create(uint64_t rate, struct nbdsvc_bucket **ret); /* bytes a second; 0: no limit */
void nbdsvc_bucket_destroy(struct nbdsvc_bucket *bucket);
/* May be called at any time, also while threads wait: they see it within 50 ms. */
void nbdsvc_bucket_set(struct nbdsvc_bucket *bucket, uint64_t rate);
/* Whether there is a limit now. bucket may be NULL, here and below. */
int nbdsvc_bucket_limits(struct nbdsvc_bucket *bucket);
/* 0 when the bytes may go, else how many nanoseconds to wait (at most 50 ms) before asking again. */
uint64_t nbdsvc_bucket_take(struct nbdsvc_bucket *bucket, uint64_t bytes);

#endif
