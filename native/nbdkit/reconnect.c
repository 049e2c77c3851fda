/*
 * nbdkit's filter "reconnect", in front of its nbd plugin: a client's requests outlive the server's connection.
 *
 * A request whose connection has ended is sent again at a new one, from 20 ms after the end on, for `reconnect-seconds`; an
 * error that a server has answered is the client's at once. Requests go side by side, where nbdkit's own filter "retry" sends
 * them one after the other, waits whole seconds, and repeats every error.
 */
#include "nbdkit/connection.h"

#include <errno.h>
#include <string.h>

/* nbdkit's callbacks have parameters for every kind of filter. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

static void *reconnect_open(nbdkit_next_open *next, nbdkit_context *context, int readonly, const char *name, int is_tls)
{
	return nbdsvc_connection_open(context, readonly, name);
}

static void reconnect_close(void *handle)
{
	nbdsvc_connection_close(handle);
}

static int reconnect_config(nbdkit_next_config *next, nbdkit_backend *backend, const char *key, const char *value)
{
	if (strcmp(key, "reconnect-seconds"))
		return next(backend, key, value);
	return nbdkit_parse_unsigned(key, value, &nbdsvc_reconnect_seconds);
}

static int64_t reconnect_get_size(nbdkit_next *next, void *handle)
{
	return nbdsvc_connection_facts(handle)->size;
}

static int reconnect_is_rotational(nbdkit_next *next, void *handle)
{
	return nbdsvc_connection_facts(handle)->is_rotational;
}

#define ABILITY(name, index) \
	static int reconnect_##name(nbdkit_next *next, void *handle) \
	{ \
		return nbdsvc_connection_facts(handle)->can[NBDSVC_##index]; \
	}

ABILITY(can_write, CAN_WRITE)
ABILITY(can_flush, CAN_FLUSH)
ABILITY(can_trim, CAN_TRIM)
ABILITY(can_zero, CAN_ZERO)
ABILITY(can_fast_zero, CAN_FAST_ZERO)
ABILITY(can_extents, CAN_EXTENTS)
ABILITY(can_fua, CAN_FUA)
ABILITY(can_multi_conn, CAN_MULTI_CONN)
ABILITY(can_cache, CAN_CACHE)

static const char *reconnect_export_description(nbdkit_next *next, void *handle)
{
	return NULL; /* it would be that of the first server */
}

static int reconnect_block_size(nbdkit_next *next, void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum)
{
	const struct nbdsvc_facts *facts = nbdsvc_connection_facts(handle);
	*minimum = facts->minimum;
	*preferred = facts->preferred;
	*maximum = facts->maximum;
	return 0;
}

static int send_pread(nbdkit_next *next, const struct nbdsvc_request *request, int *err)
{
	return next->pread(next, request->into, request->count, request->offset, request->flags, err);
}

static int send_pwrite(nbdkit_next *next, const struct nbdsvc_request *request, int *err)
{
	return next->pwrite(next, request->from, request->count, request->offset, request->flags, err);
}

static int send_flush(nbdkit_next *next, const struct nbdsvc_request *request, int *err)
{
	return next->flush(next, request->flags, err);
}

static int send_trim(nbdkit_next *next, const struct nbdsvc_request *request, int *err)
{
	return next->trim(next, request->count, request->offset, request->flags, err);
}

static int send_zero(nbdkit_next *next, const struct nbdsvc_request *request, int *err)
{
	return next->zero(next, request->count, request->offset, request->flags, err);
}

static int send_cache(nbdkit_next *next, const struct nbdsvc_request *request, int *err)
{
	return next->cache(next, request->count, request->offset, request->flags, err);
}

/* Each attempt begins with none: what came before the end of a connection would be there twice. */
static int send_extents(nbdkit_next *next, const struct nbdsvc_request *request, int *err)
{
	nbdkit_extents_free(*request->extents);
	*request->extents = nbdkit_extents_new(request->offset, next->get_size(next));
	if (*request->extents)
		return next->extents(next, request->count, request->offset, request->flags, *request->extents, err);
	*err = ENOMEM;
	return -1;
}

static int reconnect_pread(nbdkit_next *next, void *handle, void *buffer, uint32_t count, uint64_t offset, uint32_t flags,
			   int *err)
{
	struct nbdsvc_request request = { send_pread, .into = buffer, .count = count, .offset = offset, .flags = flags };
	return nbdsvc_connection_perform(handle, &request, err);
}

static int reconnect_pwrite(nbdkit_next *next, void *handle, const void *buffer, uint32_t count, uint64_t offset,
			    uint32_t flags, int *err)
{
	struct nbdsvc_request request = { send_pwrite, .from = buffer, .count = count, .offset = offset, .flags = flags };
	return nbdsvc_connection_perform(handle, &request, err);
}

static int reconnect_flush(nbdkit_next *next, void *handle, uint32_t flags, int *err)
{
	struct nbdsvc_request request = { send_flush, .flags = flags };
	return nbdsvc_connection_perform(handle, &request, err);
}

static int reconnect_trim(nbdkit_next *next, void *handle, uint32_t count, uint64_t offset, uint32_t flags, int *err)
{
	struct nbdsvc_request request = { send_trim, .count = count, .offset = offset, .flags = flags };
	return nbdsvc_connection_perform(handle, &request, err);
}

static int reconnect_zero(nbdkit_next *next, void *handle, uint32_t count, uint64_t offset, uint32_t flags, int *err)
{
	struct nbdsvc_request request = { send_zero, .count = count, .offset = offset, .flags = flags };
	return nbdsvc_connection_perform(handle, &request, err);
}

static int reconnect_cache(nbdkit_next *next, void *handle, uint32_t count, uint64_t offset, uint32_t flags, int *err)
{
	struct nbdsvc_request request = { send_cache, .count = count, .offset = offset, .flags = flags };
	return nbdsvc_connection_perform(handle, &request, err);
}

static int reconnect_extents(nbdkit_next *next, void *handle, uint32_t count, uint64_t offset, uint32_t flags,
			     struct nbdkit_extents *extents, int *err)
{
	struct nbdkit_extents *found = NULL;
	struct nbdsvc_request request = { send_extents, .count = count, .offset = offset, .flags = flags, .extents = &found };
	int result = nbdsvc_connection_perform(handle, &request, err);
	for (size_t i = 0; result == 0 && i < nbdkit_extents_count(found); i++) {
		struct nbdkit_extent extent = nbdkit_get_extent(found, i);
		result = nbdkit_add_extent(extents, extent.offset, extent.length, extent.type);
		*err = result < 0 ? errno : 0;
	}
	nbdkit_extents_free(found);
	return result;
}

static struct nbdkit_filter filter = {
	.name = "reconnect",
	.longname = "nbdsvc reconnect filter",
	.config = reconnect_config,
	.config_help = "reconnect-seconds=<N>  How long a request waits for a server that takes it (default 20).",
	.open = reconnect_open,
	.close = reconnect_close,
	.get_size = reconnect_get_size,
	.export_description = reconnect_export_description,
	.block_size = reconnect_block_size,
	.can_write = reconnect_can_write,
	.can_flush = reconnect_can_flush,
	.is_rotational = reconnect_is_rotational,
	.can_trim = reconnect_can_trim,
	.can_zero = reconnect_can_zero,
	.can_fast_zero = reconnect_can_fast_zero,
	.can_extents = reconnect_can_extents,
	.can_fua = reconnect_can_fua,
	.can_multi_conn = reconnect_can_multi_conn,
	.can_cache = reconnect_can_cache,
	.pread = reconnect_pread,
	.pwrite = reconnect_pwrite,
	.flush = reconnect_flush,
	.trim = reconnect_trim,
	.zero = reconnect_zero,
	.extents = reconnect_extents,
	.cache = reconnect_cache,
};

NBDKIT_REGISTER_FILTER(filter)
