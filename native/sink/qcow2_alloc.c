#include "sink/qcow2_alloc.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CLUSTER_BITS = NBDSVC_CLUSTER_BITS, CLUSTER = NBDSVC_CLUSTER, BLOCK_ENTRIES = CLUSTER / 2 };

int nbdsvc_tables_add(struct nbdsvc_tables *tables, const void *content, uint64_t host)
{
	void *copied = tables->count < NBDSVC_MOST_TABLES ? aligned_alloc(NBDSVC_DIRECT_ALIGNMENT, CLUSTER) : NULL;
	if (!copied)
		return -ENOMEM;
	memcpy(copied, content, CLUSTER);
	tables->host[tables->count] = host;
	tables->content[tables->count++] = copied;
	return 0;
}

int nbdsvc_tables_write(struct nbdsvc_tables *tables, const struct nbdsvc_output *output, int err)
{
	for (int i = 0; i < tables->count && !err; i++)
		err = nbdsvc_output_write(output, tables->content[i], CLUSTER, tables->host[i]);
	nbdsvc_tables_drop(tables);
	return err;
}

void nbdsvc_tables_drop(struct nbdsvc_tables *tables)
{
	while (tables->count)
		free(tables->content[--tables->count]);
}

int nbdsvc_alloc_init(struct nbdsvc_alloc *alloc, uint64_t clusters, uint64_t fixed)
{
	/* Each guest cluster takes at most one of the file and, by waste, a part of another; tables take far less than that. */
	uint64_t blocks = clusters * 2 / BLOCK_ENTRIES + 4;
	struct nbdsvc_alloc made = { .reftable_clusters = (blocks * 8 + CLUSTER - 1) / CLUSTER };
	made.refcounts = calloc(1, CLUSTER);
	made.reftable = calloc(made.reftable_clusters, CLUSTER);
	if (!made.refcounts || !made.reftable || fixed > BLOCK_ENTRIES) {
		nbdsvc_alloc_deinit(&made);
		return fixed > BLOCK_ENTRIES ? -EFBIG : -ENOMEM;
	}
	for (; made.next < fixed; made.next++)
		made.refcounts[made.next] = htobe16(1);
	*alloc = made;
	return 0;
}

void nbdsvc_alloc_deinit(struct nbdsvc_alloc *alloc)
{
	free(alloc->refcounts);
	free(alloc->reftable);
}

/* The first cluster of a new refcount block's range holds the block before it, which nothing can change any more. */
static int next_block(struct nbdsvc_alloc *alloc, struct nbdsvc_tables *tables)
{
	uint64_t block = alloc->next / BLOCK_ENTRIES - 1;
	uint64_t host = alloc->next << CLUSTER_BITS;
	int err = nbdsvc_tables_add(tables, alloc->refcounts, host);
	if (err)
		return err;
	alloc->reftable[block] = htobe64(host);
	memset(alloc->refcounts, 0, CLUSTER);
	alloc->refcounts[0] = htobe16(1);
	alloc->partial = 0;
	alloc->next++;
	return 0;
}

int nbdsvc_alloc_cluster(struct nbdsvc_alloc *alloc, struct nbdsvc_tables *tables, uint64_t *ret)
{
	if (alloc->next && alloc->next % BLOCK_ENTRIES == 0) {
		int err = next_block(alloc, tables);
		if (err)
			return err;
	}
	alloc->refcounts[alloc->next % BLOCK_ENTRIES] = htobe16(1);
	*ret = alloc->next++ << CLUSTER_BITS;
	return 0;
}

static void refer(struct nbdsvc_alloc *alloc, uint64_t host)
{
	uint16_t *count = &alloc->refcounts[(host >> CLUSTER_BITS) % BLOCK_ENTRIES];
	*count = htobe16(be16toh(*count) + 1);
}

int nbdsvc_alloc_packed(struct nbdsvc_alloc *alloc, struct nbdsvc_tables *tables, uint64_t length, uint64_t *ret)
{
	uint64_t left = alloc->partial ? CLUSTER - alloc->partial % CLUSTER : 0;
	uint64_t first = alloc->partial;
	if (left < length) {
		uint64_t host;
		int err = nbdsvc_alloc_cluster(alloc, tables, &host);
		if (err)
			return err;
		/* nbdsvc_alloc_cluster() forgets the open cluster when it began a new refcount block in between. */
		if (!alloc->partial || host != alloc->partial + left) {
			first = host;
			left = 0;
		}
	}
	if (left)
		refer(alloc, first); /* shared with the cluster before it */
	alloc->partial = (first + length) % CLUSTER ? first + length : 0;
	*ret = first;
	return 0;
}

/* The table stands last; its size was reckoned from the guest's. The last block counts the table and itself. */
int nbdsvc_alloc_finish(struct nbdsvc_alloc *alloc, const struct nbdsvc_output *output, uint64_t *ret)
{
	struct nbdsvc_tables tables = { .count = 0 };
	uint32_t clusters = alloc->reftable_clusters;
	uint64_t first, last, ignored;
	/* Its clusters must be neighbours: what is left of this block's range stays free where they do not fit. */
	if (alloc->next % BLOCK_ENTRIES + clusters + 1 > BLOCK_ENTRIES)
		alloc->next = (alloc->next / BLOCK_ENTRIES + 1) * BLOCK_ENTRIES;
	int err = nbdsvc_alloc_cluster(alloc, &tables, &first);
	for (uint32_t i = 1; i < clusters && !err; i++)
		err = nbdsvc_alloc_cluster(alloc, &tables, &ignored);
	if (!err)
		err = nbdsvc_alloc_cluster(alloc, &tables, &last);
	if (!err) {
		alloc->reftable[(alloc->next - 1) / BLOCK_ENTRIES] = htobe64(last);
		err = nbdsvc_tables_add(&tables, alloc->refcounts, last);
	}
	err = nbdsvc_tables_write(&tables, output, err);
	if (!err)
		err = nbdsvc_output_write(output, alloc->reftable, (size_t)clusters * CLUSTER, first);
	if (!err)
		*ret = first;
	return err;
}
