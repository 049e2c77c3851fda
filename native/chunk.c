#define _GNU_SOURCE
#include "chunk.h"
#include "output.h"
#include "zero.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* One read and at most one write: large enough for the disk, small enough that it is still in the cache when written. */
static const size_t PIECE = 1 << 20;
/* Zeros are looked for in steps of this size: the cluster size of nearly all images. */
static const size_t GRAIN = 64 << 10;
/* How soon a thread that waits for its turn to place a chunk notices that there will be no turn. */
static const long TURN_NS = 50 * 1000000;

void nbdsvc_state_fail(struct nbdsvc_state *state, int err, int side, uint64_t offset)
{
	int none = 0;
	if (err == -ECANCELED) /* a wait that was interrupted, because of what is known already */
		return;
	if (!atomic_compare_exchange_strong(&state->failed, &none, err))
		return;
	struct nbdsvc_copy *copy = state->copy;
	const char *why = side == NBDSVC_SIDE_READ ? copy->source->reason(copy->source, err) :
			  side == NBDSVC_SIDE_WRITE ? copy->sink->reason(copy->sink, err) : NULL;
	copy->side = side;
	copy->offset = offset;
	snprintf(copy->reason, sizeof(copy->reason), "%s", why ? why : strerror(-err));
}

int nbdsvc_state_stopped(struct nbdsvc_state *state)
{
	return state->copy->cancel || atomic_load_explicit(&state->failed, memory_order_relaxed);
}

static void hash(struct nbdsvc_worker *worker, const void *buffer, size_t length)
{
	if (worker->hash)
		XXH3_128bits_update(worker->hash, buffer, length);
}

static void hash_zeros(struct nbdsvc_worker *worker, uint64_t length)
{
	while (worker->hash && length) {
		size_t piece = length < GRAIN ? length : GRAIN;
		hash(worker, worker->zeros, piece);
		length -= piece;
	}
}

void nbdsvc_zero_digest(unsigned char *ret)
{
	static const unsigned char zeros[4096];
	XXH3_state_t *state = XXH3_createState();
	if (!state)
		return;
	XXH3_128bits_reset(state);
	for (uint64_t at = 0; at < NBDSVC_CHUNK; at += sizeof(zeros))
		XXH3_128bits_update(state, zeros, sizeof(zeros));
	XXH128_canonicalFromHash((XXH128_canonical_t *)ret, XXH3_128bits_digest(state));
	XXH3_freeState(state);
}

/* Wait until the limits let the bytes pass. */
static int pace(struct nbdsvc_state *state, uint64_t bytes)
{
	for (int i = 0; i < 2; i++) {
		uint64_t wait;
		while ((wait = nbdsvc_bucket_take(state->copy->buckets[i], bytes))) {
			if (nbdsvc_state_stopped(state))
				return -ECANCELED;
			nanosleep(&(struct timespec){ .tv_nsec = wait }, NULL);
		}
	}
	return nbdsvc_state_stopped(state) ? -ECANCELED : 0;
}

/* Guest bytes, zeros behind the source's end. */
static int read_piece(struct nbdsvc_worker *worker, size_t length, uint64_t offset)
{
	struct nbdsvc_source *source = worker->state->copy->source;
	size_t there = offset >= source->size ? 0 : source->size - offset < length ? source->size - offset : length;
	int err = there ? source->pread(source, worker->source_scratch, worker->buffer, there, offset) : 0;
	if (err)
		nbdsvc_state_fail(worker->state, err, NBDSVC_SIDE_READ, offset);
	else
		memset(worker->buffer + there, 0, length - there);
	return err;
}

static int write_run(struct nbdsvc_worker *worker, const unsigned char *buffer, size_t length, uint64_t offset, int zero)
{
	struct nbdsvc_copy *copy = worker->state->copy;
	struct nbdsvc_sink *sink = copy->sink;
	int err = zero ? sink->zero(sink, worker->sink_scratch, length, offset)
		       : sink->pwrite(sink, worker->sink_scratch, buffer, length, offset);
	if (err)
		nbdsvc_state_fail(worker->state, err, NBDSVC_SIDE_WRITE, offset);
	else if (!zero)
		__atomic_fetch_add(&copy->data, length, __ATOMIC_RELAXED);
	return err;
}

/* Write what is not zero of a piece, in runs as long as possible; make the rest zero. */
static int write_piece(struct nbdsvc_worker *worker, size_t length, uint64_t offset)
{
	const unsigned char *buffer = worker->buffer;
	size_t from = 0;
	while (from < length) {
		size_t step = length - from < GRAIN ? length - from : GRAIN;
		int zero = nbdsvc_is_zero(buffer + from, step);
		size_t to = from + step;
		while (to < length) {
			step = length - to < GRAIN ? length - to : GRAIN;
			if (nbdsvc_is_zero(buffer + to, step) != zero)
				break;
			to += step;
		}
		int err = write_run(worker, buffer + from, to - from, offset + from, zero);
		if (err)
			return err;
		from = to;
	}
	return 0;
}

static int copy_data(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset)
{
	while (length) {
		size_t piece = length < PIECE ? length : PIECE;
		int err = pace(worker->state, piece);
		if (!err)
			err = read_piece(worker, piece, offset);
		if (err)
			return err;
		hash(worker, worker->buffer, piece);
		if (!worker->dry)
			err = write_piece(worker, piece, offset);
		if (err)
			return err;
		__atomic_fetch_add(&worker->state->copy->done, piece, __ATOMIC_RELAXED);
		offset += piece;
		length -= piece;
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

/* An ordered sink places chunk after chunk. Whoever waits here waits for a smaller index, so nobody waits for ever. */
static int place(struct nbdsvc_worker *worker, uint64_t index)
{
	struct nbdsvc_state *state = worker->state;
	struct nbdsvc_sink *sink = state->copy->sink;
	int err = 0;
	pthread_mutex_lock(&state->lock);
	while (state->placed != index && !nbdsvc_state_stopped(state)) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += TURN_NS;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&state->advanced, &state->lock, &until);
	}
	if (state->placed != index) {
		err = -ECANCELED;
	} else if ((err = sink->place(sink, worker->sink_scratch)) == 0) {
		state->placed++;
	}
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
		XXH128_canonicalFromHash((XXH128_canonical_t *)to, XXH3_128bits_digest(worker->hash));
}

int nbdsvc_chunk_copy(struct nbdsvc_worker *worker, uint64_t index)
{
	struct nbdsvc_state *state = worker->state;
	uint64_t offset = index * NBDSVC_CHUNK;
	uint64_t end = offset + NBDSVC_CHUNK < state->copy->size ? offset + NBDSVC_CHUNK : state->copy->size;
	int all_zero = 0;
	if (worker->hash)
		XXH3_128bits_reset(worker->hash);
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
	return state->copy->sink->place && !worker->dry ? place(worker, index) : 0;
}

int nbdsvc_worker_init(struct nbdsvc_worker *worker, struct nbdsvc_state *state)
{
	struct nbdsvc_source *source = state->copy->source;
	struct nbdsvc_sink *sink = state->copy->sink;
	*worker = (struct nbdsvc_worker){ .state = state };
	void *source_scratch = calloc(1, source->scratch_size), *sink_scratch = calloc(1, sink->scratch_size);
	worker->buffer = aligned_alloc(NBDSVC_DIRECT_ALIGNMENT, PIECE);
	worker->zeros = calloc(1, GRAIN);
	worker->hash = state->copy->digests ? XXH3_createState() : NULL;
	int err = -ENOMEM;
	if (source_scratch && sink_scratch && worker->buffer && worker->zeros && (worker->hash || !state->copy->digests))
		err = source->scratch_init(source, source_scratch);
	if (!err)
		worker->source_scratch = source_scratch;
	if (!err && !(err = sink->scratch_init(sink, sink_scratch)))
		worker->sink_scratch = sink_scratch;
	if (!worker->source_scratch)
		free(source_scratch);
	if (!worker->sink_scratch)
		free(sink_scratch);
	if (err) {
		nbdsvc_state_fail(state, err, worker->source_scratch ? NBDSVC_SIDE_WRITE : NBDSVC_SIDE_READ, 0);
		nbdsvc_worker_deinit(worker);
	}
	return err;
}

void nbdsvc_worker_deinit(struct nbdsvc_worker *worker)
{
	struct nbdsvc_copy *copy = worker->state->copy;
	if (worker->source_scratch)
		copy->source->scratch_deinit(copy->source, worker->source_scratch);
	if (worker->sink_scratch)
		copy->sink->scratch_deinit(copy->sink, worker->sink_scratch);
	free(worker->source_scratch);
	free(worker->sink_scratch);
	free(worker->buffer);
	free(worker->zeros);
	if (worker->hash)
		XXH3_freeState(worker->hash);
}
