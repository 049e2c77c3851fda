/* An NBD export as source or sink of a copy. */
#ifndef NBDSVC_NBD_H
#define NBDSVC_NBD_H

#include "sink/sink.h"
#include "source/source.h"

/*
 * At most `connections`, where the server allows several. On failure `message` holds the reason: -ENOSYS without libnbd,
 * -ENOMEM, -ETIMEDOUT, -EROFS for a sink that is read-only, or libnbd's -errno (-EIO where it has none).
 */
int nbdsvc_source_nbd_create(const char *uri, int connections, struct nbdsvc_message *message, struct nbdsvc_source **ret);
int nbdsvc_sink_nbd_create(const char *uri, int connections, int flags, struct nbdsvc_message *message, uint64_t *ret_size,
			   struct nbdsvc_sink **ret);

#endif
