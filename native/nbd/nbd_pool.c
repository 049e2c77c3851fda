#define _GNU_SOURCE
#include "nbd/nbd_pool.h"
#include "nbd/nbd_connect.h"
#include "nbd/nbd_send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_REQUESTS = 8 };
static const uint32_t STATE_ZERO = 2; /* of base:allocation */

static int wait_all(struct nbdsvc_nbd_pool *pool, struct nbdsvc_nbd_connection *connection, const int64_t *cookies, int count)
{
	long last_reply = nbdsvc_nbd_now();
	int err = 0;
	for (int i = 0; i < count; i++) {
		int done = cookies[i] < 0 ? -1 : 0;
		while (!err && done == 0 && (done = nbdsvc_libnbd.aio_command_completed(connection->handle, cookies[i])) == 0)
			err = nbdsvc_nbd_step(pool, connection->handle, last_reply);
		if (!err && done < 0)
			err = nbdsvc_nbd_failure(pool);
		if (err) {
			connection->broken = 1;
			return err;
		}
		last_reply = nbdsvc_nbd_now();
	}
	return 0;
}

static struct nbdsvc_nbd_connection *take(struct nbdsvc_nbd_pool *pool, unsigned index, int *err)
{
	struct nbdsvc_nbd_connection *connection = &pool->connections[index % pool->facts.connections];
	pthread_mutex_lock(&connection->lock);
	/* After an interrupt, the thread that used the connection has left a request unfinished. */
	*err = !connection->broken ? 0 : atomic_load(&pool->interrupted) ? -ECANCELED : -EIO;
	return connection;
}

static int give(struct nbdsvc_nbd_connection *connection, int err)
{
	pthread_mutex_unlock(&connection->lock);
	return err;
}

/* Split into requests, of which several are in flight. */
static int transfer(struct nbdsvc_nbd_pool *pool, unsigned index, void *into, const void *from, size_t length, uint64_t offset)
{
	int err;
	struct nbdsvc_nbd_connection *connection = take(pool, index, &err);
	for (size_t at = 0; at < length && !err;) {
		int64_t cookies[MOST_REQUESTS];
		int count = 0;
		for (; count < MOST_REQUESTS && at < length; count++) {
			size_t most = pool->facts.request, piece = length - at < most ? length - at : most;
			cookies[count] = into ? nbdsvc_libnbd.aio_pread(connection->handle, (char *)into + at, piece, offset + at,
							      NBD_NULL_COMPLETION, 0)
					      : nbdsvc_libnbd.aio_pwrite(connection->handle, (const char *)from + at, piece, offset + at,
							       NBD_NULL_COMPLETION, 0);
			at += piece;
		}
		err = wait_all(pool, connection, cookies, count);
	}
	return give(connection, err);
}

/* What of [offset, offset + length) lies in the first block, if that is not whole; 0 if it begins with whole ones. */
static size_t ragged(const struct nbdsvc_nbd_pool *pool, size_t length, uint64_t offset)
{
	uint64_t block = pool->facts.block_size, skipped = offset % block, left = block - skipped;
	if (!skipped && length >= block)
		return 0;
	return length < left ? length : left;
}

/* For a part of one block, the block is read and written back with that part changed. */
static int transfer_part(struct nbdsvc_nbd_pool *pool, unsigned index, void *into, const void *from, size_t length,
			 uint64_t offset)
{
	uint64_t block = pool->facts.block_size, start = offset - offset % block;
	size_t whole = pool->facts.size - start < block ? pool->facts.size - start : block;
	unsigned char *buffer = malloc(block);
	int err = buffer ? transfer(pool, index, buffer, NULL, whole, start) : -ENOMEM;
	if (!err && into)
		memcpy(into, buffer + (offset - start), length);
	if (!err && from) {
		memcpy(buffer + (offset - start), from, length);
		err = transfer(pool, index, NULL, buffer, whole, start);
	}
	free(buffer);
	return err;
}

static int transfer_any(struct nbdsvc_nbd_pool *pool, unsigned index, void *into, const void *from, size_t length,
			uint64_t offset)
{
	int err = 0;
	if (offset > pool->facts.size || length > pool->facts.size - offset)
		return -EINVAL;
	while (length && !err) {
		size_t part = ragged(pool, length, offset), piece = part ? part : length - length % pool->facts.block_size;
		err = (part ? transfer_part : transfer)(pool, index, into, from, piece, offset);
		into = into ? (char *)into + piece : NULL;
		from = from ? (const char *)from + piece : NULL;
		length -= piece;
		offset += piece;
	}
	return err;
}

int nbdsvc_nbd_pool_read(struct nbdsvc_nbd_pool *pool, unsigned index, void *buffer, size_t length, uint64_t offset)
{
	return transfer_any(pool, index, buffer, NULL, length, offset);
}

int nbdsvc_nbd_pool_write(struct nbdsvc_nbd_pool *pool, unsigned index, const void *buffer, size_t length, uint64_t offset)
{
	return transfer_any(pool, index, NULL, buffer, length, offset);
}

int nbdsvc_nbd_pool_send(struct nbdsvc_nbd_pool *pool, unsigned index, int fd, uint64_t at, size_t length, uint64_t offset)
{
	int err;
	struct nbdsvc_nbd_connection *connection = take(pool, index, &err);
	if (err)
		return give(connection, err);
	struct nbdsvc_nbd_span span = {
		.socket = nbdsvc_libnbd.aio_get_fd(connection->handle),
		.fd = fd,
		.at = at,
		.length = length,
		.offset = offset,
		.request = pool->facts.request,
		.interrupted = &pool->interrupted,
	};
	err = nbdsvc_nbd_send(&span);
	if (err == -ETIMEDOUT)
		nbdsvc_nbd_silent(pool);
	else if (err)
		nbdsvc_nbd_explain(pool, "write: %s", strerror(-err));
	connection->broken = err != 0;
	return give(connection, err);
}

int nbdsvc_nbd_pool_zero(struct nbdsvc_nbd_pool *pool, unsigned index, uint64_t length, uint64_t offset)
{
	int err;
	struct nbdsvc_nbd_connection *connection = take(pool, index, &err);
	if (!err) {
		int64_t cookie = nbdsvc_libnbd.aio_zero(connection->handle, length, offset, NBD_NULL_COMPLETION, 0);
		err = wait_all(pool, connection, &cookie, 1);
	}
	return give(connection, err);
}

int nbdsvc_nbd_pool_flush(struct nbdsvc_nbd_pool *pool)
{
	if (!pool->facts.can_flush)
		return 0;
	int err;
	struct nbdsvc_nbd_connection *connection = take(pool, 0, &err); /* multi-conn: a flush on one is a flush of all */
	if (!err) {
		int64_t cookie = nbdsvc_libnbd.aio_flush(connection->handle, NBD_NULL_COMPLETION, 0);
		err = wait_all(pool, connection, &cookie, 1);
	}
	return give(connection, err);
}

struct collected {
	struct nbdsvc_extent *extents;
	int room;
	int count;
};

static int collect(void *user_data, const char *context, uint64_t offset, uint32_t *entries, size_t count, int *error)
{
	(void)offset;
	(void)error;
	struct collected *found = user_data;
	if (strcmp(context, LIBNBD_CONTEXT_BASE_ALLOCATION))
		return 0;
	for (size_t i = 0; i + 1 < count && found->count < found->room; i += 2)
		if (entries[i])
			found->extents[found->count++] = (struct nbdsvc_extent){
				.length = entries[i], .kind = entries[i + 1] & STATE_ZERO ? NBDSVC_EXTENT_ZERO : NBDSVC_EXTENT_DATA };
	return 0;
}

int nbdsvc_nbd_pool_extents(struct nbdsvc_nbd_pool *pool, uint64_t length, uint64_t offset, struct nbdsvc_extent *extents,
			    int room, int *ret_count)
{
	struct collected found = { .extents = extents, .room = room };
	int err;
	struct nbdsvc_nbd_connection *connection = take(pool, 0, &err);
	if (!err) {
		nbd_extent_callback callback = { .callback = collect, .user_data = &found };
		int64_t cookie = nbdsvc_libnbd.aio_block_status(connection->handle, length, offset, callback, NBD_NULL_COMPLETION, 0);
		err = wait_all(pool, connection, &cookie, 1);
	}
	if (!err && !found.count)
		err = -EPROTO;
	if (!err)
		*ret_count = found.count;
	return give(connection, err);
}

void nbdsvc_nbd_pool_interrupt(struct nbdsvc_nbd_pool *pool)
{
	atomic_store(&pool->interrupted, 1);
}

const char *nbdsvc_nbd_pool_reason(struct nbdsvc_nbd_pool *pool)
{
	return pool->reason[0] ? pool->reason : NULL;
}

const struct nbdsvc_nbd_facts *nbdsvc_nbd_pool_facts(struct nbdsvc_nbd_pool *pool)
{
	return &pool->facts;
}
