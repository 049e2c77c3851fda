/*
 * An opened qcow2 image: what its header and tables say. Private to the reader, whose parts are qcow2_open.c (header,
 * features, snapshots), qcow2_map.c (from guest offsets to clusters) and qcow2.c (from clusters to bytes).
 */
#ifndef NBDSVC_QCOW2_IMAGE_H
#define NBDSVC_QCOW2_IMAGE_H

#include "source/qcow2_format.h"
#include "source/source.h"

#include <pthread.h>

/* Enough L2 tables for every worker to keep its own and its neighbour's: 16 of at most 2 MiB. */
enum { QCOW2_L2_SLOTS = 16 };

struct qcow2_l2_slot {
	uint64_t offset; /* in the file; 0: empty */
	uint64_t used; /* clock value of the last use */
	uint64_t *table;
};

struct qcow2 {
	struct nbdsvc_source source;
	struct nbdsvc_input *input;
	int version;
	int cluster_bits;
	uint64_t cluster_size;
	int extended; /* L2 entries of 16 bytes, which divide a cluster into 32 subclusters */
	uint64_t l2_entries;
	int zstd;
	uint64_t l1_entries;
	uint64_t *l1;
	pthread_mutex_t lock; /* the slots */
	uint64_t clock;
	struct qcow2_l2_slot slots[QCOW2_L2_SLOTS];
};

enum qcow2_kind { QCOW2_RUN_ZERO = 0, QCOW2_RUN_PLAIN = 1, QCOW2_RUN_COMPRESSED = 2 };

/* Guest bytes from an offset on that are stored in one way. */
struct qcow2_run {
	enum qcow2_kind kind;
	uint64_t length; /* of plain: as far as they are neighbours in the file; of compressed: to the end of the cluster */
	uint64_t at; /* of plain: where in the file; of compressed: the L2 entry */
};

/* Reads header and L1 table (of an internal snapshot, by name or id, where snapshot is not NULL). 0 or -errno. */
int qcow2_open(struct qcow2 *self, const char *snapshot, struct nbdsvc_message *message);
/* -EBADMSG with the reason in message (may be NULL). */
__attribute__((format(printf, 2, 3))) int qcow2_refuse(struct nbdsvc_message *message, const char *format, ...);

int qcow2_map(struct qcow2 *self, uint64_t offset, struct qcow2_run *ret);
/* Like it, but only whether bytes are stored, and as far as that is so. */
int qcow2_map_extent(struct qcow2 *self, uint64_t offset, struct nbdsvc_extent *ret);

#endif
