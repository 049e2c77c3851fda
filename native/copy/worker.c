#include "copy/worker.h"
#include "sink/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nbdsvc_state_fail(struct nbdsvc_state *state, int err, int side, uint64_t offset)
{
	int none = 0;
	/* A wait that was interrupted: because of a failure that is known already, or by whoever does not want the copy any
	 * more, and then the chunk that this thread leaves behind must not be taken for copied. */
	if (err == -ECANCELED) {
		state->copy->cancel = 1;
		return;
	}
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

int nbdsvc_worker_init(struct nbdsvc_worker *worker, struct nbdsvc_state *state)
{
	struct nbdsvc_source *source = state->copy->source;
	struct nbdsvc_sink *sink = state->copy->sink;
	*worker = (struct nbdsvc_worker){ .state = state };
	void *source_scratch = calloc(1, source->scratch_size), *sink_scratch = calloc(1, sink->scratch_size);
	worker->buffer = aligned_alloc(NBDSVC_DIRECT_ALIGNMENT, NBDSVC_READ_MOST);
	worker->zeros = calloc(1, NBDSVC_GRAIN);
	worker->hash = state->copy->digests ? nbdsvc_digest_create() : NULL;
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
	nbdsvc_digest_destroy(worker->hash);
}
