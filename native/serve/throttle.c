#include "serve/throttle.h"

/* Without a burst, a bucket holds so many seconds of its average, and with a long one of the burst: QEMU's tenth. */
static const double SHORT_SECONDS = 0.1;
/* A user that was refused asks again within 50 ms (limits.c); after twice that it is taken to be busy elsewhere. */
static const double WAITING_SECONDS = 0.1;
/* How soon a user that is ahead of another asks again; a bucket collects no more than its size meanwhile. */
static const double BEHIND_SECONDS = 0.002;

static double size_of(const struct nbdsvc_limit *limit)
{
	return limit->burst > 0 ? limit->burst * limit->seconds : limit->average * SHORT_SECONDS;
}

static double at_most(double value, double most)
{
	return value < most ? value : most;
}

static double drained(double level, double units)
{
	return level > units ? level - units : 0;
}

static void leak(struct nbdsvc_throttle *throttle, double now)
{
	double seconds = now - throttle->leaked;
	if (seconds <= 0)
		return;
	for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++) {
		struct nbdsvc_bucket *bucket = &throttle->buckets[at];
		bucket->level = drained(bucket->level, bucket->limit.average * seconds);
		bucket->burst_level = drained(bucket->burst_level, bucket->limit.burst * seconds);
	}
	throttle->leaked = now;
}

void nbdsvc_throttle_set(struct nbdsvc_throttle *throttle, const struct nbdsvc_limit *limits, double operation_size,
			 double now)
{
	leak(throttle, now);
	throttle->operation_size = operation_size;
	for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++) {
		struct nbdsvc_bucket *bucket = &throttle->buckets[at];
		bucket->limit = limits[at];
		bucket->level = limits[at].average > 0 ? at_most(bucket->level, size_of(&limits[at])) : 0;
		bucket->burst_level = at_most(bucket->burst_level, limits[at].burst * SHORT_SECONDS);
	}
}

int nbdsvc_throttle_limits(const struct nbdsvc_throttle *throttle)
{
	for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++) {
		if (throttle->buckets[at].limit.average > 0)
			return 1;
	}
	return 0;
}

static int has_long_burst(const struct nbdsvc_limit *limit)
{
	return limit->burst > 0 && limit->seconds > 1;
}

/* Seconds until the bucket takes a request; 0: it takes one now. */
static double wait_of(const struct nbdsvc_bucket *bucket)
{
	const struct nbdsvc_limit *limit = &bucket->limit;
	double over = bucket->level - size_of(limit);
	if (over > 0)
		return over / limit->average;
	over = bucket->burst_level - limit->burst * SHORT_SECONDS;
	return has_long_burst(limit) && over > 0 ? over / limit->burst : 0;
}

/* The buckets that a request in this direction goes through, as bits. */
static uint32_t buckets_of(const struct nbdsvc_throttle *throttle, int direction)
{
	uint32_t found = 0;
	for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++) {
		int kind = at % NBDSVC_THROTTLE_BYTES;
		if ((kind == direction || kind == NBDSVC_THROTTLE_TOTAL) && throttle->buckets[at].limit.average > 0)
			found |= 1u << at;
	}
	return found;
}

/* Reads and writes have one clock where a limit counts both. */
static int clock_of(const struct nbdsvc_throttle *throttle, int direction)
{
	int operations = NBDSVC_THROTTLE_OPERATIONS + NBDSVC_THROTTLE_TOTAL;
	int bytes = NBDSVC_THROTTLE_BYTES + NBDSVC_THROTTLE_TOTAL;
	int shared = throttle->buckets[operations].limit.average > 0 || throttle->buckets[bytes].limit.average > 0;
	return shared ? 0 : direction;
}

/* Its place; a new one gets that which is free, or was seen longest ago. */
static struct nbdsvc_throttle_user *user_of(struct nbdsvc_throttle *throttle, uint64_t id)
{
	struct nbdsvc_throttle_user *idlest = &throttle->users[0];
	for (int at = 0; at < NBDSVC_THROTTLE_USERS; at++) {
		struct nbdsvc_throttle_user *user = &throttle->users[at];
		if (user->id == id)
			return user;
		if (user->seen < idlest->seen)
			idlest = user;
	}
	*idlest = (struct nbdsvc_throttle_user){ .id = id };
	return idlest;
}

/* When it is this user's turn: not before the present, so that what it did not take in the past gives it nothing now. */
static double turn_of(const struct nbdsvc_throttle *throttle, const struct nbdsvc_throttle_user *user, int clock)
{
	return user->turn[clock] > throttle->turn[clock] ? user->turn[clock] : throttle->turn[clock];
}

/* Whether another user, whose turn is earlier, waits for one of these buckets. */
static int is_ahead(const struct nbdsvc_throttle *throttle, const struct nbdsvc_throttle_user *user, uint32_t buckets,
		    int clock, double now)
{
	double turn = turn_of(throttle, user, clock);
	for (int at = 0; at < NBDSVC_THROTTLE_USERS; at++) {
		const struct nbdsvc_throttle_user *other = &throttle->users[at];
		for (int direction = 0; direction < NBDSVC_THROTTLE_DIRECTIONS; direction++) {
			double age = now - other->waiting[direction];
			if (age >= 0 && age < WAITING_SECONDS && other->waits_for[direction] & buckets &&
			    turn_of(throttle, other, clock) < turn)
				return 1;
		}
	}
	return 0;
}

/* The seconds until the last of these buckets takes a request, and which of them are full. */
static double longest_wait(const struct nbdsvc_throttle *throttle, uint32_t buckets, uint32_t *full)
{
	double longest = 0;
	*full = 0;
	for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++) {
		double wait = buckets & 1u << at ? wait_of(&throttle->buckets[at]) : 0;
		*full |= wait > 0 ? 1u << at : 0;
		longest = wait > longest ? wait : longest;
	}
	return longest;
}

static double units_of(const struct nbdsvc_throttle *throttle, int at, uint64_t bytes)
{
	if (at >= NBDSVC_THROTTLE_BYTES)
		return bytes;
	return throttle->operation_size > 0 && bytes > throttle->operation_size ? bytes / throttle->operation_size : 1;
}

/* Returns the request's cost: seconds of the limit that it uses most of. */
static double fill(struct nbdsvc_throttle *throttle, uint32_t buckets, uint64_t bytes)
{
	double cost = 0;
	for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++) {
		struct nbdsvc_bucket *bucket = &throttle->buckets[at];
		double units = units_of(throttle, at, bytes);
		if (!(buckets & 1u << at))
			continue;
		bucket->level += units;
		if (has_long_burst(&bucket->limit))
			bucket->burst_level += units;
		cost = units / bucket->limit.average > cost ? units / bucket->limit.average : cost;
	}
	return cost;
}

double nbdsvc_throttle_take(struct nbdsvc_throttle *throttle, uint64_t id, int direction, uint64_t bytes, int more,
			    double now)
{
	uint32_t buckets = buckets_of(throttle, direction), full;
	int clock = clock_of(throttle, direction);
	if (!buckets)
		return 0;
	leak(throttle, now);
	struct nbdsvc_throttle_user *user = user_of(throttle, id);
	user->seen = now;
	double wait = longest_wait(throttle, buckets, &full);
	if (wait > 0) {
		user->waiting[direction] = now;
		user->waits_for[direction] = full;
		return wait;
	}
	if (is_ahead(throttle, user, buckets, clock, now))
		return BEHIND_SECONDS;
	throttle->turn[clock] = turn_of(throttle, user, clock);
	user->turn[clock] = throttle->turn[clock] + fill(throttle, buckets, bytes);
	user->waiting[direction] = now;
	user->waits_for[direction] = more ? buckets : 0;
	return 0;
}
