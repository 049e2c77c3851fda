/*
 * The journal of a copy: which chunks are on stable storage. A file of a 64-byte header and one bit per chunk:
 *
 *   0  8  "NBDSVCJ1"      8  8  chunk size      16  8  total size      24 32  fingerprint of the source      56 8  zero
 *
 * in the byte order of the host, for it never leaves the host.
 */
#ifndef NBDSVC_JOURNAL_H
#define NBDSVC_JOURNAL_H

#include "sink/sink.h"

#include <stdint.h>

struct nbdsvc_journal {
	int fd; /* -1: no journal, nothing is remembered */
	uint64_t bytes; /* of the bitmap */
	unsigned char *bits; /* chunks that are written, set by many threads */
	unsigned char *snapshot;
};

/* Reads the journal if it is of this copy, else starts it anew. fd may be -1. -ENOMEM, or the -errno of reading and writing. */
int nbdsvc_journal_init(struct nbdsvc_journal *journal, int fd, uint64_t chunk, uint64_t size, const unsigned char *fingerprint);
void nbdsvc_journal_deinit(struct nbdsvc_journal *journal);
/* 1 when the chunk is on stable storage. */
int nbdsvc_journal_has(const struct nbdsvc_journal *journal, uint64_t index);
void nbdsvc_journal_mark(struct nbdsvc_journal *journal, uint64_t index);
/* Syncs the destination, then the bits of its chunks. -errno; ret_is_sinks: whether the destination failed. */
int nbdsvc_journal_checkpoint(struct nbdsvc_journal *journal, struct nbdsvc_sink *sink, int *ret_is_sinks);

#endif
