/*
 * The limits of a volume: leaky buckets as in QEMU's throttling (util/throttle.c), and shares among its users (connections).
 *
 * Plain data without pointers, lock or clock: the caller keeps it in memory that several servers share (limits.c), and passes
 * the time. All zeros is a throttle without limits.
 *
 * A bucket leaks `average` units a second. It takes a request while it is not over its size, which is a tenth of a second of the
 * average, or without `burst`; with a burst, `burst` units a second for `seconds` are its size. So what a user has got in a time
 * is never more than the size, the average of that time and the request that went over it.
 *
 * Users that wait get equal shares, however many requests each has: start-time fair queueing (Goyal, Vin and Cheng, 1996), as
 * among copies (copy/token_bucket.h). What a user has got is counted in seconds of the limit that it meets first.
 */
#ifndef NBDSVC_THROTTLE_H
#define NBDSVC_THROTTLE_H

#include <stdint.h>

enum { NBDSVC_THROTTLE_READ = 0, NBDSVC_THROTTLE_WRITE = 1, NBDSVC_THROTTLE_DIRECTIONS = 2 };
/* Limits of: operations, then bytes, each of reads, of writes, of both. */
enum { NBDSVC_THROTTLE_OPERATIONS = 0, NBDSVC_THROTTLE_BYTES = 3, NBDSVC_THROTTLE_TOTAL = 2, NBDSVC_THROTTLE_LIMITS = 6 };
/* Connections that are distinguished: two servers of as many as a server lets in (door.py). Others take the place of the idlest. */
enum { NBDSVC_THROTTLE_USERS = 64 };

/* Units a second. average 0: no limit; burst 0: none; seconds: of the burst, at least 1 where there is one. */
struct nbdsvc_limit {
	double average;
	double burst;
	double seconds;
};

struct nbdsvc_bucket {
	struct nbdsvc_limit limit;
	double level; /* units that have not leaked yet */
	double burst_level; /* the same, at the rate of the burst, where that lasts longer than a second */
};

struct nbdsvc_throttle_user {
	uint64_t id; /* 0: a free place */
	double seen; /* when it was here last */
	double turn[NBDSVC_THROTTLE_DIRECTIONS]; /* on the clock of the direction, which counts seconds of limits */
	double waiting[NBDSVC_THROTTLE_DIRECTIONS]; /* since when it waits, as far as it has said */
	uint32_t waits_for[NBDSVC_THROTTLE_DIRECTIONS]; /* these buckets, as bits */
};

struct nbdsvc_throttle {
	struct nbdsvc_bucket buckets[NBDSVC_THROTTLE_LIMITS];
	double operation_size; /* bytes of one operation; a larger request counts as several. 0: every request is one */
	double leaked; /* until when */
	double turn[NBDSVC_THROTTLE_DIRECTIONS]; /* of the user that took last */
	struct nbdsvc_throttle_user users[NBDSVC_THROTTLE_USERS];
};

/*
 * Sets the limits: NBDSVC_THROTTLE_LIMITS of them. What buckets have stays in them, up to their new size: a debt that was made
 * at the old rate could last for hours at a lower one.
 */
void nbdsvc_throttle_set(struct nbdsvc_throttle *throttle, const struct nbdsvc_limit *limits, double operation_size,
			 double now);
/* 1 where there is any limit. */
int nbdsvc_throttle_limits(const struct nbdsvc_throttle *throttle);
/*
 * Takes one request of `bytes` for a user (not 0), or refuses it: the seconds, more than 0, after which it is to ask again.
 * more: whether it has another one behind this, so that no user whose turn is later goes in between.
 * now: seconds of a clock that does not go back; if it does, nothing leaks until it is where it was.
 */
double nbdsvc_throttle_take(struct nbdsvc_throttle *throttle, uint64_t user, int direction, uint64_t bytes, int more,
			    double now);

#endif
