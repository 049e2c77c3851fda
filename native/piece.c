#include "piece.h"
#include "window.h"
#include "zero.h"

#include <errno.h>
#include <string.h>

/* One read and at most one write: large enough for the disk, small enough that it is still in the cache when written. */
static const size_t READ_MOST = 1 << 20;
/* Mapping costs as much as copying a few pages, and what is mapped can be written in one go: a chunk, 64 grains. */
static const size_t MAP_LEAST = 128 << 10, MAP_MOST = 4 << 20;
_Static_assert((4 << 20) / NBDSVC_GRAIN <= 64, "a bit for each grain");

size_t nbdsvc_piece_buffer_size(void)
{
	return READ_MOST;
}

struct look {
	struct nbdsvc_digest *hash;
	struct nbdsvc_piece *piece;
};

static void look_at(void *context)
{
	struct look *look = context;
	struct nbdsvc_piece *piece = look->piece;
	for (size_t at = 0, grain = 0; at < piece->length; at += NBDSVC_GRAIN, grain++) {
		size_t step = piece->length - at < NBDSVC_GRAIN ? piece->length - at : NBDSVC_GRAIN;
		if (look->hash)
			nbdsvc_digest_update(look->hash, piece->bytes + at, step);
		if (nbdsvc_is_zero(piece->bytes + at, step))
			piece->zeros |= 1ULL << grain;
	}
}

/* Where source and sink allow it, the kernel writes from the page cache what it read there. */
static int map_piece(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset, struct nbdsvc_piece *piece)
{
	struct nbdsvc_copy *copy = worker->state->copy;
	uint64_t run;
	if (!copy->source->locate || !copy->sink->kernel_only || offset >= copy->source->size)
		return 0;
	if (length > copy->source->size - offset)
		length = copy->source->size - offset;
	if (length < MAP_LEAST || copy->source->locate(copy->source, offset, &piece->fd, &piece->at, &run) ||
	    piece->at % 4096)
		return 0;
	length = run < length ? run : length;
	/* Under a limit, large pieces would go out in bursts. */
	size_t most = nbdsvc_bucket_limits(copy->buckets[0]) || nbdsvc_bucket_limits(copy->buckets[1]) ? READ_MOST : MAP_MOST;
	piece->length = length < most ? length : most;
	if (piece->length < length || piece->length % 4096)
		piece->length &= ~(size_t)4095; /* the next piece begins where O_DIRECT can begin */
	if (piece->length < MAP_LEAST)
		return 0;
	piece->bytes = nbdsvc_window_map(piece->fd, piece->at, piece->length);
	piece->mapped = piece->bytes != NULL;
	return piece->mapped;
}

/* Guest bytes, zeros behind the source's end. */
static int read_piece(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset, struct nbdsvc_piece *piece)
{
	struct nbdsvc_source *source = worker->state->copy->source;
	piece->length = length < READ_MOST ? length : READ_MOST;
	piece->bytes = worker->buffer;
	uint64_t left = offset >= source->size ? 0 : source->size - offset;
	size_t there = left < piece->length ? left : piece->length;
	int err = there ? source->pread(source, worker->source_scratch, worker->buffer, there, offset) : 0;
	if (!err)
		memset(worker->buffer + there, 0, piece->length - there);
	return err;
}

int nbdsvc_piece_get(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset, struct nbdsvc_piece *ret)
{
	struct nbdsvc_piece piece = { .bytes = NULL };
	struct look look = { .hash = worker->hash, .piece = &piece };
	int err = 0;
	if (map_piece(worker, length, offset, &piece)) {
		err = nbdsvc_window_look(look_at, &look);
	} else {
		err = read_piece(worker, length, offset, &piece);
		if (!err)
			look_at(&look);
	}
	if (err) {
		nbdsvc_piece_put(&piece);
		nbdsvc_state_fail(worker->state, err, NBDSVC_SIDE_READ, offset);
		return err;
	}
	*ret = piece;
	return 0;
}

void nbdsvc_piece_put(struct nbdsvc_piece *piece)
{
	if (piece->mapped)
		nbdsvc_window_unmap(piece->bytes, piece->length);
}
