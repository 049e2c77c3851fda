#define _GNU_SOURCE
#include "copy.h"
#include "journal.h"
#include "zero.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What a killed copy repeats at most per thread, and what the journal has one bit for. */
static const uint64_t CHUNK = 4 << 20;
/* One read: keeps the decompressed data in the L2 cache of a core until it is written. */
static const size_t PIECE = 1 << 20;
/* Zeros are looked for in steps of this size: the cluster size of nearly all images. */
static const size_t GRAIN = 64 << 10;
static const size_t DIRECT_ALIGNMENT = 4096;
/* A checkpoint costs a flush of the destination: once a second, or each 256 MiB on a fast disk. */
static const uint64_t CHECKPOINT_BYTES = 256 << 20;
static const long CHECKPOINT_MS = 1000;
static const long TICK_MS = 50;

struct state {
	struct nbdsvc_copy *copy;
	struct nbdsvc_journal journal;
	uint64_t chunks;
	atomic_uint_fast64_t next;
	atomic_int running;
	atomic_int failed; /* -errno of the first failure */
	pthread_mutex_t lock;
	pthread_cond_t ended;
};

static void fail(struct state *state, int err, int side, uint64_t offset)
{
	int none = 0;
	if (!atomic_compare_exchange_strong(&state->failed, &none, err))
		return;
	struct nbdsvc_copy *copy = state->copy;
	const char *why = side == NBDSVC_SIDE_READ ? copy->source->reason(copy->source, err) : NULL;
	copy->side = side;
	copy->offset = offset;
	snprintf(copy->reason, sizeof(copy->reason), "%s", why ? why : strerror(-err));
}

static int stopped(struct state *state)
{
	return state->copy->cancel || atomic_load_explicit(&state->failed, memory_order_relaxed);
}

static int write_all(struct nbdsvc_copy *copy, const char *buffer, size_t length, uint64_t offset)
{
	while (length) {
		int aligned = !(offset % DIRECT_ALIGNMENT) && !((uintptr_t)buffer % DIRECT_ALIGNMENT);
		int fd = copy->fd;
		size_t piece = length;
		if (copy->direct_fd >= 0 && aligned && length >= DIRECT_ALIGNMENT) {
			fd = copy->direct_fd;
			piece = length - length % DIRECT_ALIGNMENT;
		}
		ssize_t put = pwrite(fd, buffer, piece, offset);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		buffer += put;
		offset += put;
		length -= put;
	}
	return 0;
}

static int make_zero(struct nbdsvc_copy *copy, uint64_t length, uint64_t offset, const char *zeros)
{
	if (copy->flags & NBDSVC_COPY_DESTINATION_IS_ZERO)
		return 0;
	/* On a file a hole; on a block device the kernel promises zeros for this call, unlike for a discard. */
	if (fallocate(copy->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0)
		return 0;
	int err = 0;
	while (length && !err) {
		size_t piece = length < GRAIN ? length : GRAIN;
		err = write_all(copy, zeros, piece, offset);
		offset += piece;
		length -= piece;
	}
	return err;
}

/* Write what is not zero of a piece, in runs as long as possible; make the rest zero. */
static int write_piece(struct state *state, const char *buffer, size_t length, uint64_t offset, const char *zeros)
{
	struct nbdsvc_copy *copy = state->copy;
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
		int err = zero ? make_zero(copy, to - from, offset + from, zeros)
			       : write_all(copy, buffer + from, to - from, offset + from);
		if (err)
			return err;
		if (!zero)
			__atomic_fetch_add(&copy->data, to - from, __ATOMIC_RELAXED);
		from = to;
	}
	return 0;
}

struct worker {
	struct state *state;
	void *scratch;
	char *buffer;
	char *zeros;
};

static int copy_data(struct worker *worker, uint64_t length, uint64_t offset)
{
	struct state *state = worker->state;
	struct nbdsvc_source *source = state->copy->source;
	while (length) {
		if (stopped(state))
			return -ECANCELED;
		size_t piece = length < PIECE ? length : PIECE;
		int err = source->pread(source, worker->scratch, worker->buffer, piece, offset);
		if (err) {
			fail(state, err, NBDSVC_SIDE_READ, offset);
			return err;
		}
		err = write_piece(state, worker->buffer, piece, offset, worker->zeros);
		if (err) {
			fail(state, err, NBDSVC_SIDE_WRITE, offset);
			return err;
		}
		offset += piece;
		length -= piece;
		__atomic_fetch_add(&state->copy->done, piece, __ATOMIC_RELAXED);
	}
	return 0;
}

static int copy_zero(struct worker *worker, uint64_t length, uint64_t offset)
{
	struct state *state = worker->state;
	int err = make_zero(state->copy, length, offset, worker->zeros);
	if (err)
		fail(state, err, NBDSVC_SIDE_WRITE, offset);
	else
		__atomic_fetch_add(&state->copy->done, length, __ATOMIC_RELAXED);
	return err;
}

static int copy_chunk(struct worker *worker, uint64_t index)
{
	struct state *state = worker->state;
	struct nbdsvc_source *source = state->copy->source;
	uint64_t offset = index * CHUNK;
	uint64_t end = offset + CHUNK < state->copy->size ? offset + CHUNK : state->copy->size;
	while (offset < end) {
		struct nbdsvc_extent extent = { .length = end - offset, .kind = NBDSVC_EXTENT_ZERO };
		int err = offset < source->size ? source->extent(source, offset, &extent) : 0;
		if (err) {
			fail(state, err, NBDSVC_SIDE_READ, offset);
			return err;
		}
		if (extent.length > end - offset)
			extent.length = end - offset;
		err = extent.kind == NBDSVC_EXTENT_DATA ? copy_data(worker, extent.length, offset)
							: copy_zero(worker, extent.length, offset);
		if (err)
			return err;
		offset += extent.length;
	}
	return 0;
}

static void work(struct worker *worker)
{
	struct state *state = worker->state;
	while (!stopped(state)) {
		uint64_t index = atomic_fetch_add(&state->next, 1);
		if (index >= state->chunks)
			return;
		if (nbdsvc_journal_has(&state->journal, index)) {
			uint64_t left = state->copy->size - index * CHUNK;
			uint64_t length = left < CHUNK ? left : CHUNK;
			__atomic_fetch_add(&state->copy->done, length, __ATOMIC_RELAXED);
			__atomic_fetch_add(&state->copy->skipped, length, __ATOMIC_RELAXED);
		} else if (copy_chunk(worker, index) == 0) {
			nbdsvc_journal_mark(&state->journal, index);
		} else {
			return;
		}
	}
}

static void *worker_main(void *argument)
{
	struct state *state = argument;
	struct nbdsvc_source *source = state->copy->source;
	struct worker worker = { .state = state };
	worker.scratch = calloc(1, source->scratch_size);
	worker.buffer = aligned_alloc(DIRECT_ALIGNMENT, PIECE);
	worker.zeros = aligned_alloc(DIRECT_ALIGNMENT, GRAIN);
	if (!worker.scratch || !worker.buffer || !worker.zeros) {
		fail(state, -ENOMEM, NBDSVC_SIDE_READ, 0);
	} else {
		memset(worker.zeros, 0, GRAIN);
		int err = source->scratch_init(source, worker.scratch);
		if (err) {
			fail(state, err, NBDSVC_SIDE_READ, 0);
		} else {
			work(&worker);
			source->scratch_deinit(source, worker.scratch);
		}
	}
	free(worker.scratch);
	free(worker.buffer);
	free(worker.zeros);
	pthread_mutex_lock(&state->lock);
	atomic_fetch_sub(&state->running, 1);
	pthread_cond_signal(&state->ended);
	pthread_mutex_unlock(&state->lock);
	return NULL;
}

static long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void tick(struct state *state)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += TICK_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&state->lock);
	if (atomic_load(&state->running))
		pthread_cond_timedwait(&state->ended, &state->lock, &until);
	pthread_mutex_unlock(&state->lock);
}

/* While the workers work, the calling thread writes checkpoints. */
static void supervise(struct state *state)
{
	long last = milliseconds();
	uint64_t last_done = 0;
	while (atomic_load(&state->running)) {
		tick(state);
		uint64_t done = state->copy->done;
		if (stopped(state) || (milliseconds() - last < CHECKPOINT_MS && done - last_done < CHECKPOINT_BYTES))
			continue;
		int err = nbdsvc_journal_checkpoint(&state->journal, state->copy->fd);
		if (err)
			fail(state, err, NBDSVC_SIDE_JOURNAL, 0);
		last = milliseconds();
		last_done = done;
	}
}

static int start(struct state *state, pthread_t *threads, int count)
{
	int started = 0;
	atomic_store(&state->running, count);
	while (started < count && pthread_create(&threads[started], NULL, worker_main, state) == 0)
		started++;
	if (started < count) {
		atomic_fetch_sub(&state->running, count - started);
		fail(state, -EAGAIN, NBDSVC_SIDE_READ, 0);
	}
	return started;
}

int nbdsvc_copy_run(struct nbdsvc_copy *copy)
{
	int count = copy->threads < 1 ? 1 : copy->threads > 64 ? 64 : copy->threads;
	pthread_t threads[64];
	struct state state = { .copy = copy, .chunks = (copy->size + CHUNK - 1) / CHUNK };
	if (copy->size < copy->source->size)
		return -EINVAL;
	copy->done = copy->data = copy->skipped = 0;
	copy->side = NBDSVC_SIDE_NONE;
	int err = nbdsvc_journal_init(&state.journal, copy->journal_fd, CHUNK, copy->size, copy->fingerprint);
	if (err)
		return err;
	pthread_mutex_init(&state.lock, NULL);
	pthread_cond_init(&state.ended, NULL);
	int started = start(&state, threads, count);
	supervise(&state);
	for (int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	if (!stopped(&state)) {
		/* The one moment at which a write that the kernel put off can still be reported: it is never skipped. */
		if (fsync(copy->fd) < 0)
			fail(&state, -errno, NBDSVC_SIDE_WRITE, 0);
	} else if (!atomic_load(&state.failed)) {
		nbdsvc_journal_checkpoint(&state.journal, copy->fd);
	}
	err = atomic_load(&state.failed);
	if (!err && copy->cancel)
		err = -ECANCELED;
	nbdsvc_journal_deinit(&state.journal);
	pthread_cond_destroy(&state.ended);
	pthread_mutex_destroy(&state.lock);
	return err;
}
