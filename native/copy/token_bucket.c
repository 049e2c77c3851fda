#include "copy/token_bucket.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* The most that a bucket collects while no job takes: enough that a thread which wakes up late costs no throughput. */
static const double BURST_SECONDS = 0.1;
static const double LONGEST_WAIT_SECONDS = 0.05;
/* A job that was refused asks again within the longest wait; after twice that it is taken to be busy elsewhere. */
static const double WAITING_SECONDS = 0.1;
/* How soon a job that is ahead of another looks again; less than a burst collects meanwhile. */
static const double BEHIND_SECONDS = 0.002;

struct nbdsvc_token_bucket {
	pthread_mutex_t lock;
	double rate; /* bytes a second; 0: no limit */
	double tokens; /* below zero: bytes that went ahead of their time, because pieces are not cut */
	double filled; /* when, in seconds of the monotonic clock */
	double turn; /* of the job that took last */
	struct nbdsvc_share *shares;
};

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void fill(struct nbdsvc_token_bucket *bucket)
{
	double time = now();
	bucket->tokens += (time - bucket->filled) * bucket->rate;
	if (bucket->tokens > bucket->rate * BURST_SECONDS)
		bucket->tokens = bucket->rate * BURST_SECONDS;
	bucket->filled = time;
}

int nbdsvc_token_bucket_create(uint64_t rate, struct nbdsvc_token_bucket **ret)
{
	struct nbdsvc_token_bucket *bucket = calloc(1, sizeof(*bucket));
	if (!bucket)
		return -ENOMEM;
	pthread_mutex_init(&bucket->lock, NULL);
	bucket->rate = rate;
	bucket->filled = now();
	*ret = bucket;
	return 0;
}

void nbdsvc_token_bucket_destroy(struct nbdsvc_token_bucket *bucket)
{
	if (!bucket)
		return;
	pthread_mutex_destroy(&bucket->lock);
	free(bucket);
}

void nbdsvc_token_bucket_set(struct nbdsvc_token_bucket *bucket, uint64_t rate)
{
	pthread_mutex_lock(&bucket->lock);
	fill(bucket);
	/* A debt made at the old rate would last for hours at a much lower one. */
	if (bucket->tokens < 0 && bucket->rate > 0)
		bucket->tokens *= rate / bucket->rate;
	bucket->rate = rate;
	pthread_mutex_unlock(&bucket->lock);
}

int nbdsvc_token_bucket_limits(struct nbdsvc_token_bucket *bucket)
{
	if (!bucket)
		return 0;
	pthread_mutex_lock(&bucket->lock);
	int limits = bucket->rate > 0;
	pthread_mutex_unlock(&bucket->lock);
	return limits;
}

void nbdsvc_token_bucket_join(struct nbdsvc_token_bucket *bucket, struct nbdsvc_share *share)
{
	*share = (struct nbdsvc_share){ .turn = 0 };
	if (!bucket)
		return;
	pthread_mutex_lock(&bucket->lock);
	share->next = bucket->shares;
	bucket->shares = share;
	pthread_mutex_unlock(&bucket->lock);
}

void nbdsvc_token_bucket_leave(struct nbdsvc_token_bucket *bucket, struct nbdsvc_share *share)
{
	if (!bucket)
		return;
	pthread_mutex_lock(&bucket->lock);
	struct nbdsvc_share **at = &bucket->shares;
	while (*at != share)
		at = &(*at)->next;
	*at = share->next;
	pthread_mutex_unlock(&bucket->lock);
}

/* When it is this job's turn: not before the present, so that what it did not take in the past gives it nothing now. */
static double turn_of(const struct nbdsvc_token_bucket *bucket, const struct nbdsvc_share *share)
{
	return share->turn > bucket->turn ? share->turn : bucket->turn;
}

static int is_ahead(const struct nbdsvc_token_bucket *bucket, const struct nbdsvc_share *share)
{
	for (const struct nbdsvc_share *other = bucket->shares; other; other = other->next) {
		if (other->refused > bucket->filled - WAITING_SECONDS && turn_of(bucket, other) < turn_of(bucket, share))
			return 1;
	}
	return 0;
}

static double wait_for(const struct nbdsvc_token_bucket *bucket, const struct nbdsvc_share *share)
{
	if (bucket->tokens < 0) {
		double wait = -bucket->tokens / bucket->rate;
		return wait < LONGEST_WAIT_SECONDS ? wait : LONGEST_WAIT_SECONDS;
	}
	return is_ahead(bucket, share) ? BEHIND_SECONDS : 0;
}

uint64_t nbdsvc_token_bucket_take(struct nbdsvc_token_bucket *bucket, struct nbdsvc_share *share, uint64_t bytes)
{
	if (!bucket)
		return 0;
	double wait = 0;
	pthread_mutex_lock(&bucket->lock);
	fill(bucket);
	if (bucket->rate <= 0) {
		bucket->tokens = 0;
	} else if ((wait = wait_for(bucket, share)) > 0) {
		share->refused = bucket->filled;
	} else {
		bucket->tokens -= bytes;
		bucket->turn = turn_of(bucket, share);
		share->turn = bucket->turn + bytes;
		share->refused = 0;
	}
	pthread_mutex_unlock(&bucket->lock);
	return wait > 0 ? (uint64_t)(wait * 1e9) + 1 : 0;
}
