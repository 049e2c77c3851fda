/*
 * Connections to an NBD server through libnbd, which is loaded when the first one is made and not before.
 *
 * Several connections where the server promises that they are consistent (multi-conn), one otherwise. Each serves one
 * thread at a time. A server that says nothing for 30 seconds is an error, and interrupt ends every wait within 50 ms.
 */
#ifndef NBDSVC_NBD_POOL_H
#define NBDSVC_NBD_POOL_H

#include "nbd/nbd_facts.h"
#include "nbd/nbd_open.h"

const struct nbdsvc_nbd_facts *nbdsvc_nbd_pool_facts(struct nbdsvc_nbd_pool *pool);

/*
 * `index`: any number; each goes to a connection of its own where there are enough. The server's -errno; -ECANCELED after an
 * interrupt, -ETIMEDOUT for a silent server, -EIO for a broken connection, -EINVAL beyond the size, -ENOMEM. Requests are as large and
 * as aligned as the server takes them ("Block size constraints" of doc/proto.md): a read of less than a block reads the
 * block, and a write of less than a block reads it first. Two writes into one block must not come at once.
 */
int nbdsvc_nbd_pool_read(struct nbdsvc_nbd_pool *pool, unsigned index, void *buffer, size_t length, uint64_t offset);
int nbdsvc_nbd_pool_write(struct nbdsvc_nbd_pool *pool, unsigned index, const void *buffer, size_t length, uint64_t offset);
/* As write of whole blocks, of a file's bytes from `at` on; -EFAULT where that has become shorter. Only where facts say
 * can_send. */
int nbdsvc_nbd_pool_send(struct nbdsvc_nbd_pool *pool, unsigned index, int fd, uint64_t at, size_t length, uint64_t offset);
int nbdsvc_nbd_pool_zero(struct nbdsvc_nbd_pool *pool, unsigned index, uint64_t length, uint64_t offset);
int nbdsvc_nbd_pool_flush(struct nbdsvc_nbd_pool *pool);
/* Up to `room` extents from offset on, their number (at least 1) in ret_count. Errors as above; -EPROTO for an empty reply. */
int nbdsvc_nbd_pool_extents(struct nbdsvc_nbd_pool *pool, uint64_t length, uint64_t offset, struct nbdsvc_extent *extents,
			    int room, int *ret_count);
void nbdsvc_nbd_pool_interrupt(struct nbdsvc_nbd_pool *pool);
/* What libnbd said about the first failure, or NULL. */
const char *nbdsvc_nbd_pool_reason(struct nbdsvc_nbd_pool *pool);

#endif
