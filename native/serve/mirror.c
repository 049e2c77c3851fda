#define _GNU_SOURCE
#include "serve/mirror.h"
#include "copy/token_bucket.h"
#include "copy/zero.h"
#include "serve/ranges.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What the copy locks at a time: a client's write into it waits that long, a millisecond or so. */
static const uint64_t REGION = 256 << 10;
/* The copy syncs the destination so often: a client's flush, which waits for all that is written there, stays short. */
static const uint64_t SYNC_EVERY = 16 << 20;

struct nbdsvc_mirror {
	struct nbdsvc_vol *source;
	struct nbdsvc_vol *destination;
	int is_zero;
	struct nbdsvc_ranges ranges;
	struct nbdsvc_token_bucket *bucket;
	struct nbdsvc_share share;
	pthread_t thread;
	int runs;
	atomic_int stopped;
	pthread_mutex_t mutex; /* of what follows */
	struct nbdsvc_mirror_progress progress;
};

static int create(struct nbdsvc_mirror *mirror, uint64_t rate)
{
	int64_t size = nbdsvc_vol_size(mirror->source), room = nbdsvc_vol_size(mirror->destination);
	if (size < 0 || room < 0)
		return size < 0 ? size : room;
	mirror->progress.size = size;
	return room < size ? -ENOSPC : nbdsvc_token_bucket_create(rate, &mirror->bucket);
}

int nbdsvc_mirror_create(struct nbdsvc_vol *source, struct nbdsvc_vol *destination, int is_zero, uint64_t rate,
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
		nbdsvc_vol_destroy(destination);
		free(mirror);
		return err;
	}
	nbdsvc_ranges_init(&mirror->ranges);
	pthread_mutex_init(&mirror->mutex, NULL);
	*ret = mirror;
	return 0;
}

void nbdsvc_mirror_stop(struct nbdsvc_mirror *mirror)
{
	atomic_store(&mirror->stopped, 1);
	if (mirror->runs)
		pthread_join(mirror->thread, NULL);
	mirror->runs = 0;
}

void nbdsvc_mirror_destroy(struct nbdsvc_mirror *mirror)
{
	if (!mirror)
		return;
	nbdsvc_mirror_stop(mirror);
	nbdsvc_token_bucket_destroy(mirror->bucket);
	nbdsvc_ranges_deinit(&mirror->ranges);
	pthread_mutex_destroy(&mirror->mutex);
	nbdsvc_vol_destroy(mirror->destination);
	free(mirror);
}

struct nbdsvc_vol *nbdsvc_mirror_destination(struct nbdsvc_mirror *mirror)
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

static int lives(struct nbdsvc_mirror *mirror)
{
	struct nbdsvc_mirror_progress now;
	nbdsvc_mirror_progress(mirror, &now);
	return now.state != NBDSVC_MIRROR_FAILED;
}

/* The first failure counts. */
static void fail(struct nbdsvc_mirror *mirror, int err, int while_reading, uint64_t offset)
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

static void advance(struct nbdsvc_mirror *mirror, uint64_t done)
{
	pthread_mutex_lock(&mirror->mutex);
	mirror->progress.done = done;
	pthread_mutex_unlock(&mirror->mutex);
}

/* Zeros at the destination, as at the source: a range is skipped where it has never been anything else. */
static int copy_zeros(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset, int is_zero)
{
	return is_zero ? 0 : nbdsvc_vol_zero(mirror->destination, length, offset, NBDSVC_MAY_TRIM);
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
			err = nbdsvc_vol_pwrite(mirror->destination, buffer, piece, offset, 0);
		if (err)
			fail(mirror, err, read != 0, offset);
		offset += piece;
		length -= piece;
	}
	return err;
}

/* After a failed request: whatever it left at the source is copied. The range is held. */
static void heal(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset)
{
	void *buffer = malloc(REGION);
	if (!buffer)
		fail(mirror, -ENOMEM, 0, offset);
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
	nbdsvc_ranges_hold(&mirror->ranges, &range, length, offset);
	int err = copy_held(mirror, buffer, length, offset, mirror->is_zero);
	nbdsvc_ranges_release(&mirror->ranges, &range);
	return err;
}

static int sync_destination(struct nbdsvc_mirror *mirror, uint64_t offset)
{
	int err = nbdsvc_vol_flush(mirror->destination);
	if (err)
		fail(mirror, err, 0, offset);
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
	for (uint64_t at = 0; at < size && !err && !atomic_load(&mirror->stopped) && lives(mirror);) {
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
	return err ? err : sync_destination(mirror, size);
}

static void *copy(void *argument)
{
	struct nbdsvc_mirror *mirror = argument;
	void *buffer = malloc(REGION);
	if (!buffer)
		fail(mirror, -ENOMEM, 0, 0);
	nbdsvc_token_bucket_join(mirror->bucket, &mirror->share);
	int err = buffer ? copy_all(mirror, buffer) : -ENOMEM;
	nbdsvc_token_bucket_leave(mirror->bucket, &mirror->share);
	free(buffer);
	pthread_mutex_lock(&mirror->mutex);
	if (!err && !atomic_load(&mirror->stopped) && mirror->progress.state == NBDSVC_MIRROR_COPYING)
		mirror->progress.state = NBDSVC_MIRROR_SYNCHRONISED;
	pthread_mutex_unlock(&mirror->mutex);
	return NULL;
}

int nbdsvc_mirror_run(struct nbdsvc_mirror *mirror)
{
	int err = pthread_create(&mirror->thread, NULL, copy, mirror);
	mirror->runs = !err;
	return -err;
}

int nbdsvc_mirror_pwrite(struct nbdsvc_mirror *mirror, const void *buffer, size_t length, uint64_t offset, int flags)
{
	struct nbdsvc_range range;
	if (!lives(mirror))
		return nbdsvc_vol_pwrite(mirror->source, buffer, length, offset, flags);
	nbdsvc_ranges_hold(&mirror->ranges, &range, length, offset);
	int err = nbdsvc_vol_pwrite(mirror->source, buffer, length, offset, flags);
	int there = err ? 0 : nbdsvc_vol_pwrite(mirror->destination, buffer, length, offset, flags);
	if (there)
		fail(mirror, there, 0, offset);
	if (err)
		heal(mirror, length, offset);
	nbdsvc_ranges_release(&mirror->ranges, &range);
	return err;
}

/* The destination zeros also where that is not fast: the source has, and its client is to get its answer. */
int nbdsvc_mirror_zero(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset, int flags)
{
	struct nbdsvc_range range;
	if (!lives(mirror))
		return nbdsvc_vol_zero(mirror->source, length, offset, flags);
	nbdsvc_ranges_hold(&mirror->ranges, &range, length, offset);
	int err = nbdsvc_vol_zero(mirror->source, length, offset, flags);
	int there = err ? 0 : nbdsvc_vol_zero(mirror->destination, length, offset, flags & ~NBDSVC_FAST);
	if (there)
		fail(mirror, there, 0, offset);
	if (err && err != -EOPNOTSUPP) /* with that one nothing was changed */
		heal(mirror, length, offset);
	nbdsvc_ranges_release(&mirror->ranges, &range);
	return err;
}

/* A discarded range reads as zeros; where the source cannot discard it, nothing changes. */
int nbdsvc_mirror_trim(struct nbdsvc_mirror *mirror, uint64_t length, uint64_t offset, int flags)
{
	struct nbdsvc_range range;
	if (!lives(mirror))
		return nbdsvc_vol_trim(mirror->source, length, offset, flags);
	nbdsvc_ranges_hold(&mirror->ranges, &range, length, offset);
	int err = nbdsvc_vol_punch(mirror->source, length, offset, flags);
	int there = err ? 0 : nbdsvc_vol_zero(mirror->destination, length, offset, (flags | NBDSVC_MAY_TRIM) & ~NBDSVC_FAST);
	if (there)
		fail(mirror, there, 0, offset);
	if (err && err != -EOPNOTSUPP && err != -EINVAL)
		heal(mirror, length, offset);
	nbdsvc_ranges_release(&mirror->ranges, &range);
	return err == -EOPNOTSUPP ? 0 : err;
}

int nbdsvc_mirror_flush(struct nbdsvc_mirror *mirror)
{
	int err = nbdsvc_vol_flush(mirror->source);
	if (!err && lives(mirror))
		sync_destination(mirror, 0);
	return err;
}
