#define _GNU_SOURCE
#include "nbd_pool.h"

#include <dlfcn.h>
#include <errno.h>
#include <libnbd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_CONNECTIONS = 16, MOST_REQUESTS = 8 };
/* Requests of this size, several in flight: what nbdcopy found best, and no server refuses it. */
static const size_t REQUEST = 256 << 10;
static const int POLL_MS = 50;
static const long STALL_MS = 30000;
static const uint32_t STATE_ZERO = 2; /* of base:allocation */

#define FUNCTIONS(X) X(create) X(close) X(get_error) X(get_errno) X(aio_connect_uri) X(set_uri_allow_local_file) \
	X(add_meta_context) X(can_meta_context) X(get_size) X(can_multi_conn) X(can_zero) X(can_flush) X(is_read_only) \
	X(get_block_size) X(get_tls_negotiated) X(aio_pread) X(aio_pwrite) X(aio_zero) X(aio_flush) X(aio_block_status) X(poll) \
	X(aio_command_completed) X(aio_is_ready) X(aio_is_connecting) X(aio_disconnect)
#define DECLARE(name) __typeof__(nbd_##name) *name;
#define RESOLVE(name) nbd.name = (__typeof__(nbd.name))dlsym(library, "nbd_" #name); missing |= !nbd.name;

static struct {
	FUNCTIONS(DECLARE)
} nbd;
static int load_error;

struct connection {
	struct nbd_handle *handle;
	pthread_mutex_t lock;
	int broken; /* a request was left behind: nobody may poll it again */
};

struct nbdsvc_nbd_pool {
	struct nbdsvc_nbd_facts facts;
	struct connection connections[MOST_CONNECTIONS];
	atomic_int interrupted;
	pthread_mutex_t lock; /* reason */
	char reason[256];
};

static void load(void)
{
	void *library = dlopen("libnbd.so.0", RTLD_NOW | RTLD_LOCAL);
	int missing = !library;
	if (library) {
		FUNCTIONS(RESOLVE)
	}
	load_error = missing ? -ENOSYS : 0;
}

static long milliseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void explain(struct nbdsvc_nbd_pool *pool, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	pthread_mutex_lock(&pool->lock);
	if (!pool->reason[0])
		vsnprintf(pool->reason, sizeof(pool->reason), format, arguments);
	pthread_mutex_unlock(&pool->lock);
	va_end(arguments);
}

/* What libnbd's last failure on this thread means. */
static int failure(struct nbdsvc_nbd_pool *pool)
{
	int number = nbd.get_errno();
	const char *text = nbd.get_error();
	explain(pool, "%s", text ? text : "the NBD server refused");
	return number > 0 ? -number : -EIO;
}

/* One step of waiting. `quiet_since` is when the server was last heard. */
static int step(struct nbdsvc_nbd_pool *pool, struct nbd_handle *handle, long quiet_since)
{
	if (atomic_load(&pool->interrupted))
		return -ECANCELED;
	if (nbd.poll(handle, POLL_MS) < 0)
		return failure(pool);
	if (milliseconds() - quiet_since < STALL_MS)
		return 0;
	explain(pool, "the NBD server has not answered for %ld seconds", STALL_MS / 1000);
	return -ETIMEDOUT;
}

static int wait_all(struct nbdsvc_nbd_pool *pool, struct connection *connection, const int64_t *cookies, int count)
{
	long heard = milliseconds();
	int err = 0;
	for (int i = 0; i < count; i++) {
		int done = cookies[i] < 0 ? -1 : 0;
		while (!err && done == 0 && (done = nbd.aio_command_completed(connection->handle, cookies[i])) == 0)
			err = step(pool, connection->handle, heard);
		if (!err && done < 0)
			err = failure(pool);
		if (err) {
			connection->broken = 1;
			return err;
		}
		heard = milliseconds();
	}
	return 0;
}

static struct connection *take(struct nbdsvc_nbd_pool *pool, unsigned index, int *err)
{
	struct connection *connection = &pool->connections[index % pool->facts.connections];
	pthread_mutex_lock(&connection->lock);
	*err = connection->broken ? -EIO : 0;
	return connection;
}

static int give(struct connection *connection, int err)
{
	pthread_mutex_unlock(&connection->lock);
	return err;
}

/* Cut into requests of which several are in flight. */
static int transfer(struct nbdsvc_nbd_pool *pool, unsigned index, void *into, const void *from, size_t length, uint64_t offset)
{
	int err;
	struct connection *connection = take(pool, index, &err);
	for (size_t at = 0; at < length && !err;) {
		int64_t cookies[MOST_REQUESTS];
		int count = 0;
		for (; count < MOST_REQUESTS && at < length; count++) {
			size_t piece = length - at < REQUEST ? length - at : REQUEST;
			cookies[count] = into ? nbd.aio_pread(connection->handle, (char *)into + at, piece, offset + at,
							      NBD_NULL_COMPLETION, 0)
					      : nbd.aio_pwrite(connection->handle, (const char *)from + at, piece, offset + at,
							       NBD_NULL_COMPLETION, 0);
			at += piece;
		}
		err = wait_all(pool, connection, cookies, count);
	}
	return give(connection, err);
}

int nbdsvc_nbd_pool_read(struct nbdsvc_nbd_pool *pool, unsigned index, void *buffer, size_t length, uint64_t offset)
{
	return transfer(pool, index, buffer, NULL, length, offset);
}

int nbdsvc_nbd_pool_write(struct nbdsvc_nbd_pool *pool, unsigned index, const void *buffer, size_t length, uint64_t offset)
{
	return transfer(pool, index, NULL, buffer, length, offset);
}

int nbdsvc_nbd_pool_zero(struct nbdsvc_nbd_pool *pool, unsigned index, uint64_t length, uint64_t offset)
{
	int err;
	struct connection *connection = take(pool, index, &err);
	if (!err) {
		int64_t cookie = nbd.aio_zero(connection->handle, length, offset, NBD_NULL_COMPLETION, 0);
		err = wait_all(pool, connection, &cookie, 1);
	}
	return give(connection, err);
}

int nbdsvc_nbd_pool_flush(struct nbdsvc_nbd_pool *pool)
{
	if (!pool->facts.can_flush)
		return 0;
	int err;
	struct connection *connection = take(pool, 0, &err); /* multi-conn: a flush on one is a flush of all */
	if (!err) {
		int64_t cookie = nbd.aio_flush(connection->handle, NBD_NULL_COMPLETION, 0);
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
	struct connection *connection = take(pool, 0, &err);
	if (!err) {
		nbd_extent_callback callback = { .callback = collect, .user_data = &found };
		int64_t cookie = nbd.aio_block_status(connection->handle, length, offset, callback, NBD_NULL_COMPLETION, 0);
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

static int connect_one(struct nbdsvc_nbd_pool *pool, const char *uri, struct connection *connection)
{
	connection->handle = nbd.create();
	if (!connection->handle)
		return failure(pool);
	/* The URI is our caller's own, and a pre-shared key is named in it by its file. */
	if (nbd.set_uri_allow_local_file(connection->handle, true) < 0 ||
	    nbd.add_meta_context(connection->handle, LIBNBD_CONTEXT_BASE_ALLOCATION) < 0 ||
	    nbd.aio_connect_uri(connection->handle, uri) < 0)
		return failure(pool);
	long began = milliseconds();
	int err = 0;
	while (!err && nbd.aio_is_connecting(connection->handle) == 1)
		err = step(pool, connection->handle, began);
	if (!err && nbd.aio_is_ready(connection->handle) != 1)
		err = failure(pool);
	return err;
}

static int learn(struct nbdsvc_nbd_pool *pool)
{
	struct nbd_handle *handle = pool->connections[0].handle;
	int64_t size = nbd.get_size(handle);
	if (size < 0)
		return failure(pool);
	int64_t block = nbd.get_block_size(handle, LIBNBD_SIZE_MINIMUM);
	pool->facts = (struct nbdsvc_nbd_facts){
		.size = size,
		.block_size = block > 0 ? block : 1,
		.connections = 1,
		.tls = nbd.get_tls_negotiated(handle) == 1,
		.read_only = nbd.is_read_only(handle) == 1,
		.can_zero = nbd.can_zero(handle) == 1,
		.can_flush = nbd.can_flush(handle) == 1,
		.has_extents = nbd.can_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1,
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
	for (int i = 0; i < MOST_CONNECTIONS; i++)
		pthread_mutex_init(&pool->connections[i].lock, NULL);
	int err = connect_one(pool, uri, &pool->connections[0]);
	if (!err)
		err = learn(pool);
	int wanted = connections < MOST_CONNECTIONS ? connections : MOST_CONNECTIONS;
	if (!err && nbd.can_multi_conn(pool->connections[0].handle) == 1)
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
	for (int i = 0; i < MOST_CONNECTIONS; i++) {
		struct connection *connection = &pool->connections[i];
		if (connection->handle) {
			if (!connection->broken && nbd.aio_is_ready(connection->handle) == 1)
				nbd.aio_disconnect(connection->handle, 0);
			nbd.close(connection->handle);
		}
		pthread_mutex_destroy(&connection->lock);
	}
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}
