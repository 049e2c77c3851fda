#define _GNU_SOURCE
#include "copy/chunk.h"
#include "sink/output.h"
#include "copy/piece.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How soon a thread that waits for its turn to place a chunk notices that there will be no turn. */
static const long TURN_NS = 50 * 1000000;

static void hash(struct nbdsvc_worker *worker, const void *buffer, size_t length)
{
	if (worker->hash)
		nbdsvc_digest_update(worker->hash, buffer, length);
}

static void hash_zeros(struct nbdsvc_worker *worker, uint64_t length)
{
	while (worker->hash && length) {
		size_t piece = length < NBDSVC_GRAIN ? length : NBDSVC_GRAIN;
		hash(worker, worker->zeros, piece);
		length -= piece;
	}
}

int nbdsvc_zero_digest(unsigned char *ret)
{
	static const unsigned char zeros[4096];
	struct nbdsvc_digest *digest = nbdsvc_digest_create();
	if (!digest)
		return -ENOMEM;
	for (uint64_t at = 0; at < NBDSVC_CHUNK; at += sizeof(zeros))
		nbdsvc_digest_update(digest, zeros, sizeof(zeros));
	nbdsvc_digest_get(digest, ret);
	nbdsvc_digest_destroy(digest);
	return 0;
}

/* Wait until the bucket has this many tokens. The bucket may be NULL. */
static int take(struct nbdsvc_state *state, struct nbdsvc_token_bucket *bucket, struct nbdsvc_share *share, uint64_t amount)
{
	uint64_t wait;
	while ((wait = nbdsvc_token_bucket_take(bucket, share, amount))) {
		if (nbdsvc_state_stopped(state))
			return -ECANCELED;
		nanosleep(&(struct timespec){ .tv_nsec = wait }, NULL);
	}
	return 0;
}

/* Microseconds of processor time of this thread since its last payment to the bucket. */
static uint64_t worked(struct nbdsvc_worker *worker)
{
	struct timespec time;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	uint64_t now = time.tv_sec * 1000000ULL + time.tv_nsec / 1000, spent = now - worker->paid;
	worker->paid = now;
	return spent;
}

/* Wait until the limits let the bytes pass. */
static int pace(struct nbdsvc_worker *worker, uint64_t bytes)
{
	struct nbdsvc_state *state = worker->state;
	struct nbdsvc_copy *copy = state->copy;
	int err = copy->cpu ? take(state, copy->cpu, &state->cpu_share, worked(worker)) : 0;
	for (int i = 0; i < NBDSVC_LIMITS && !err; i++)
		err = take(state, copy->buckets[i], &state->shares[i], bytes);
	return err ? err : nbdsvc_state_stopped(state) ? -ECANCELED : 0;
}

static int is_zero(const struct nbdsvc_piece *piece, size_t at)
{
	return piece->zeros >> at / NBDSVC_GRAIN & 1;
}

static int write_data(struct nbdsvc_worker *worker, const struct nbdsvc_piece *piece, size_t from, size_t to, uint64_t offset)
{
	struct nbdsvc_sink *sink = worker->state->copy->sink;
	if (piece->fd >= 0 && sink->send)
		return sink->send(sink, worker->sink_scratch, piece->fd, piece->at + from, to - from, offset + from);
	return sink->pwrite(sink, worker->sink_scratch, piece->bytes + from, to - from, offset + from);
}

static int write_run(struct nbdsvc_worker *worker, const struct nbdsvc_piece *piece, size_t from, size_t to, uint64_t offset)
{
	struct nbdsvc_copy *copy = worker->state->copy;
	struct nbdsvc_sink *sink = copy->sink;
	int zero = is_zero(piece, from);
	int err = zero ? sink->zero(sink, worker->sink_scratch, to - from, offset + from)
		       : write_data(worker, piece, from, to, offset);
	if (err == -EFAULT && piece->fd >= 0) /* the page that was looked at is gone: the file became shorter */
		nbdsvc_state_fail(worker->state, -ESPIPE, NBDSVC_SIDE_READ, offset + from);
	else if (err)
		nbdsvc_state_fail(worker->state, err, NBDSVC_SIDE_WRITE, offset + from);
	else if (!zero)
		__atomic_fetch_add(&copy->data, to - from, __ATOMIC_RELAXED);
	return err;
}

/* Write the data of a piece in runs as long as possible, and zero the rest. */
static int write_piece(struct nbdsvc_worker *worker, const struct nbdsvc_piece *piece, uint64_t offset)
{
	size_t from = 0;
	while (from < piece->length) {
		size_t to = from + NBDSVC_GRAIN;
		while (to < piece->length && is_zero(piece, to) == is_zero(piece, from))
			to += NBDSVC_GRAIN;
		if (to > piece->length)
			to = piece->length;
		int err = write_run(worker, piece, from, to, offset);
		if (err)
			return err;
		from = to;
	}
	return 0;
}

static int copy_data(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset)
{
	while (length) {
		struct nbdsvc_piece piece;
		int err = nbdsvc_state_stopped(worker->state) ? -ECANCELED : nbdsvc_piece_get(worker, length, offset, &piece);
		if (err)
			return err;
		err = pace(worker, piece.length);
		if (!err && !worker->dry)
			err = write_piece(worker, &piece, offset);
		nbdsvc_piece_put(&piece);
		if (err)
			return err;
		__atomic_fetch_add(&worker->state->copy->done, piece.length, __ATOMIC_RELAXED);
		offset += piece.length;
		length -= piece.length;
	}
	return 0;
}

static int copy_zeros(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset)
{
	struct nbdsvc_copy *copy = worker->state->copy;
	if (length < NBDSVC_CHUNK)
		hash_zeros(worker, length);
	int err = worker->dry ? 0 : copy->sink->zero(copy->sink, worker->sink_scratch, length, offset);
	if (err)
		nbdsvc_state_fail(worker->state, err, NBDSVC_SIDE_WRITE, offset);
	else
		__atomic_fetch_add(&copy->done, length, __ATOMIC_RELAXED);
	return err;
}

/* The run of one kind that starts at offset, cut so that the sink's grains stay whole: a grain that is partly data is data. */
static int next_run(struct nbdsvc_worker *worker, uint64_t offset, uint64_t end, struct nbdsvc_extent *ret)
{
	struct nbdsvc_copy *copy = worker->state->copy;
	struct nbdsvc_source *source = copy->source;
	uint64_t grain = copy->sink->grain, at = offset;
	int kind = -1;
	while (at < end) {
		struct nbdsvc_extent extent = { .length = end - at, .kind = NBDSVC_EXTENT_ZERO };
		int err = at < source->size ? source->extent(source, at, &extent) : 0;
		if (err)
			return err;
		if (kind >= 0 && extent.kind != kind)
			break;
		kind = extent.kind;
		at += extent.length < end - at ? extent.length : end - at;
	}
	uint64_t length = at - offset;
	if (at < end && kind == NBDSVC_EXTENT_ZERO)
		length &= ~(grain - 1);
	else
		length = (length + grain - 1) & ~(grain - 1);
	if (length == 0) {
		length = grain;
		kind = NBDSVC_EXTENT_DATA;
	}
	*ret = (struct nbdsvc_extent){ .length = length < end - offset ? length : end - offset, .kind = kind };
	return 0;
}

static unsigned char *early_byte(struct nbdsvc_state *state, uint64_t index)
{
	return &state->early[index % NBDSVC_EARLY / 8];
}

/* Record that the next chunk is placed, and with it the chunks of zeros after it. The lock is held. */
static void advance(struct nbdsvc_state *state)
{
	state->placed++;
	while (*early_byte(state, state->placed) >> state->placed % 8 & 1) {
		*early_byte(state, state->placed) &= ~(1 << state->placed % 8);
		state->placed++;
	}
	if (state->waiting)
		pthread_cond_broadcast(&state->advanced);
}

/* Whether the chunk of zeros could be noted without waiting for its turn: an empty image is as fast as a raw file. */
static int place_early(struct nbdsvc_state *state, uint64_t index)
{
	pthread_mutex_lock(&state->lock);
	int fits = index - state->placed < NBDSVC_EARLY;
	if (index == state->placed)
		advance(state);
	else if (fits)
		*early_byte(state, index) |= 1 << index % 8;
	pthread_mutex_unlock(&state->lock);
	return fits;
}

/* An ordered sink places chunk after chunk. A thread here waits for a smaller index, so no wait lasts for ever. */
static int place(struct nbdsvc_worker *worker, uint64_t index)
{
	struct nbdsvc_state *state = worker->state;
	struct nbdsvc_sink *sink = state->copy->sink;
	int err = 0;
	pthread_mutex_lock(&state->lock);
	state->waiting++;
	while (state->placed != index && !nbdsvc_state_stopped(state)) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += TURN_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&state->advanced, &state->lock, &until);
	}
	state->waiting--;
	if (state->placed != index)
		err = -ECANCELED;
	else if ((err = sink->place(sink, worker->sink_scratch)) == 0)
		advance(state);
	if (err)
		pthread_cond_broadcast(&state->advanced);
	pthread_mutex_unlock(&state->lock);
	if (!err)
		err = sink->store(sink, worker->sink_scratch);
	if (err)
		nbdsvc_state_fail(state, err, NBDSVC_SIDE_WRITE, index * NBDSVC_CHUNK);
	return err;
}

static void keep_digest(struct nbdsvc_worker *worker, uint64_t index, int all_zero)
{
	unsigned char *to = worker->state->copy->digests + index * NBDSVC_DIGEST_SIZE;
	if (all_zero)
		memcpy(to, worker->state->zero_digest, NBDSVC_DIGEST_SIZE);
	else
		nbdsvc_digest_get(worker->hash, to);
}

int nbdsvc_chunk_copy(struct nbdsvc_worker *worker, uint64_t index)
{
	struct nbdsvc_state *state = worker->state;
	uint64_t offset = index * NBDSVC_CHUNK;
	uint64_t end = offset + NBDSVC_CHUNK < state->copy->size ? offset + NBDSVC_CHUNK : state->copy->size;
	int all_zero = 0;
	if (worker->hash)
		nbdsvc_digest_reset(worker->hash);
	while (offset < end) {
		struct nbdsvc_extent extent;
		int err = next_run(worker, offset, end, &extent);
		if (err) {
			nbdsvc_state_fail(state, err, NBDSVC_SIDE_READ, offset);
			return err;
		}
		all_zero = extent.kind == NBDSVC_EXTENT_ZERO && extent.length == NBDSVC_CHUNK;
		err = extent.kind == NBDSVC_EXTENT_DATA ? copy_data(worker, extent.length, offset)
							: copy_zeros(worker, extent.length, offset);
		if (err)
			return err;
		offset += extent.length;
	}
	if (worker->hash)
		keep_digest(worker, index, all_zero);
	struct nbdsvc_sink *sink = state->copy->sink;
	if (!sink->place || worker->dry || (all_zero && sink->zeros_are_nothing && place_early(state, index)))
		return 0;
	return place(worker, index);
}
