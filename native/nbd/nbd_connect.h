/* Shared by nbd_connect.c and nbd_pool.c: libnbd's functions, connections, and the errors of a wait. Private. */
#ifndef NBDSVC_NBD_CONNECT_H
#define NBDSVC_NBD_CONNECT_H

#include "nbd/nbd_facts.h"
#include "source/source.h"

#include <libnbd.h>
#include <pthread.h>
#include <stdatomic.h>

enum { NBDSVC_NBD_CONNECTIONS = 16 };

#define NBDSVC_NBD_FUNCTIONS(X) X(create) X(close) X(get_error) X(get_errno) X(aio_connect_uri) X(set_uri_allow_local_file) \
	X(add_meta_context) X(can_meta_context) X(get_size) X(can_multi_conn) X(can_zero) X(can_flush) X(is_read_only) \
	X(get_block_size) X(get_tls_negotiated) X(aio_pread) X(aio_pwrite) X(aio_zero) X(aio_flush) X(aio_block_status) X(poll) \
	X(aio_command_completed) X(aio_is_ready) X(aio_is_connecting) X(aio_disconnect) X(aio_get_fd)
#define NBDSVC_NBD_DECLARE(name) __typeof__(nbd_##name) *name;

/* libnbd, once a pool was made. */
struct nbdsvc_libnbd {
	NBDSVC_NBD_FUNCTIONS(NBDSVC_NBD_DECLARE)
};
extern struct nbdsvc_libnbd nbdsvc_libnbd;

struct nbdsvc_nbd_connection {
	struct nbd_handle *handle;
	pthread_mutex_t lock;
	int broken; /* a request was left behind: it must not be polled again */
};

struct nbdsvc_nbd_pool {
	struct nbdsvc_nbd_facts facts;
	struct nbdsvc_nbd_connection connections[NBDSVC_NBD_CONNECTIONS];
	atomic_int interrupted;
	pthread_mutex_t lock; /* reason */
	char reason[256];
};

/* Stores a readable message for the first failure. */
void nbdsvc_nbd_explain(struct nbdsvc_nbd_pool *pool, const char *format, ...);
/* Records libnbd's last failure on this thread as the reason, and returns its -errno (-EIO where it has none). */
int nbdsvc_nbd_failure(struct nbdsvc_nbd_pool *pool);
/* Records that the server is silent, and returns -ETIMEDOUT. */
int nbdsvc_nbd_silent(struct nbdsvc_nbd_pool *pool);
/* Milliseconds of a clock that only goes forward. */
long nbdsvc_nbd_now(void);
/* One step of waiting. `quiet_since`: when the server last answered. -ECANCELED, -ETIMEDOUT, or libnbd's -errno. */
int nbdsvc_nbd_step(struct nbdsvc_nbd_pool *pool, struct nbd_handle *handle, long quiet_since);

#endif
