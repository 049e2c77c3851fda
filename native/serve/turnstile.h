/* Lets one thread at a time through, in the order in which they came. A mutex would let one that comes later go first. */
#ifndef NBDSVC_TURNSTILE_H
#define NBDSVC_TURNSTILE_H

#include <pthread.h>

struct nbdsvc_waiter;

struct nbdsvc_turnstile {
	pthread_mutex_t mutex; /* of what follows */
	int taken;
	struct nbdsvc_waiter *first;
	struct nbdsvc_waiter **end; /* where the next one is put */
};

void nbdsvc_turnstile_init(struct nbdsvc_turnstile *turnstile);
void nbdsvc_turnstile_deinit(struct nbdsvc_turnstile *turnstile);
/* Returns when all that entered before have left. */
void nbdsvc_turnstile_enter(struct nbdsvc_turnstile *turnstile);
void nbdsvc_turnstile_leave(struct nbdsvc_turnstile *turnstile);
/* Whether others wait. */
int nbdsvc_turnstile_has_more(struct nbdsvc_turnstile *turnstile);

#endif
