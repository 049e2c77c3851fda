/* The thread that makes the destination like the source, and what it shares with requests that failed at the source. */
#define _GNU_SOURCE
#include "copy/zero.h"
#include "serve/mirror_state.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

/* What the copy locks at a time: a client's write into it waits that long, a millisecond or so. */
static const uint64_t REGION = 256 << 10;
/* The copy syncs the destination so often: a client's flush, which waits for all that is written there, stays short. */
static const uint64_t SYNC_EVERY = 16 << 20;

static void advance(struct nbdsvc_mirror *mirror, uint64_t done)
{
	pthread_mutex_lock(&mirror->mutex);
	mirror->progress.done = done;
	pthread_mutex_unlock(&mirror->mutex);
}

/* Zeros at the destination, as at the source: a range is skipped where it has never been anything else. */
static int copy_zeros(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset, int is_zero)
{
	return is_zero ? 0 : nbdsvc_second_zero(mirror->destination, length, offset, NBDSVC_MAY_TRIM);
}

/* Makes at most a region of the destination like the source; its range is held. Failures are noted. */
static int copy_held(struct nbdsvc_mirror *mirror, void *buffer, uint64_t length, uint64_t offset, int is_zero)
{
	int err = 0;
	while (length && !err) {
		uint64_t piece;
		int hole;
		nbdsvc_vol_extent(mirror->source, length, offset, &piece, &hole);
		int read = hole ? 0 : nbdsvc_vol_pread(mirror->source, buffer, piece, offset);
		if (read)
			err = read;
		else if (hole || nbdsvc_is_zero(buffer, piece))
			err = copy_zeros(mirror, piece, offset, is_zero);
		else
			err = nbdsvc_second_pwrite(mirror->destination, buffer, piece, offset, 0);
		if (err)
			nbdsvc_mirror_fail(mirror, err, read != 0, offset);
		offset += piece;
		length -= piece;
	}
	return err;
}

void nbdsvc_mirror_heal(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset)
{
	if (!nbdsvc_vol_has(mirror->source, length, offset))
		return;
	void *buffer = malloc(REGION);
	if (!buffer)
		nbdsvc_mirror_fail(mirror, -ENOMEM, 0, offset);
	for (int err = 0; buffer && length && !err;) {
		uint64_t piece = length < REGION ? length : REGION;
		err = copy_held(mirror, buffer, piece, offset, 0);
		offset += piece;
		length -= piece;
	}
	free(buffer);
}

/* A limit below a region a second makes the copy wait for long: a stop does not. */
static void wait_for_turn(struct nbdsvc_mirror *mirror, uint64_t bytes)
{
	uint64_t wait;
	while (!atomic_load(&mirror->stopped) && (wait = nbdsvc_token_bucket_take(mirror->bucket, &mirror->share, bytes))) {
		struct timespec pause = { .tv_nsec = wait };
		nanosleep(&pause, NULL);
	}
}

static int copy_region(struct nbdsvc_mirror *mirror, void *buffer, uint64_t length, uint64_t offset)
{
	struct nbdsvc_range range;
	if (!nbdsvc_ranges_hold(&mirror->ranges, &range, length, offset))
		return -ECANCELED;
	int err = copy_held(mirror, buffer, length, offset, mirror->is_zero);
	nbdsvc_ranges_release(&mirror->ranges, &range);
	return err;
}

static int sync_destination(struct nbdsvc_mirror *mirror, uint64_t offset)
{
	int err = nbdsvc_second_flush(mirror->destination);
	if (err)
		nbdsvc_mirror_fail(mirror, err, 0, offset);
	return err;
}

/* A hole costs no turn: who limits the copy limits what goes over a disk. */
static int is_hole(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset)
{
	uint64_t found;
	int hole;
	nbdsvc_vol_extent(mirror->source, length, offset, &found, &hole);
	return hole && found >= length;
}

static int copy_all(struct nbdsvc_mirror *mirror, void *buffer)
{
	uint64_t size = mirror->progress.size, unsynced = 0;
	int err = 0;
	for (uint64_t at = 0; at < size && !err && !atomic_load(&mirror->stopped) && nbdsvc_mirror_lives(mirror);) {
		uint64_t length = size - at < REGION ? size - at : REGION;
		if (!is_hole(mirror, length, at)) {
			wait_for_turn(mirror, length);
			unsynced += length;
		}
		err = copy_region(mirror, buffer, length, at);
		at += length;
		advance(mirror, at);
		if (!err && unsynced >= SYNC_EVERY) {
			err = sync_destination(mirror, at);
			unsynced = 0;
		}
	}
	return err || atomic_load(&mirror->stopped) ? err : sync_destination(mirror, size);
}

static void *copy(void *argument)
{
	struct nbdsvc_mirror *mirror = argument;
	void *buffer = malloc(REGION);
	if (!buffer)
		nbdsvc_mirror_fail(mirror, -ENOMEM, 0, 0);
	nbdsvc_token_bucket_join(mirror->bucket, &mirror->share);
	int err = buffer ? copy_all(mirror, buffer) : -ENOMEM;
	nbdsvc_token_bucket_leave(mirror->bucket, &mirror->share);
	free(buffer);
	pthread_mutex_lock(&mirror->mutex);
	if (!err && !atomic_load(&mirror->stopped) && mirror->progress.state == NBDSVC_MIRROR_COPYING)
		mirror->progress.state = NBDSVC_MIRROR_SYNCHRONISED;
	pthread_mutex_unlock(&mirror->mutex);
	nbdsvc_mirror_leave(mirror);
	return NULL;
}

int nbdsvc_mirror_run(struct nbdsvc_mirror *mirror)
{
	nbdsvc_mirror_enter(mirror);
	int err = pthread_create(&mirror->thread, NULL, copy, mirror);
	mirror->runs = !err;
	if (err)
		nbdsvc_mirror_leave(mirror);
	return -err;
}
