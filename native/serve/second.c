#define _GNU_SOURCE
#include "serve/second.h"
#include "nbd/nbd_open.h"
#include "nbd/nbd_pool.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* The most of one request to zero: NBD has 32 bits for a length. */
static const uint64_t MOST_ZEROS = 1 << 30;
/* Zeros that are written by hand, to a server that knows no zero. */
enum { ZERO_PIECE = 256 << 10 };

struct nbdsvc_second {
	struct nbdsvc_vol *vol; /* or */
	struct nbdsvc_nbd_pool *pool;
	atomic_uint next; /* the connection of the next request */
};

int nbdsvc_second_create(struct nbdsvc_vol *vol, struct nbdsvc_second **ret)
{
	struct nbdsvc_second *second = calloc(1, sizeof(*second));
	if (!second) {
		nbdsvc_vol_destroy(vol);
		return -ENOMEM;
	}
	second->vol = vol;
	*ret = second;
	return 0;
}

int nbdsvc_second_connect(const char *uri, int connections, struct nbdsvc_message *message, struct nbdsvc_second **ret)
{
	struct nbdsvc_second *second = calloc(1, sizeof(*second));
	int err = second ? nbdsvc_nbd_pool_create(uri, connections, message, &second->pool) : -ENOMEM;
	/* A switch rests on a flush that is one, and a volume may end in any byte. */
	if (!err) {
		const struct nbdsvc_nbd_facts *facts = nbdsvc_nbd_pool_facts(second->pool);
		if (facts->read_only || !facts->can_flush || facts->block_size > 1)
			err = -EROFS;
	}
	if (err) {
		nbdsvc_second_destroy(second);
		return err;
	}
	*ret = second;
	return 0;
}

void nbdsvc_second_destroy(struct nbdsvc_second *second)
{
	if (!second)
		return;
	nbdsvc_vol_destroy(second->vol);
	nbdsvc_nbd_pool_destroy(second->pool);
	free(second);
}

struct nbdsvc_vol *nbdsvc_second_vol(struct nbdsvc_second *second)
{
	return second->vol;
}

int64_t nbdsvc_second_size(struct nbdsvc_second *second)
{
	return second->vol ? nbdsvc_vol_size(second->vol) : (int64_t)nbdsvc_nbd_pool_facts(second->pool)->size;
}

static unsigned turn(struct nbdsvc_second *second)
{
	return atomic_fetch_add(&second->next, 1);
}

static int settle(struct nbdsvc_second *second, int err, int flags)
{
	return !err && (flags & NBDSVC_FUA) ? nbdsvc_nbd_pool_flush(second->pool) : err;
}

int nbdsvc_second_pwrite(struct nbdsvc_second *second, const void *buffer, size_t length, uint64_t offset, int flags)
{
	if (second->vol)
		return nbdsvc_vol_pwrite(second->vol, buffer, length, offset, flags);
	return settle(second, nbdsvc_nbd_pool_write(second->pool, turn(second), buffer, length, offset), flags);
}

static int write_zeros(struct nbdsvc_second *second, uint64_t length, uint64_t offset)
{
	void *zeros = calloc(1, ZERO_PIECE);
	int err = zeros ? 0 : -ENOMEM;
	while (length && !err) {
		size_t piece = length < ZERO_PIECE ? length : ZERO_PIECE;
		err = nbdsvc_nbd_pool_write(second->pool, turn(second), zeros, piece, offset);
		offset += piece;
		length -= piece;
	}
	free(zeros);
	return err;
}

static int zero_there(struct nbdsvc_second *second, uint64_t length, uint64_t offset)
{
	int err = 0;
	if (!nbdsvc_nbd_pool_facts(second->pool)->can_zero)
		return write_zeros(second, length, offset);
	while (length && !err) {
		uint64_t piece = length < MOST_ZEROS ? length : MOST_ZEROS;
		err = nbdsvc_nbd_pool_zero(second->pool, turn(second), piece, offset);
		offset += piece;
		length -= piece;
	}
	return err;
}

int nbdsvc_second_zero(struct nbdsvc_second *second, uint64_t length, uint64_t offset, int flags)
{
	if (second->vol)
		return nbdsvc_vol_zero(second->vol, length, offset, flags);
	return settle(second, zero_there(second, length, offset), flags);
}

int nbdsvc_second_flush(struct nbdsvc_second *second)
{
	return second->vol ? nbdsvc_vol_flush(second->vol) : nbdsvc_nbd_pool_flush(second->pool);
}

void nbdsvc_second_interrupt(struct nbdsvc_second *second)
{
	if (second->pool)
		nbdsvc_nbd_pool_interrupt(second->pool);
}
