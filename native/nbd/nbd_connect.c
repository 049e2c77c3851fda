#define _GNU_SOURCE
#include "nbd/nbd_connect.h"
#include "nbd/nbd_open.h"
#include "nbd/nbd_send.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RESOLVE(name) \
	nbdsvc_libnbd.name = (__typeof__(nbdsvc_libnbd.name))dlsym(library, "nbd_" #name); \
	missing |= !nbdsvc_libnbd.name;

/* The protocol's largest minimum. */
enum { MOST_BLOCK = 64 << 10 };
struct nbdsvc_libnbd nbdsvc_libnbd;
static int load_error;

static void load(void)
{
	void *library = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL);
	int missing = !library;
	if (library) {
		NBDSVC_NBD_FUNCTIONS(RESOLVE)
	}
	load_error = missing ? -ENOSYS : 0;
}

long nbdsvc_nbd_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void nbdsvc_nbd_explain(struct nbdsvc_nbd_pool *pool, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	pthread_mutex_lock(&pool->lock);
	if (!pool->reason[0])
		vsnprintf(pool->reason, sizeof(pool->reason), format, arguments);
	pthread_mutex_unlock(&pool->lock);
	va_end(arguments);
}

int nbdsvc_nbd_failure(struct nbdsvc_nbd_pool *pool)
{
	int number = nbdsvc_libnbd.get_errno();
	const char *text = nbdsvc_libnbd.get_error();
	nbdsvc_nbd_explain(pool, "%s", text ? text : "the NBD server refused");
	return number > 0 ? -number : -EIO;
}

int nbdsvc_nbd_silent(struct nbdsvc_nbd_pool *pool)
{
	nbdsvc_nbd_explain(pool, "the NBD server has not answered for %d seconds", NBDSVC_NBD_STALL_MS / 1000);
	return -ETIMEDOUT;
}

int nbdsvc_nbd_step(struct nbdsvc_nbd_pool *pool, struct nbd_handle *handle, long quiet_since)
{
	if (atomic_load(&pool->interrupted))
		return -ECANCELED;
	if (nbdsvc_libnbd.poll(handle, NBDSVC_NBD_POLL_MS) < 0)
		return nbdsvc_nbd_failure(pool);
	if (nbdsvc_nbd_now() - quiet_since < NBDSVC_NBD_STALL_MS)
		return 0;
	return nbdsvc_nbd_silent(pool);
}

static int connect_one(struct nbdsvc_nbd_pool *pool, const char *uri, struct nbdsvc_nbd_connection *connection)
{
	connection->handle = nbdsvc_libnbd.create();
	if (!connection->handle)
		return nbdsvc_nbd_failure(pool);
	/* The caller made the URI, which names a pre-shared key by its file. */
	if (nbdsvc_libnbd.set_uri_allow_local_file(connection->handle, true) < 0 ||
	    nbdsvc_libnbd.add_meta_context(connection->handle, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbdsvc_libnbd.aio_connect_uri(connection->handle, uri) < 0)
		return nbdsvc_nbd_failure(pool);
	long began = nbdsvc_nbd_now();
	int err = 0;
	while (!err && nbdsvc_libnbd.aio_is_connecting(connection->handle) == 1)
		err = nbdsvc_nbd_step(pool, connection->handle, began);
	if (!err && nbdsvc_libnbd.aio_is_ready(connection->handle) != 1)
		err = nbdsvc_nbd_failure(pool);
	return err;
}

static int learn(struct nbdsvc_nbd_pool *pool)
{
	struct nbd_handle *handle = pool->connections[0].handle;
	int64_t size = nbdsvc_libnbd.get_size(handle);
	if (size < 0)
		return nbdsvc_nbd_failure(pool);
	int64_t block = nbdsvc_libnbd.get_block_size(handle, LIBNBD_SIZE_MINIMUM);
	int64_t most = nbdsvc_libnbd.get_block_size(handle, LIBNBD_SIZE_MAXIMUM);
	block = block > 0 ? block : 1;
	most = most > 0 && most < NBDSVC_NBD_REQUEST ? most : NBDSVC_NBD_REQUEST;
	if (block > MOST_BLOCK || block & (block - 1) || most < block) {
		nbdsvc_nbd_explain(pool, "the NBD server wants blocks of %lld to %lld bytes", (long long)block, (long long)most);
		return -EPROTO;
	}
	pool->facts = (struct nbdsvc_nbd_facts){
		.size = size,
		.block_size = block,
		.request = most - most % block,
		.connections = 1,
		.tls = nbdsvc_libnbd.get_tls_negotiated(handle) == 1,
		.can_send = nbdsvc_libnbd.get_tls_negotiated(handle) != 1 && nbdsvc_nbd_can_send(nbdsvc_libnbd.aio_get_fd(handle)),
		.read_only = nbdsvc_libnbd.is_read_only(handle) == 1,
		.can_zero = nbdsvc_libnbd.can_zero(handle) == 1,
		.can_flush = nbdsvc_libnbd.can_flush(handle) == 1,
		.has_extents = nbdsvc_libnbd.can_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1,
	};
	return 0;
}

int nbdsvc_nbd_pool_create(const char *uri, int connections, struct nbdsvc_message *message, struct nbdsvc_nbd_pool **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, load);
	if (load_error) {
		snprintf(message->text, sizeof(message->text), "libnbd.so.0 is not installed (Debian: libnbd0)");
		return load_error;
	}
	struct nbdsvc_nbd_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	for (int i = 0; i < NBDSVC_NBD_CONNECTIONS; i++)
		pthread_mutex_init(&pool->connections[i].lock, NULL);
	int err = connect_one(pool, uri, &pool->connections[0]);
	if (!err)
		err = learn(pool);
	int wanted = connections < NBDSVC_NBD_CONNECTIONS ? connections : NBDSVC_NBD_CONNECTIONS;
	if (!err && nbdsvc_libnbd.can_multi_conn(pool->connections[0].handle) == 1)
		for (int i = 1; i < wanted && !err; i++)
			if (!(err = connect_one(pool, uri, &pool->connections[i])))
				pool->facts.connections++;
	if (err) {
		snprintf(message->text, sizeof(message->text), "%s", pool->reason);
		nbdsvc_nbd_pool_destroy(pool);
		return err;
	}
	*ret = pool;
	return 0;
}

void nbdsvc_nbd_pool_destroy(struct nbdsvc_nbd_pool *pool)
{
	if (!pool)
		return;
	for (int i = 0; i < NBDSVC_NBD_CONNECTIONS; i++) {
		struct nbdsvc_nbd_connection *connection = &pool->connections[i];
		if (connection->handle) {
			if (!connection->broken && nbdsvc_libnbd.aio_is_ready(connection->handle) == 1)
				nbdsvc_libnbd.aio_disconnect(connection->handle, 0);
			nbdsvc_libnbd.close(connection->handle);
		}
		pthread_mutex_destroy(&connection->lock);
	}
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
