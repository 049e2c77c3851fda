#include "serve/gate.h"

#include <errno.h>
#include <time.h>

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void nbdsvc_gate_init(struct nbdsvc_gate *gate)
{
	pthread_condattr_t attributes;
	*gate = (struct nbdsvc_gate){ .deadline = 0 };
	pthread_mutex_init(&gate->mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&gate->changed, &attributes);
	pthread_condattr_destroy(&attributes);
}

void nbdsvc_gate_deinit(struct nbdsvc_gate *gate)
{
	pthread_cond_destroy(&gate->changed);
	pthread_mutex_destroy(&gate->mutex);
}

/* With the mutex. Waits for a change until the deadline, and opens the gate when that is over. */
static void wait_or_open(struct nbdsvc_gate *gate)
{
	if (gate->deadline && now_ms() >= gate->deadline) {
		atomic_store(&gate->closed, 0);
		pthread_cond_broadcast(&gate->changed);
		return;
	}
	if (!gate->deadline) {
		pthread_cond_wait(&gate->changed, &gate->mutex);
		return;
	}
	struct timespec until = { .tv_sec = gate->deadline / 1000, .tv_nsec = gate->deadline % 1000 * 1000000 };
	pthread_cond_timedwait(&gate->changed, &gate->mutex, &until);
}

/* Who enters counts itself first and looks then, and who closes does it the other way round: one of them sees the other. */
void nbdsvc_gate_enter(struct nbdsvc_gate *gate)
{
	for (;;) {
		atomic_fetch_add(&gate->inside, 1);
		if (!atomic_load(&gate->closed))
			return;
		nbdsvc_gate_leave(gate);
		pthread_mutex_lock(&gate->mutex);
		while (atomic_load(&gate->closed))
			wait_or_open(gate);
		pthread_mutex_unlock(&gate->mutex);
	}
}

void nbdsvc_gate_leave(struct nbdsvc_gate *gate)
{
	if (atomic_fetch_sub(&gate->inside, 1) != 1 || !atomic_load(&gate->closed))
		return;
	pthread_mutex_lock(&gate->mutex);
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->mutex);
}

int nbdsvc_gate_close(struct nbdsvc_gate *gate, int64_t milliseconds)
{
	pthread_mutex_lock(&gate->mutex);
	gate->deadline = now_ms() + milliseconds;
	atomic_store(&gate->closed, 1);
	while (atomic_load(&gate->inside) && atomic_load(&gate->closed))
		wait_or_open(gate);
	int err = atomic_load(&gate->closed) ? 0 : -ETIMEDOUT;
	pthread_mutex_unlock(&gate->mutex);
	return err;
}

int nbdsvc_gate_keep(struct nbdsvc_gate *gate)
{
	pthread_mutex_lock(&gate->mutex);
	int err = atomic_load(&gate->closed) ? 0 : -ETIMEDOUT;
	gate->deadline = 0;
	pthread_mutex_unlock(&gate->mutex);
	return err;
}

int nbdsvc_gate_end(struct nbdsvc_gate *gate)
{
	pthread_mutex_lock(&gate->mutex);
	int err = atomic_load(&gate->closed) ? 0 : -ETIMEDOUT;
	atomic_store(&gate->closed, 0);
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->mutex);
	return err;
}

void nbdsvc_gate_open(struct nbdsvc_gate *gate)
{
	pthread_mutex_lock(&gate->mutex);
	atomic_store(&gate->closed, 0);
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->mutex);
}
