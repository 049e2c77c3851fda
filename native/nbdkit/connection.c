#define _GNU_SOURCE
#include "nbdkit/connection.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIRST_PAUSE_MS = 20, LONGEST_PAUSE_MS = 1000 };

unsigned nbdsvc_reconnect_seconds = 20;

/* Requests hold `lock` shared, and whoever makes a new connection holds it alone. */
struct nbdsvc_connection {
	nbdkit_backend *backend;
	int readonly;
	char *name;
	struct nbdsvc_facts facts;
	pthread_rwlock_t lock;
	nbdkit_next *next; /* NULL where there is none */
	unsigned generation; /* counts the attempts at a new connection */
};

struct patience {
	int64_t until_ms;
	int pause_ms;
};

static int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static struct patience new_patience(void)
{
	return (struct patience){ .until_ms = now_ms() + nbdsvc_reconnect_seconds * 1000LL, .pause_ms = FIRST_PAUSE_MS };
}

/* Wait before the next attempt. False where there is to be none: the time is over, or the client has gone. */
static bool wait_more(struct patience *patience)
{
	if (now_ms() >= patience->until_ms)
		return false;
	int pause = patience->pause_ms;
	patience->pause_ms = pause * 2 < LONGEST_PAUSE_MS ? pause * 2 : LONGEST_PAUSE_MS;
	return nbdkit_nanosleep(pause / 1000, pause % 1000 * 1000000) == 0;
}

/* False for an export that cannot be described. nbdkit aborts on a request for which these were not read before. */
static bool read_facts(nbdkit_next *next, struct nbdsvc_facts *facts)
{
	*facts = (struct nbdsvc_facts){
		.size = next->get_size(next),
		.is_rotational = next->is_rotational(next),
		.can = {
			[NBDSVC_CAN_WRITE] = next->can_write(next),
			[NBDSVC_CAN_FLUSH] = next->can_flush(next),
			[NBDSVC_CAN_TRIM] = next->can_trim(next),
			[NBDSVC_CAN_ZERO] = next->can_zero(next),
			[NBDSVC_CAN_FAST_ZERO] = next->can_fast_zero(next),
			[NBDSVC_CAN_EXTENTS] = next->can_extents(next),
			[NBDSVC_CAN_FUA] = next->can_fua(next),
			[NBDSVC_CAN_MULTI_CONN] = next->can_multi_conn(next),
			[NBDSVC_CAN_CACHE] = next->can_cache(next),
		},
	};
	for (int i = 0; i < NBDSVC_ABILITIES; i++)
		if (facts->can[i] < 0)
			return false;
	return facts->size >= 0 && facts->is_rotational >= 0 &&
	       next->block_size(next, &facts->minimum, &facts->preferred, &facts->maximum) == 0;
}

static bool covers(const struct nbdsvc_facts *found, const struct nbdsvc_facts *wanted)
{
	for (int i = 0; i < NBDSVC_ABILITIES; i++)
		if (wanted->can[i] && !found->can[i])
			return false;
	return found->size >= wanted->size;
}

static void disconnect(nbdkit_next *next)
{
	if (!next)
		return;
	next->finalize(next);
	nbdkit_next_context_close(next);
}

static nbdkit_next *connect_once(struct nbdsvc_connection *connection, struct nbdsvc_facts *facts)
{
	nbdkit_next *next = nbdkit_next_context_open(connection->backend, connection->readonly, connection->name, 0);
	if (next && (next->prepare(next) < 0 || !read_facts(next, facts))) {
		disconnect(next);
		return NULL;
	}
	return next;
}

/* The caller has `lock` alone. False where the patience has ended before there was a connection. */
static bool connect_again(struct nbdsvc_connection *connection, struct patience *patience)
{
	struct nbdsvc_facts facts;
	disconnect(connection->next);
	connection->generation++;
	while (!(connection->next = connect_once(connection, &facts)))
		if (!wait_more(patience))
			return false;
	if (covers(&facts, &connection->facts))
		return true;
	nbdkit_error("the server of export \"%s\" offers less than the one before", connection->name);
	disconnect(connection->next);
	connection->next = NULL;
	return false;
}

/* Whether no server has answered so. A request at a connection that has ended is EINVAL for libnbd. */
static bool is_lost(int err, bool is_new)
{
	switch (err) {
	case EPERM:
	case EIO:
	case ENOMEM:
	case ENOSPC:
	case EOVERFLOW:
	case EROFS:
	case EFBIG:
	case EOPNOTSUPP:
		return false;
	case EINVAL:
		return !is_new;
	default:
		return true;
	}
}

static int attempt(struct nbdsvc_connection *connection, const struct nbdsvc_request *request, unsigned *generation, int *err)
{
	pthread_rwlock_rdlock(&connection->lock);
	*generation = connection->generation;
	*err = ENOTCONN;
	int result = connection->next ? request->send(connection->next, request, err) : -1;
	pthread_rwlock_unlock(&connection->lock);
	return result;
}

int nbdsvc_connection_perform(struct nbdsvc_connection *connection, const struct nbdsvc_request *request, int *err)
{
	struct patience patience;
	unsigned generation;
	for (bool is_new = false; attempt(connection, request, &generation, err) < 0; is_new = true) {
		if (!is_lost(*err, is_new) || (is_new && !wait_more(&patience)))
			return -1;
		if (!is_new)
			patience = new_patience(); /* the request may have been at its server for long */
		pthread_rwlock_wrlock(&connection->lock);
		bool is_there = connection->generation != generation || connect_again(connection, &patience);
		pthread_rwlock_unlock(&connection->lock);
		if (!is_there) {
			*err = ESHUTDOWN;
			return -1;
		}
	}
	return 0;
}

struct nbdsvc_connection *nbdsvc_connection_open(nbdkit_context *context, int readonly, const char *name)
{
	struct nbdsvc_connection *made = calloc(1, sizeof *made);
	struct patience patience = new_patience();
	if (!made || !(made->name = strdup(name))) {
		nbdkit_error("out of memory");
		free(made);
		return NULL;
	}
	made->backend = nbdkit_context_get_backend(context);
	made->readonly = readonly;
	pthread_rwlock_init(&made->lock, NULL);
	while (!(made->next = connect_once(made, &made->facts)) && wait_more(&patience))
		;
	if (made->next)
		return made;
	pthread_rwlock_destroy(&made->lock);
	free(made->name);
	free(made);
	return NULL;
}

void nbdsvc_connection_close(struct nbdsvc_connection *connection)
{
	disconnect(connection->next);
	pthread_rwlock_destroy(&connection->lock);
	free(connection->name);
	free(connection);
}

const struct nbdsvc_facts *nbdsvc_connection_facts(const struct nbdsvc_connection *connection)
{
	return &connection->facts;
}
