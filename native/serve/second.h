/*
 * The second place of a mirror: a volume of this host, or an export of another host's NBD server. Only what a mirror needs.
 * Thread-safe. Fallible functions return 0 or -errno.
 */
#ifndef NBDSVC_SECOND_H
#define NBDSVC_SECOND_H

#include "source/source.h"
#include "serve/vol.h"

struct nbdsvc_second;

/* vol: opened for writing, its own from now on, also after -ENOMEM. */
int nbdsvc_second_create(struct nbdsvc_vol *vol, struct nbdsvc_second **ret);
/* Errors as of nbdsvc_sink_nbd_create; -EROFS for an export that is read-only, or cannot flush. */
int nbdsvc_second_connect(const char *uri, int connections, struct nbdsvc_message *message, struct nbdsvc_second **ret);
void nbdsvc_second_destroy(struct nbdsvc_second *second);

/* The volume of this host; NULL for an export of another one. */
struct nbdsvc_vol *nbdsvc_second_vol(struct nbdsvc_second *second);
int64_t nbdsvc_second_size(struct nbdsvc_second *second);
/*
 * As of nbdsvc_vol. Of another host's export, a request that is answered by it, and no flush, may be lost with that host; -ECANCELED
 * after an interrupt, -ETIMEDOUT for a server that is silent for 30 seconds, -EIO for a broken connection.
 */
int nbdsvc_second_pwrite(struct nbdsvc_second *second, const void *buffer, size_t length, uint64_t offset, int flags);
int nbdsvc_second_zero(struct nbdsvc_second *second, uint64_t length, uint64_t offset, int flags);
int nbdsvc_second_flush(struct nbdsvc_second *second);
/* Ends every wait for another host's export, for good. A request at a disk of this host cannot be interrupted. */
void nbdsvc_second_interrupt(struct nbdsvc_second *second);

#endif
