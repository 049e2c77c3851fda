#include "nbd/nbd.h"
#include "nbd/nbd_pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* One request for extents covers this many bytes, and this many extents are kept for the threads that follow. */
static const uint64_t LOOK_AHEAD = 1 << 30;
enum { EXTENTS_KEPT = 512 };
/* The largest request for zeros: less than the 4 GiB that the protocol can say. */
static const uint64_t MOST_ZEROS = 1 << 30;
static const size_t ZERO_PIECE = 64 << 10;

struct scratch {
	unsigned index; /* of a connection */
};

struct nbd_source {
	struct nbdsvc_source source;
	struct nbdsvc_nbd_pool *pool;
	atomic_uint users;
	pthread_mutex_t lock; /* what was learnt about extents */
	uint64_t known_from;
	int known;
	struct nbdsvc_extent extents[EXTENTS_KEPT];
};

struct nbd_sink {
	struct nbdsvc_sink sink;
	struct nbdsvc_nbd_pool *pool;
	atomic_uint users;
	int flags;
	unsigned char *zeros;
};

static int known_extent(struct nbd_source *self, uint64_t offset, struct nbdsvc_extent *ret)
{
	uint64_t at = self->known_from;
	for (int i = 0; i < self->known && at <= offset; i++) {
		uint64_t end = at + self->extents[i].length;
		if (offset < end) {
			*ret = (struct nbdsvc_extent){ .length = end - offset, .kind = self->extents[i].kind };
			return 1;
		}
		at = end;
	}
	return 0;
}

static int source_extent(struct nbdsvc_source *source, uint64_t offset, struct nbdsvc_extent *ret)
{
	struct nbd_source *self = (struct nbd_source *)source;
	if (offset >= source->size)
		return -EINVAL;
	uint64_t left = source->size - offset;
	*ret = (struct nbdsvc_extent){ .length = left, .kind = NBDSVC_EXTENT_DATA };
	if (!nbdsvc_nbd_pool_facts(self->pool)->has_extents)
		return 0;
	int err = 0;
	pthread_mutex_lock(&self->lock);
	if (!known_extent(self, offset, ret)) {
		uint64_t block = nbdsvc_nbd_pool_facts(self->pool)->block_size, from = offset - offset % block;
		uint64_t size = nbdsvc_nbd_pool_facts(self->pool)->size;
		uint64_t length = size - from < LOOK_AHEAD ? size - from : LOOK_AHEAD;
		self->known = 0;
		err = nbdsvc_nbd_pool_extents(self->pool, length, from, self->extents, EXTENTS_KEPT, &self->known);
		self->known_from = from;
		if (!err)
			known_extent(self, offset, ret);
	}
	pthread_mutex_unlock(&self->lock);
	if (ret->length > left)
		ret->length = left;
	return err;
}

static int source_pread(struct nbdsvc_source *source, void *scratch, void *buffer, size_t length, uint64_t offset)
{
	struct nbd_source *self = (struct nbd_source *)source;
	return nbdsvc_nbd_pool_read(self->pool, ((struct scratch *)scratch)->index, buffer, length, offset);
}

static int source_scratch_init(struct nbdsvc_source *source, void *scratch)
{
	((struct scratch *)scratch)->index = atomic_fetch_add(&((struct nbd_source *)source)->users, 1);
	return 0;
}

static void source_scratch_deinit(struct nbdsvc_source *source, void *scratch)
{
	(void)source;
	(void)scratch;
}

static const char *source_reason(struct nbdsvc_source *source, int error)
{
	(void)error;
	return nbdsvc_nbd_pool_reason(((struct nbd_source *)source)->pool);
}

static void source_interrupt(struct nbdsvc_source *source)
{
	nbdsvc_nbd_pool_interrupt(((struct nbd_source *)source)->pool);
}

static void source_destroy(struct nbdsvc_source *source)
{
	struct nbd_source *self = (struct nbd_source *)source;
	nbdsvc_nbd_pool_destroy(self->pool);
	pthread_mutex_destroy(&self->lock);
	free(self);
}

int nbdsvc_source_nbd_create(const char *uri, int connections, struct nbdsvc_message *message, struct nbdsvc_source **ret)
{
	struct nbd_source *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	int err = nbdsvc_nbd_pool_create(uri, connections, message, &self->pool);
	if (err) {
		free(self);
		return err;
	}
	pthread_mutex_init(&self->lock, NULL);
	self->source = (struct nbdsvc_source){
		.size = nbdsvc_nbd_pool_facts(self->pool)->size,
		.fd = -1,
		.scratch_size = sizeof(struct scratch),
		.extent = source_extent,
		.pread = source_pread,
		.scratch_init = source_scratch_init,
		.scratch_deinit = source_scratch_deinit,
		.interrupt = source_interrupt,
		.destroy = source_destroy,
		.reason = source_reason,
	};
	*ret = &self->source;
	return 0;
}

static int sink_pwrite(struct nbdsvc_sink *sink, void *scratch, const void *buffer, size_t length, uint64_t offset)
{
	struct nbd_sink *self = (struct nbd_sink *)sink;
	return nbdsvc_nbd_pool_write(self->pool, ((struct scratch *)scratch)->index, buffer, length, offset);
}

/* How much of [offset, offset + length) comes before the first whole block. */
static size_t head_of(const struct nbd_sink *self, uint64_t length, uint64_t offset)
{
	uint64_t block = nbdsvc_nbd_pool_facts(self->pool)->block_size, left = -offset % block;
	return left < length ? left : length;
}

/* Write bytes of a file that fill no whole block. */
static int send_part(struct nbd_sink *self, unsigned index, int fd, uint64_t at, size_t length, uint64_t offset)
{
	unsigned char *buffer = length ? malloc(length) : NULL;
	if (!buffer)
		return length ? -ENOMEM : 0;
	ssize_t got = pread(fd, buffer, length, at);
	int err = got == (ssize_t)length ? nbdsvc_nbd_pool_write(self->pool, index, buffer, length, offset) : -EFAULT;
	free(buffer);
	return err;
}

static int sink_send(struct nbdsvc_sink *sink, void *scratch, int fd, uint64_t at, size_t length, uint64_t offset)
{
	struct nbd_sink *self = (struct nbd_sink *)sink;
	unsigned index = ((struct scratch *)scratch)->index;
	size_t head = head_of(self, length, offset);
	size_t tail = (length - head) % nbdsvc_nbd_pool_facts(self->pool)->block_size, whole = length - head - tail;
	int err = send_part(self, index, fd, at, head, offset);
	if (!err && whole)
		err = nbdsvc_nbd_pool_send(self->pool, index, fd, at + head, whole, offset + head);
	return err ? err : send_part(self, index, fd, at + head + whole, tail, offset + head + whole);
}

/* Write zeros that fill no whole block. */
static int zero_part(struct nbd_sink *self, unsigned index, uint64_t length, uint64_t offset)
{
	return length ? nbdsvc_nbd_pool_write(self->pool, index, self->zeros, length, offset) : 0;
}

static int sink_zero(struct nbdsvc_sink *sink, void *scratch, uint64_t length, uint64_t offset)
{
	struct nbd_sink *self = (struct nbd_sink *)sink;
	unsigned index = ((struct scratch *)scratch)->index;
	const struct nbdsvc_nbd_facts *facts = nbdsvc_nbd_pool_facts(self->pool);
	uint64_t head = head_of(self, length, offset), tail = (length - head) % facts->block_size;
	if (self->flags & NBDSVC_SINK_IS_ZERO)
		return 0;
	int can_zero = facts->can_zero, err = zero_part(self, index, head, offset);
	length -= head + tail;
	offset += head;
	while (length && !err) {
		uint64_t most = can_zero ? MOST_ZEROS : ZERO_PIECE;
		uint64_t piece = length < most ? length : most;
		err = can_zero ? nbdsvc_nbd_pool_zero(self->pool, index, piece, offset)
			       : nbdsvc_nbd_pool_write(self->pool, index, self->zeros, piece, offset);
		offset += piece;
		length -= piece;
	}
	return err ? err : zero_part(self, index, tail, offset);
}

static int sink_scratch_init(struct nbdsvc_sink *sink, void *scratch)
{
	((struct scratch *)scratch)->index = atomic_fetch_add(&((struct nbd_sink *)sink)->users, 1);
	return 0;
}

static int sink_flush(struct nbdsvc_sink *sink)
{
	return nbdsvc_nbd_pool_flush(((struct nbd_sink *)sink)->pool);
}

static const char *sink_reason(struct nbdsvc_sink *sink, int error)
{
	(void)error;
	return nbdsvc_nbd_pool_reason(((struct nbd_sink *)sink)->pool);
}

static void sink_interrupt(struct nbdsvc_sink *sink)
{
	nbdsvc_nbd_pool_interrupt(((struct nbd_sink *)sink)->pool);
}

static void sink_destroy(struct nbdsvc_sink *sink)
{
	struct nbd_sink *self = (struct nbd_sink *)sink;
	nbdsvc_nbd_pool_destroy(self->pool);
	free(self->zeros);
	free(self);
}

int nbdsvc_sink_nbd_create(const char *uri, int connections, int flags, struct nbdsvc_message *message, uint64_t *ret_size,
			   struct nbdsvc_sink **ret)
{
	struct nbd_sink *self = calloc(1, sizeof(*self));
	if (!self || !(self->zeros = calloc(1, ZERO_PIECE))) {
		free(self);
		return -ENOMEM;
	}
	int err = nbdsvc_nbd_pool_create(uri, connections, message, &self->pool);
	if (!err && nbdsvc_nbd_pool_facts(self->pool)->read_only) {
		snprintf(message->text, sizeof(message->text), "the export is read-only");
		nbdsvc_nbd_pool_destroy(self->pool);
		err = -EROFS;
	}
	if (err) {
		free(self->zeros);
		free(self);
		return err;
	}
	const struct nbdsvc_nbd_facts *facts = nbdsvc_nbd_pool_facts(self->pool);
	self->flags = flags;
	self->sink = (struct nbdsvc_sink){
		.grain = facts->block_size > 4096 ? facts->block_size : 4096,
		.scratch_size = sizeof(struct scratch),
		.resumable = 1,
		.kernel_only = !facts->tls, /* sent by the kernel as it is; with TLS encrypted by a library */
		.scratch_init = sink_scratch_init,
		.scratch_deinit = nbdsvc_no_scratch_deinit,
		.pwrite = sink_pwrite,
		.send = facts->can_send ? sink_send : NULL,
		.zero = sink_zero,
		.flush = sink_flush,
		.finish = sink_flush,
		.reason = sink_reason,
		.interrupt = sink_interrupt,
		.destroy = sink_destroy,
	};
	*ret_size = facts->size;
	*ret = &self->sink;
	return 0;
}
