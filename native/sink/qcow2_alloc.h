/*
 * Allocates the clusters of a new qcow2 file, and counts their references (clusters of 64 KiB, refcounts of 16 bits).
 *
 * Allocates upwards only. A refcount block is complete when allocation has left its range; its own place is the first
 * cluster of the next range, so that one block at a time is in memory. Complete tables are handed to the caller in a
 * `tables` list, to be written outside of any lock. Private to the qcow2 writer.
 */
#ifndef NBDSVC_QCOW2_ALLOC_H
#define NBDSVC_QCOW2_ALLOC_H

#include "sink/output.h"

#include <stdint.h>

enum {
	NBDSVC_CLUSTER_BITS = 16,
	NBDSVC_CLUSTER = 1 << NBDSVC_CLUSTER_BITS,
	NBDSVC_MOST_TABLES = 4, /* that one chunk can complete: an L2 table and the refcount blocks that it and the chunk fill */
};

struct nbdsvc_tables {
	int count;
	uint64_t host[NBDSVC_MOST_TABLES];
	void *content[NBDSVC_MOST_TABLES];
};

struct nbdsvc_alloc {
	uint64_t next; /* the first cluster of the file that is free, and all behind it */
	uint64_t partial; /* where the next compressed cluster may begin, in bytes; 0: at `next` */
	uint16_t *refcounts; /* of the block that `next` lies in */
	uint64_t *reftable;
	uint32_t reftable_clusters;
};

/* Keeps a copy of a table of one cluster, to be written at host. -ENOMEM. */
int nbdsvc_tables_add(struct nbdsvc_tables *tables, const void *content, uint64_t host);
/* Writes the tables, unless err is set, and empties the list. Returns err, or the -errno of writing. */
int nbdsvc_tables_write(struct nbdsvc_tables *tables, const struct nbdsvc_output *output, int err);
void nbdsvc_tables_drop(struct nbdsvc_tables *tables);

/* `fixed` clusters at the file's start are in use; the guest has `clusters`. -EFBIG, -ENOMEM. */
int nbdsvc_alloc_init(struct nbdsvc_alloc *alloc, uint64_t clusters, uint64_t fixed);
void nbdsvc_alloc_deinit(struct nbdsvc_alloc *alloc);
/* Allocates a cluster; its offset is *ret. -ENOMEM. */
int nbdsvc_alloc_cluster(struct nbdsvc_alloc *alloc, struct nbdsvc_tables *tables, uint64_t *ret);
/* Allocates a compressed cluster: byte behind byte, across host clusters where those are neighbours. -ENOMEM. */
int nbdsvc_alloc_packed(struct nbdsvc_alloc *alloc, struct nbdsvc_tables *tables, uint64_t length, uint64_t *ret);
/* Writes the last refcount block and the refcount table, whose offset is *ret. Nothing is allocated afterwards. -errno. */
int nbdsvc_alloc_finish(struct nbdsvc_alloc *alloc, const struct nbdsvc_output *output, uint64_t *ret);

#endif
