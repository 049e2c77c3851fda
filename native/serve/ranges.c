#include "serve/ranges.h"

#include <stddef.h>

void nbdsvc_ranges_init(struct nbdsvc_ranges *ranges)
{
	ranges->held = NULL;
	ranges->abandoned = 0;
	pthread_mutex_init(&ranges->mutex, NULL);
	pthread_cond_init(&ranges->released, NULL);
}

void nbdsvc_ranges_deinit(struct nbdsvc_ranges *ranges)
{
	pthread_cond_destroy(&ranges->released);
	pthread_mutex_destroy(&ranges->mutex);
}

static int is_free(const struct nbdsvc_ranges *ranges, const struct nbdsvc_range *wanted)
{
	for (const struct nbdsvc_range *held = ranges->held; held; held = held->next) {
		if (held->begin < wanted->end && wanted->begin < held->end)
			return 0;
	}
	return 1;
}

int nbdsvc_ranges_hold(struct nbdsvc_ranges *ranges, struct nbdsvc_range *range, uint64_t length, uint64_t offset)
{
	*range = (struct nbdsvc_range){ .begin = offset, .end = offset + length };
	pthread_mutex_lock(&ranges->mutex);
	while (!ranges->abandoned && !is_free(ranges, range))
		pthread_cond_wait(&ranges->released, &ranges->mutex);
	int is_held = !ranges->abandoned;
	if (is_held) {
		range->next = ranges->held;
		ranges->held = range;
	}
	pthread_mutex_unlock(&ranges->mutex);
	return is_held;
}

void nbdsvc_ranges_abandon(struct nbdsvc_ranges *ranges)
{
	pthread_mutex_lock(&ranges->mutex);
	ranges->abandoned = 1;
	pthread_cond_broadcast(&ranges->released);
	pthread_mutex_unlock(&ranges->mutex);
}

void nbdsvc_ranges_release(struct nbdsvc_ranges *ranges, struct nbdsvc_range *range)
{
	pthread_mutex_lock(&ranges->mutex);
	struct nbdsvc_range **at = &ranges->held;
	while (*at != range)
		at = &(*at)->next;
	*at = range->next;
	pthread_cond_broadcast(&ranges->released);
	pthread_mutex_unlock(&ranges->mutex);
}
