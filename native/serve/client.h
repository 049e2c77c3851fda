/*
 * The requests of one connection of a server: each waits for the volume's limits, and goes then to the volume of all writers, or
 * to the connection's own that is read-only.
 *
 * A flush, and what reads no data, has no limit. What waits is not in the gate (gate.h), so that a mirror or a hold need not wait
 * for it; and the interpreter's lock is not held.
 */
#ifndef NBDSVC_CLIENT_H
#define NBDSVC_CLIENT_H

#include "serve/limits.h"
#include "serve/served.h"

struct nbdsvc_client;

/* vol: of the connection's reads; served: of its writes, NULL where it has none. All remain its caller's. -ENOMEM. */
int nbdsvc_client_create(struct nbdsvc_limits *limits, struct nbdsvc_vol *vol, struct nbdsvc_served *served,
			 struct nbdsvc_client **ret);
/* For when none of its requests is under way. */
void nbdsvc_client_destroy(struct nbdsvc_client *client);

/*
 * On a server's worker thread. Errors as of nbdsvc_served_pread and so on, and of nbdsvc_limits_wait. Zeros count as a write of so
 * many bytes, because not all storage makes them without writing; a trim as one without bytes; a cache as a read.
 */
int nbdsvc_client_pread(struct nbdsvc_client *client, void *buffer, size_t length, uint64_t offset);
int nbdsvc_client_pwrite(struct nbdsvc_client *client, const void *buffer, size_t length, uint64_t offset, int flags);
int nbdsvc_client_zero(struct nbdsvc_client *client, uint64_t length, uint64_t offset, int flags);
int nbdsvc_client_trim(struct nbdsvc_client *client, uint64_t length, uint64_t offset, int flags);
int nbdsvc_client_cache(struct nbdsvc_client *client, uint64_t length, uint64_t offset);

#endif
