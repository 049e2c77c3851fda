#define _GNU_SOURCE
#include "serve/mirror_state.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

static int create(struct nbdsvc_mirror *mirror, uint64_t rate)
{
	int64_t size = nbdsvc_vol_size(mirror->source), room = nbdsvc_second_size(mirror->destination);
	if (size < 0 || room < 0)
		return size < 0 ? size : room;
	mirror->progress.size = size;
	return room < size ? -ENOSPC : nbdsvc_token_bucket_create(rate, &mirror->bucket);
}

int nbdsvc_mirror_create(struct nbdsvc_vol *source, struct nbdsvc_second *destination, int is_zero, uint64_t rate,
			 struct nbdsvc_mirror **ret)
{
	struct nbdsvc_mirror *mirror = calloc(1, sizeof(*mirror));
	int err = -ENOMEM;
	if (mirror) {
		mirror->source = source;
		mirror->destination = destination;
		mirror->is_zero = is_zero;
		err = create(mirror, rate);
	}
	if (err) {
		nbdsvc_second_destroy(destination);
		free(mirror);
		return err;
	}
	nbdsvc_ranges_init(&mirror->ranges);
	pthread_mutex_init(&mirror->mutex, NULL);
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&mirror->changed, &attributes);
	pthread_condattr_destroy(&attributes);
	*ret = mirror;
	return 0;
}

void nbdsvc_mirror_destroy(struct nbdsvc_mirror *mirror)
{
	if (!mirror)
		return;
	atomic_store(&mirror->stopped, 1);
	if (mirror->runs)
		pthread_join(mirror->thread, NULL);
	nbdsvc_token_bucket_destroy(mirror->bucket);
	nbdsvc_ranges_deinit(&mirror->ranges);
	pthread_cond_destroy(&mirror->changed);
	pthread_mutex_destroy(&mirror->mutex);
	nbdsvc_second_destroy(mirror->destination);
	free(mirror);
}

struct nbdsvc_second *nbdsvc_mirror_destination(struct nbdsvc_mirror *mirror)
{
	return mirror->destination;
}

void nbdsvc_mirror_set_rate(struct nbdsvc_mirror *mirror, uint64_t rate)
{
	nbdsvc_token_bucket_set(mirror->bucket, rate);
}

void nbdsvc_mirror_progress(struct nbdsvc_mirror *mirror, struct nbdsvc_mirror_progress *ret)
{
	pthread_mutex_lock(&mirror->mutex);
	*ret = mirror->progress;
	pthread_mutex_unlock(&mirror->mutex);
}

int nbdsvc_mirror_lives(struct nbdsvc_mirror *mirror)
{
	struct nbdsvc_mirror_progress now;
	nbdsvc_mirror_progress(mirror, &now);
	return now.state != NBDSVC_MIRROR_FAILED;
}

int nbdsvc_mirror_enter(struct nbdsvc_mirror *mirror)
{
	pthread_mutex_lock(&mirror->mutex);
	while (mirror->progress.state == NBDSVC_MIRROR_FAILED && mirror->choice == BOUND)
		pthread_cond_wait(&mirror->changed, &mirror->mutex);
	int ret = mirror->progress.state != NBDSVC_MIRROR_FAILED;
	if (ret)
		mirror->inside++;
	else if (mirror->choice == MOVED)
		ret = -mirror->progress.error;
	pthread_mutex_unlock(&mirror->mutex);
	return ret;
}

void nbdsvc_mirror_leave(struct nbdsvc_mirror *mirror)
{
	pthread_mutex_lock(&mirror->mutex);
	if (!--mirror->inside)
		pthread_cond_broadcast(&mirror->changed);
	pthread_mutex_unlock(&mirror->mutex);
}

void nbdsvc_mirror_fail(struct nbdsvc_mirror *mirror, int err, int while_reading, uint64_t offset)
{
	pthread_mutex_lock(&mirror->mutex);
	if (mirror->progress.state != NBDSVC_MIRROR_FAILED) {
		mirror->progress.state = NBDSVC_MIRROR_FAILED;
		mirror->progress.error = -err;
		mirror->progress.while_reading = while_reading;
		mirror->progress.offset = offset;
	}
	pthread_mutex_unlock(&mirror->mutex);
}

int nbdsvc_mirror_answer(struct nbdsvc_mirror *mirror, int err, int there, uint64_t offset)
{
	if (!there)
		return err;
	nbdsvc_mirror_fail(mirror, there, 0, offset);
	pthread_mutex_lock(&mirror->mutex);
	while (mirror->choice == BOUND)
		pthread_cond_wait(&mirror->changed, &mirror->mutex);
	int moved = mirror->choice == MOVED;
	pthread_mutex_unlock(&mirror->mutex);
	return moved ? there : err;
}

static void choose(struct nbdsvc_mirror *mirror, int choice)
{
	pthread_mutex_lock(&mirror->mutex);
	mirror->choice = choice;
	pthread_cond_broadcast(&mirror->changed);
	pthread_mutex_unlock(&mirror->mutex);
}

void nbdsvc_mirror_bind(struct nbdsvc_mirror *mirror)
{
	choose(mirror, BOUND);
}

void nbdsvc_mirror_decide(struct nbdsvc_mirror *mirror, int moved)
{
	choose(mirror, moved ? MOVED : FREE);
}

int nbdsvc_mirror_end(struct nbdsvc_mirror *mirror, int64_t milliseconds)
{
	struct timespec until;
	int timed_out = 0;
	nbdsvc_mirror_fail(mirror, -ECANCELED, 0, 0);
	atomic_store(&mirror->stopped, 1);
	nbdsvc_second_interrupt(mirror->destination);
	nbdsvc_ranges_abandon(&mirror->ranges);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (until.tv_nsec / 1000000 + milliseconds) / 1000;
	until.tv_nsec = (until.tv_nsec / 1000000 + milliseconds) % 1000 * 1000000;
	pthread_mutex_lock(&mirror->mutex);
	while (mirror->inside && !timed_out)
		timed_out = pthread_cond_timedwait(&mirror->changed, &mirror->mutex, &until);
	int err = mirror->inside ? -ETIMEDOUT : 0;
	pthread_mutex_unlock(&mirror->mutex);
	return err;
}
