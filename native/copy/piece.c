#include "copy/piece.h"
#include "copy/mmap_guard.h"
#include "copy/zero.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Mapping costs as much as copying a few pages, and what is mapped can be written in one go: a chunk, 64 grains. */
static const size_t LOCATE_LEAST = 128 << 10, LOCATE_MOST = 4 << 20;
/* Data is detected at the beginning of a grain; smaller reads would not be faster. */
static const size_t PEEK = 512;
_Static_assert((4 << 20) / NBDSVC_GRAIN <= 64, "a bit for each grain");

struct scan {
	struct nbdsvc_digest *hash;
	struct nbdsvc_piece *piece;
};

static void scan_bytes(void *context)
{
	struct scan *scan = context;
	struct nbdsvc_piece *piece = scan->piece;
	for (size_t at = 0, grain = 0; at < piece->length; at += NBDSVC_GRAIN, grain++) {
		size_t step = piece->length - at < NBDSVC_GRAIN ? piece->length - at : NBDSVC_GRAIN;
		if (scan->hash)
			nbdsvc_digest_update(scan->hash, piece->bytes + at, step);
		if (nbdsvc_is_zero(piece->bytes + at, step))
			piece->zeros |= 1ULL << grain;
	}
}

/* Where source and sink allow it, the kernel writes from the page cache what it read there. */
static int locate_piece(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset, struct nbdsvc_piece *piece)
{
	struct nbdsvc_copy *copy = worker->state->copy;
	uint64_t run;
	if (!copy->source->locate || !copy->sink->kernel_only || offset >= copy->source->size)
		return 0;
	if (length > copy->source->size - offset)
		length = copy->source->size - offset;
	if (length < LOCATE_LEAST || copy->source->locate(copy->source, offset, &piece->fd, &piece->at, &run) ||
	    piece->at % 4096)
		return 0;
	length = run < length ? run : length;
	/* Under a rate limit, large pieces would be sent in bursts. */
	size_t most = LOCATE_MOST;
	for (int i = 0; i < NBDSVC_LIMITS; i++)
		most = nbdsvc_token_bucket_limits(copy->buckets[i]) ? NBDSVC_READ_MOST : most;
	piece->length = length < most ? length : most;
	if (piece->length < length || piece->length % 4096)
		piece->length &= ~(size_t)4095; /* the next piece begins where O_DIRECT can begin */
	return piece->length >= LOCATE_LEAST;
}

/* A short read means that the file has become shorter. */
static int read_is_zero(struct nbdsvc_worker *worker, const struct nbdsvc_piece *piece, size_t from, size_t length, int *ret)
{
	ssize_t got = pread(piece->fd, worker->buffer, length, piece->at + from);
	if (got != (ssize_t)length)
		return got < 0 ? -errno : -ESPIPE;
	*ret = nbdsvc_is_zero(worker->buffer, length);
	return 0;
}

/* Like scan_bytes, for bytes that only the kernel will access. */
static int peek(struct nbdsvc_worker *worker, struct nbdsvc_piece *piece)
{
	nbdsvc_mmap_guard_fetch(piece->fd, piece->at, piece->length);
	for (size_t at = 0, grain = 0; at < piece->length; at += NBDSVC_GRAIN, grain++) {
		size_t step = piece->length - at < NBDSVC_GRAIN ? piece->length - at : NBDSVC_GRAIN;
		int zero = 0, err = read_is_zero(worker, piece, at, step < PEEK ? step : PEEK, &zero);
		if (!err && zero)
			err = read_is_zero(worker, piece, at, step, &zero);
		if (err)
			return err;
		piece->zeros |= (uint64_t)zero << grain;
	}
	return 0;
}

/* Read guest bytes, with zeros beyond the source's end. */
static int read_piece(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset, struct nbdsvc_piece *piece)
{
	struct nbdsvc_source *source = worker->state->copy->source;
	piece->fd = -1;
	piece->length = length < NBDSVC_READ_MOST ? length : NBDSVC_READ_MOST;
	piece->bytes = worker->buffer;
	uint64_t left = offset >= source->size ? 0 : source->size - offset;
	size_t there = left < piece->length ? left : piece->length;
	int err = there ? source->pread(source, worker->source_scratch, worker->buffer, there, offset) : 0;
	if (!err)
		memset(worker->buffer + there, 0, piece->length - there);
	return err;
}

/* The kernel sends what it has; whoever else wants the bytes looks at them where they are. */
static int scan_file(struct nbdsvc_worker *worker, struct nbdsvc_piece *piece)
{
	if (worker->state->copy->sink->send && !worker->hash)
		return peek(worker, piece);
	struct scan scan = { .hash = worker->hash, .piece = piece };
	piece->bytes = nbdsvc_mmap_guard_map(piece->fd, piece->at, piece->length);
	piece->mapped = piece->bytes != NULL;
	return piece->mapped ? nbdsvc_mmap_guard_scan(scan_bytes, &scan) : -ENODEV;
}

int nbdsvc_piece_get(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset, struct nbdsvc_piece *ret)
{
	struct nbdsvc_piece piece = { .bytes = NULL };
	int err = locate_piece(worker, length, offset, &piece) ? scan_file(worker, &piece) : -ENODEV;
	if (err == -ENODEV && !(err = read_piece(worker, length, offset, &piece)))
		scan_bytes(&(struct scan){ .hash = worker->hash, .piece = &piece });
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
		nbdsvc_mmap_guard_unmap(piece->bytes, piece->length);
}
