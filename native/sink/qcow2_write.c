/*
 * Writes qcow2 images (version 3, 64 KiB clusters, 16-bit refcounts), compressed in parallel.
 *
 * Workers compress a chunk each into their scratch; `place` then gives the chunk's clusters their offsets in guest order,
 * so the file depends on the guest's bytes only. Layout: header, L1 table, then clusters, L2 tables and refcount blocks as
 * they become complete, at last the refcount table. Only one L2 table and one refcount block are in memory at a time. The
 * header is written when all else is on stable storage: before that the file begins with zeros and is no image.
 */
#define _GNU_SOURCE
#include "sink/output.h"
#include "source/qcow2_format.h"
#include "sink/qcow2_alloc.h"
#include "sink/qcow2_pack.h"
#include "sink/sink.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	CLUSTER_BITS = NBDSVC_CLUSTER_BITS,
	CLUSTER = NBDSVC_CLUSTER,
	L2_ENTRIES = CLUSTER / 8,
	L1_MAX_CLUSTERS = (32 << 20) / CLUSTER, /* QEMU's limit: a guest of 2 PiB */
	CHUNK_CLUSTERS = 64, /* of a chunk of 4 MiB */
	CLUSTERS_LIMIT = CHUNK_CLUSTERS * CLUSTER,
};
_Static_assert(CLUSTERS_LIMIT == 4 << 20, "a chunk is 64 clusters");

struct writer {
	struct nbdsvc_sink sink;
	struct nbdsvc_output output;
	uint64_t size;
	int compression;
	struct nbdsvc_alloc alloc;
	uint64_t *l1;
	uint64_t l1_entries;
	uint64_t l2_index; /* which L2 table is in `l2` */
	int l2_used;
	uint64_t *l2;
};

struct cluster {
	uint64_t index; /* in the guest */
	uint64_t host;
	uint32_t at; /* in scratch->packed */
	uint32_t length; /* CLUSTER: as it is */
};

struct scratch {
	struct nbdsvc_packer packer;
	unsigned char *packed; /* the chunk's clusters, one behind the other */
	uint32_t used;
	int count;
	struct cluster clusters[CHUNK_CLUSTERS];
	struct nbdsvc_tables tables;
};

static int writer_zero(struct nbdsvc_sink *sink, void *scratch, uint64_t length, uint64_t offset)
{
	(void)sink, (void)scratch, (void)length, (void)offset;
	return 0; /* what is not allocated reads as zeros */
}

static int writer_pwrite(struct nbdsvc_sink *sink, void *scratch_memory, const void *buffer, size_t length, uint64_t offset)
{
	struct writer *self = (struct writer *)sink;
	struct scratch *scratch = scratch_memory;
	const unsigned char *from = buffer;
	while (length) {
		size_t piece = length < CLUSTER ? length : CLUSTER;
		struct cluster *cluster = &scratch->clusters[scratch->count++];
		unsigned char *to = scratch->packed + scratch->used;
		*cluster = (struct cluster){ .index = offset >> CLUSTER_BITS, .at = scratch->used, .length = CLUSTER };
		size_t packed = piece == CLUSTER ? nbdsvc_pack(&scratch->packer, self->compression, from, CLUSTER, to) : 0;
		if (packed) {
			cluster->length = packed;
		} else {
			memcpy(to, from, piece);
			memset(to + piece, 0, CLUSTER - piece); /* the last cluster of a guest that ends within it */
		}
		scratch->used += cluster->length;
		from += piece;
		offset += piece;
		length -= piece;
	}
	return 0;
}

static int flush_l2(struct writer *self, struct nbdsvc_tables *tables)
{
	if (!self->l2_used)
		return 0;
	uint64_t host;
	int err = nbdsvc_alloc_cluster(&self->alloc, tables, &host);
	if (!err)
		err = nbdsvc_tables_add(tables, self->l2, host);
	if (err)
		return err;
	self->l1[self->l2_index] = htobe64(host | QCOW2_COPIED);
	memset(self->l2, 0, CLUSTER);
	self->l2_used = 0;
	return 0;
}

static uint64_t packed_entry(uint64_t host, uint64_t length)
{
	uint64_t more_sectors = (host + length - 1) / 512 - host / 512;
	return QCOW2_COMPRESSED | more_sectors << (62 - (CLUSTER_BITS - 8)) | host;
}

static int writer_place(struct nbdsvc_sink *sink, void *scratch_memory)
{
	struct writer *self = (struct writer *)sink;
	struct scratch *scratch = scratch_memory;
	for (int i = 0; i < scratch->count; i++) {
		struct cluster *cluster = &scratch->clusters[i];
		uint64_t index = cluster->index / L2_ENTRIES;
		int err = index != self->l2_index ? flush_l2(self, &scratch->tables) : 0;
		if (err)
			return err;
		int packed = cluster->length < CLUSTER;
		err = packed ? nbdsvc_alloc_packed(&self->alloc, &scratch->tables, cluster->length, &cluster->host)
			     : nbdsvc_alloc_cluster(&self->alloc, &scratch->tables, &cluster->host);
		if (err)
			return err;
		uint64_t entry = packed ? packed_entry(cluster->host, cluster->length) : cluster->host | QCOW2_COPIED;
		self->l2[cluster->index % L2_ENTRIES] = htobe64(entry);
		self->l2_index = index;
		self->l2_used = 1;
	}
	return 0;
}

static int writer_store(struct nbdsvc_sink *sink, void *scratch_memory)
{
	struct writer *self = (struct writer *)sink;
	struct scratch *scratch = scratch_memory;
	int err = 0;
	for (int i = 0; i < scratch->count && !err;) {
		struct cluster *first = &scratch->clusters[i];
		uint64_t length = 0;
		while (i < scratch->count && scratch->clusters[i].host == first->host + length)
			length += scratch->clusters[i++].length;
		err = nbdsvc_output_write(&self->output, scratch->packed + first->at, length, first->host);
		/* What goes through the page cache sets out for the disk at once, so that the end need not wait for all of it. */
		if (!err && self->output.direct_fd < 0)
			sync_file_range(self->output.fd, first->host, length, SYNC_FILE_RANGE_WRITE);
	}
	err = nbdsvc_tables_write(&scratch->tables, &self->output, err);
	scratch->used = scratch->count = 0;
	return err;
}

static int writer_flush(struct nbdsvc_sink *sink)
{
	return fdatasync(((struct writer *)sink)->output.fd) < 0 ? -errno : 0;
}

static int write_header(struct writer *self, uint64_t reftable)
{
	struct qcow2_header header = {
		.magic = htobe32(QCOW2_MAGIC),
		.version = htobe32(3),
		.cluster_bits = htobe32(CLUSTER_BITS),
		.size = htobe64(self->size),
		.l1_size = htobe32(self->l1_entries),
		.l1_table_offset = htobe64(CLUSTER),
		.refcount_table_offset = htobe64(reftable),
		.refcount_table_clusters = htobe32(self->alloc.reftable_clusters),
		.incompatible_features = htobe64(self->compression == NBDSVC_QCOW2_ZSTD ? QCOW2_COMPRESSION : 0),
		.refcount_order = htobe32(4),
		.header_length = htobe32(sizeof(header)),
		.compression_type = self->compression == NBDSVC_QCOW2_ZSTD ? 1 : 0,
	};
	return nbdsvc_output_write(&self->output, &header, sizeof(header), 0);
}

static int writer_finish(struct nbdsvc_sink *sink)
{
	struct writer *self = (struct writer *)sink;
	struct nbdsvc_tables tables = { .count = 0 };
	uint64_t reftable = 0;
	int err = nbdsvc_tables_write(&tables, &self->output, flush_l2(self, &tables));
	if (!err)
		err = nbdsvc_alloc_finish(&self->alloc, &self->output, &reftable);
	if (!err)
		err = nbdsvc_output_write(&self->output, self->l1, self->l1_entries * 8, CLUSTER);
	if (!err && ftruncate(self->output.fd, self->alloc.next << CLUSTER_BITS) < 0)
		err = -errno;
	if (!err)
		err = writer_flush(sink);
	if (!err)
		err = write_header(self, reftable);
	return err ? err : fsync(self->output.fd) < 0 ? -errno : 0;
}

static void writer_scratch_deinit(struct nbdsvc_sink *sink, void *scratch_memory)
{
	(void)sink;
	struct scratch *scratch = scratch_memory;
	nbdsvc_tables_drop(&scratch->tables);
	nbdsvc_packer_deinit(&scratch->packer);
	free(scratch->packed);
}

static int writer_scratch_init(struct nbdsvc_sink *sink, void *scratch_memory)
{
	struct scratch *scratch = scratch_memory;
	/* A compressed cluster is shorter than a cluster, else it is kept as it is. */
	scratch->packed = aligned_alloc(NBDSVC_DIRECT_ALIGNMENT, CLUSTERS_LIMIT);
	if (scratch->packed && nbdsvc_packer_init(&scratch->packer, ((struct writer *)sink)->compression) == 0)
		return 0;
	writer_scratch_deinit(sink, scratch);
	return -ENOMEM;
}

static const char *writer_reason(struct nbdsvc_sink *sink, int error)
{
	(void)sink;
	(void)error;
	return NULL;
}

static void writer_destroy(struct nbdsvc_sink *sink)
{
	struct writer *self = (struct writer *)sink;
	if (self->output.fd >= 0)
		nbdsvc_output_deinit(&self->output);
	free(self->l1);
	free(self->l2);
	nbdsvc_alloc_deinit(&self->alloc);
	free(self);
}

static int make_tables(struct writer *self)
{
	uint64_t clusters = (self->size + CLUSTER - 1) / CLUSTER;
	self->l1_entries = (clusters + L2_ENTRIES - 1) / L2_ENTRIES;
	uint64_t l1_clusters = (self->l1_entries * 8 + CLUSTER - 1) / CLUSTER;
	if (l1_clusters > L1_MAX_CLUSTERS)
		return -EFBIG;
	self->l1 = calloc(1, self->l1_entries * 8 + 8);
	self->l2 = calloc(1, CLUSTER);
	if (!self->l1 || !self->l2)
		return -ENOMEM;
	return nbdsvc_alloc_init(&self->alloc, clusters, 1 + l1_clusters);
}

int nbdsvc_sink_qcow2_create(int fd, int direct_fd, uint64_t size, int compression, struct nbdsvc_sink **ret)
{
	struct writer *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	self->output.fd = -1;
	self->size = size;
	self->compression = compression;
	int err = size == 0 || size % 512 || size > INT64_MAX / 2 ? -EINVAL : make_tables(self);
	if (!err)
		/* Compressed clusters stand at any byte, so that neighbours share pages: those go through the page cache. */
		err = nbdsvc_output_init(&self->output, fd, compression == NBDSVC_QCOW2_PLAIN ? direct_fd : -1);
	if (err) {
		self->output.fd = -1;
		writer_destroy(&self->sink);
		return err;
	}
	self->sink = (struct nbdsvc_sink){
		.grain = CLUSTER,
		.zeros_are_nothing = 1,
		.scratch_size = sizeof(struct scratch),
		.scratch_init = writer_scratch_init,
		.scratch_deinit = writer_scratch_deinit,
		.pwrite = writer_pwrite,
		.zero = writer_zero,
		.place = writer_place,
		.store = writer_store,
		.flush = writer_flush,
		.finish = writer_finish,
		.reason = writer_reason,
		.destroy = writer_destroy,
	};
	*ret = &self->sink;
	return 0;
}
