#include "serve/turnstile.h"

#include <errno.h>
#include <semaphore.h>
#include <stddef.h>

/* On the stack of its thread. */
struct nbdsvc_waiter {
	sem_t turn;
	struct nbdsvc_waiter *next;
};

void nbdsvc_turnstile_init(struct nbdsvc_turnstile *turnstile)
{
	*turnstile = (struct nbdsvc_turnstile){ .end = &turnstile->first };
	pthread_mutex_init(&turnstile->mutex, NULL);
}

void nbdsvc_turnstile_deinit(struct nbdsvc_turnstile *turnstile)
{
	pthread_mutex_destroy(&turnstile->mutex);
}

void nbdsvc_turnstile_enter(struct nbdsvc_turnstile *turnstile)
{
	struct nbdsvc_waiter self = { .next = NULL };
	pthread_mutex_lock(&turnstile->mutex);
	int waits = turnstile->taken;
	turnstile->taken = 1;
	if (waits) {
		sem_init(&self.turn, 0, 0);
		*turnstile->end = &self;
		turnstile->end = &self.next;
	}
	pthread_mutex_unlock(&turnstile->mutex);
	if (!waits)
		return;
	while (sem_wait(&self.turn) < 0 && errno == EINTR)
		;
	sem_destroy(&self.turn);
}

/* Handed to the first that waits, and so not free in between. */
void nbdsvc_turnstile_leave(struct nbdsvc_turnstile *turnstile)
{
	pthread_mutex_lock(&turnstile->mutex);
	struct nbdsvc_waiter *next = turnstile->first;
	turnstile->taken = next != NULL;
	if (next) {
		turnstile->first = next->next;
		if (!next->next)
			turnstile->end = &turnstile->first;
		sem_post(&next->turn);
	}
	pthread_mutex_unlock(&turnstile->mutex);
}

int nbdsvc_turnstile_has_more(struct nbdsvc_turnstile *turnstile)
{
	pthread_mutex_lock(&turnstile->mutex);
	int more = turnstile->first != NULL;
	pthread_mutex_unlock(&turnstile->mutex);
	return more;
}
