/* The copy engine: workers that take chunks, and the calling thread that watches over them and writes checkpoints. */
#define _GNU_SOURCE
#include "copy/copy.h"
#include "copy/chunk.h"
#include "copy/journal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MOST_THREADS = 64 };
/* Each checkpoint flushes the destination (10 ms on a slow disk). A copy that was killed repeats at most this much work. */
static const uint64_t CHECKPOINT_BYTES = 256 << 20;
static const long CHECKPOINT_MS = 500;
static const long TICK_MS = 50;

static uint64_t length_of(const struct nbdsvc_copy *copy, uint64_t index)
{
	uint64_t left = copy->size - index * NBDSVC_CHUNK;
	return left < NBDSVC_CHUNK ? left : NBDSVC_CHUNK;
}

static void work(struct nbdsvc_worker *worker)
{
	struct nbdsvc_state *state = worker->state;
	struct nbdsvc_copy *copy = state->copy;
	while (!nbdsvc_state_stopped(state)) {
		uint64_t index = atomic_fetch_add(&state->next, 1);
		if (index >= state->chunks)
			return;
		worker->dry = nbdsvc_journal_has(&state->journal, index);
		if (worker->dry)
			__atomic_fetch_add(&copy->skipped, length_of(copy, index), __ATOMIC_RELAXED);
		if (worker->dry && !copy->digests)
			__atomic_fetch_add(&copy->done, length_of(copy, index), __ATOMIC_RELAXED);
		else if (nbdsvc_chunk_copy(worker, index))
			return;
		nbdsvc_journal_mark(&state->journal, index);
	}
}

static void *worker_main(void *argument)
{
	struct nbdsvc_state *state = argument;
	struct nbdsvc_worker worker;
	if (nbdsvc_worker_init(&worker, state) == 0) {
		work(&worker);
		nbdsvc_worker_deinit(&worker);
	}
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

/* Their waits end by the monotonic clock: one by the time of day would last as long as that is set back meanwhile. */
static void init_conditions(struct nbdsvc_state *state)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&state->ended, &attributes);
	pthread_cond_init(&state->advanced, &attributes);
	pthread_condattr_destroy(&attributes);
}

static void tick(struct nbdsvc_state *state)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TICK_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&state->lock);
	if (atomic_load(&state->running))
		pthread_cond_timedwait(&state->ended, &state->lock, &until);
	pthread_mutex_unlock(&state->lock);
}

/* Interrupts source and sink, because a worker may wait for a server that never answers. */
static void interrupt(struct nbdsvc_copy *copy)
{
	nbdsvc_source_interrupt(copy->source);
	if (copy->sink->interrupt)
		copy->sink->interrupt(copy->sink);
}

/* The calling thread writes checkpoints while the workers copy. */
static void supervise(struct nbdsvc_state *state)
{
	long last = milliseconds();
	uint64_t last_done = 0;
	while (atomic_load(&state->running)) {
		tick(state);
		uint64_t done = state->copy->done;
		if (nbdsvc_state_stopped(state))
			interrupt(state->copy);
		if (nbdsvc_state_stopped(state) ||
		    (milliseconds() - last < CHECKPOINT_MS && done - last_done < CHECKPOINT_BYTES))
			continue;
		int is_sinks, err = nbdsvc_journal_checkpoint(&state->journal, state->copy->sink, &is_sinks);
		if (err)
			nbdsvc_state_fail(state, err, is_sinks ? NBDSVC_SIDE_WRITE : NBDSVC_SIDE_JOURNAL, 0);
		last = milliseconds();
		last_done = done;
	}
}

static int start(struct nbdsvc_state *state, pthread_t *threads, int count)
{
	int started = 0;
	atomic_store(&state->running, count);
	while (started < count && pthread_create(&threads[started], NULL, worker_main, state) == 0)
		started++;
	if (started < count) {
		atomic_fetch_sub(&state->running, count - started);
		nbdsvc_state_fail(state, -EAGAIN, NBDSVC_SIDE_READ, 0);
		if (state->copy->side == NBDSVC_SIDE_READ && atomic_load(&state->failed) == -EAGAIN)
			snprintf(state->copy->reason, sizeof(state->copy->reason), "no further thread can be started");
	}
	return started;
}

static void finish(struct nbdsvc_state *state)
{
	struct nbdsvc_sink *sink = state->copy->sink;
	if (!nbdsvc_state_stopped(state)) {
		/* Only this flush can report that a delayed write failed, so it is never skipped. */
		int err = sink->finish(sink);
		if (err)
			nbdsvc_state_fail(state, err, NBDSVC_SIDE_WRITE, 0);
	} else if (!atomic_load(&state->failed)) {
		int is_sinks;
		nbdsvc_journal_checkpoint(&state->journal, sink, &is_sinks);
	}
}

/* Files of one file system that can share blocks need no copying. */
static int try_clone(struct nbdsvc_copy *copy)
{
	struct nbdsvc_source *source = copy->source;
	struct nbdsvc_sink *sink = copy->sink;
	if (!copy->may_clone || copy->digests || source->fd < 0 || !sink->clone || !source->size)
		return 0;
	if (sink->clone(sink, source->fd, source->size))
		return 0;
	/* Behind the source's end there may be old data; where it cannot be made zero, an ordinary copy says why. */
	if (copy->size > source->size && sink->zero(sink, NULL, copy->size - source->size, source->size))
		return 0;
	copy->done = copy->size;
	copy->cloned = source->size;
	return 1;
}

static void run(struct nbdsvc_state *state)
{
	int wanted = state->copy->threads;
	int count = wanted < 1 ? 1 : wanted > MOST_THREADS ? MOST_THREADS : wanted;
	pthread_t threads[MOST_THREADS];
	int started = start(state, threads, count);
	supervise(state);
	for (int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
}

static void join_limits(struct nbdsvc_state *state)
{
	for (int i = 0; i < NBDSVC_LIMITS; i++)
		nbdsvc_token_bucket_join(state->copy->buckets[i], &state->shares[i]);
	nbdsvc_token_bucket_join(state->copy->cpu, &state->cpu_share);
}

static void leave_limits(struct nbdsvc_state *state)
{
	for (int i = 0; i < NBDSVC_LIMITS; i++)
		nbdsvc_token_bucket_leave(state->copy->buckets[i], &state->shares[i]);
	nbdsvc_token_bucket_leave(state->copy->cpu, &state->cpu_share);
}

int nbdsvc_copy_run(struct nbdsvc_copy *copy)
{
	struct nbdsvc_state state = { .copy = copy, .chunks = (copy->size + NBDSVC_CHUNK - 1) / NBDSVC_CHUNK };
	if (copy->size < copy->source->size || (copy->journal_fd >= 0 && !copy->sink->resumable))
		return -EINVAL;
	copy->reason[0] = 0;
	copy->done = copy->data = copy->skipped = copy->cloned = 0;
	copy->side = NBDSVC_SIDE_NONE;
	int err = copy->digests ? nbdsvc_zero_digest(state.zero_digest) : 0;
	if (err)
		return err;
	err = nbdsvc_journal_init(&state.journal, copy->journal_fd, NBDSVC_CHUNK, copy->size, copy->fingerprint);
	if (err) {
		copy->side = NBDSVC_SIDE_JOURNAL;
		snprintf(copy->reason, sizeof(copy->reason), "%s", strerror(-err));
		return err;
	}
	pthread_mutex_init(&state.lock, NULL);
	init_conditions(&state);
	join_limits(&state);
	if (!try_clone(copy))
		run(&state);
	leave_limits(&state);
	finish(&state);
	err = atomic_load(&state.failed);
	if (!err && copy->cancel)
		err = -ECANCELED;
	nbdsvc_journal_deinit(&state.journal);
	pthread_cond_destroy(&state.advanced);
	pthread_cond_destroy(&state.ended);
	pthread_mutex_destroy(&state.lock);
	return err;
}
