/*
 * A client's export, at whichever connection to its server there is: requests outlive the connection. Filters of nbdkit only,
 * which open what is below them by this and not by themselves (nbdkit-filter(3), "nbdkit_next_context_open").
 */
#ifndef NBDSVC_NBDKIT_CONNECTION_H
#define NBDSVC_NBDKIT_CONNECTION_H

#include <nbdkit-filter.h>

/* As nbdkit's filters name them. */
enum nbdsvc_ability {
	NBDSVC_CAN_WRITE,
	NBDSVC_CAN_FLUSH,
	NBDSVC_CAN_TRIM,
	NBDSVC_CAN_ZERO,
	NBDSVC_CAN_FAST_ZERO,
	NBDSVC_CAN_EXTENTS,
	NBDSVC_CAN_FUA,
	NBDSVC_CAN_MULTI_CONN,
	NBDSVC_CAN_CACHE,
	NBDSVC_ABILITIES,
};

/* What the client knows of the export; a new connection has to offer as much. */
struct nbdsvc_facts {
	int64_t size;
	uint32_t minimum, preferred, maximum; /* sizes of a request, all 0 where the server does not say */
	int is_rotational;
	int can[NBDSVC_ABILITIES];
};

struct nbdsvc_connection;

struct nbdsvc_request {
	int (*send)(nbdkit_next *next, const struct nbdsvc_request *request, int *err);
	void *into;
	const void *from;
	uint32_t count, flags;
	uint64_t offset;
	struct nbdkit_extents **extents; /* of the last attempt */
};

/* How long a request, or the first connection, waits for a server that takes it. */
extern unsigned nbdsvc_reconnect_seconds;

/* NULL where there was no connection in time; nbdkit has logged why. */
struct nbdsvc_connection *nbdsvc_connection_open(nbdkit_context *context, int readonly, const char *name);
void nbdsvc_connection_close(struct nbdsvc_connection *connection);
const struct nbdsvc_facts *nbdsvc_connection_facts(const struct nbdsvc_connection *connection);
/* 0, or -1 with the server's error; ESHUTDOWN where no server was found in time, or the client has gone. Thread-safe. */
int nbdsvc_connection_perform(struct nbdsvc_connection *connection, const struct nbdsvc_request *request, int *err);

#endif
