/* Locks of byte ranges: at most one holder of each byte. Few are held at once, by a server's threads. */
#ifndef NBDSVC_RANGES_H
#define NBDSVC_RANGES_H

#include <pthread.h>
#include <stdint.h>

struct nbdsvc_range {
	uint64_t begin;
	uint64_t end;
	struct nbdsvc_range *next;
};

struct nbdsvc_ranges {
	pthread_mutex_t mutex; /* of what follows */
	pthread_cond_t released;
	struct nbdsvc_range *held;
	int abandoned;
};

void nbdsvc_ranges_init(struct nbdsvc_ranges *ranges);
void nbdsvc_ranges_deinit(struct nbdsvc_ranges *ranges);
/* `range` is its caller's, in place until release. A thread holds one at a time. 0, and nothing is held, once abandoned. */
int nbdsvc_ranges_hold(struct nbdsvc_ranges *ranges, struct nbdsvc_range *range, uint64_t length, uint64_t offset);
void nbdsvc_ranges_release(struct nbdsvc_ranges *ranges, struct nbdsvc_range *range);
/* No one waits for a range any more. */
void nbdsvc_ranges_abandon(struct nbdsvc_ranges *ranges);

#endif
