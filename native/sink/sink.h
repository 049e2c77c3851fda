/*
 * Sinks of a copy: the mirror of source.h.
 *
 * A copy cuts the guest's bytes into chunks. A worker takes one chunk after another and calls for each, in this order:
 *
 *   pwrite, zero   ascending and without gaps: together the whole chunk
 *   place          chunk after chunk in ascending order, one thread at a time: where the chunk's bytes will stand
 *   store          by many threads at once again: write them there
 *
 * A sink whose bytes stand at the guest's offsets (a raw file, an NBD server) writes at once and leaves place and store
 * out. One that packs (qcow2) keeps a chunk in the worker's scratch until it is stored, so that its output depends on
 * the input only and never on which thread was faster. `finish` is called once, when all chunks are there; until it
 * has succeeded, a packed destination cannot be mistaken for a whole one.
 */
#ifndef NBDSVC_SINK_H
#define NBDSVC_SINK_H

#include "source/source.h"

/* What a copy hands out to its workers, what a killed copy repeats at most per thread, and what the journal has a bit for. */
static const uint64_t NBDSVC_CHUNK = 4 << 20;

struct nbdsvc_sink {
	/* pwrite and zero begin at a multiple of grain (a power of two), and end at one or at the destination's end. */
	uint64_t grain;
	size_t scratch_size; /* bytes of per-thread working memory */
	int resumable; /* a journal may speak of it: a chunk that was written and flushed stays what it is */
	int zeros_are_nothing; /* of an ordered sink: a chunk of zeros needs no place */
	int kernel_only; /* pwrite hands its bytes to the kernel and does not look at them: they may be mapped from a file */
	int (*scratch_init)(struct nbdsvc_sink *sink, void *scratch);
	void (*scratch_deinit)(struct nbdsvc_sink *sink, void *scratch);
	int (*pwrite)(struct nbdsvc_sink *sink, void *scratch, const void *buffer, size_t length, uint64_t offset);
	/* As pwrite, of bytes that stand in a file from `at` on: -EFAULT where it has become shorter. Or NULL. */
	int (*send)(struct nbdsvc_sink *sink, void *scratch, int fd, uint64_t at, size_t length, uint64_t offset);
	int (*zero)(struct nbdsvc_sink *sink, void *scratch, uint64_t length, uint64_t offset);
	int (*place)(struct nbdsvc_sink *sink, void *scratch); /* or NULL, and then store is NULL too */
	int (*store)(struct nbdsvc_sink *sink, void *scratch);
	int (*flush)(struct nbdsvc_sink *sink); /* what was written is on stable storage */
	int (*finish)(struct nbdsvc_sink *sink); /* what makes it whole, and flush */
	/* Share the first `length` bytes of a file instead of copying them: 0, or an error where that is not possible. Or NULL. */
	int (*clone)(struct nbdsvc_sink *sink, int fd, uint64_t length);
	/* A readable message for an error of this sink; NULL where strerror says as much. */
	const char *(*reason)(struct nbdsvc_sink *sink, int error);
	void (*interrupt)(struct nbdsvc_sink *sink); /* calls that wait end soon, and later ones too; may be NULL */
	void (*destroy)(struct nbdsvc_sink *sink);
};

enum { NBDSVC_SINK_IS_ZERO = 1 }; /* the destination reads as zeros already: zeros need not be written */
enum { NBDSVC_QCOW2_PLAIN = 0, NBDSVC_QCOW2_ZLIB = 1, NBDSVC_QCOW2_ZSTD = 2 };

/* A file or block device as it is. direct_fd: the same opened with O_DIRECT, or -1; both are duplicated. -ENOMEM, -errno. */
int nbdsvc_sink_file_create(int fd, int direct_fd, int flags, struct nbdsvc_sink **ret);
/* A new qcow2 image of `size` guest bytes (a multiple of 512, else -EINVAL) in an empty file. -EFBIG, -ENOMEM. */
int nbdsvc_sink_qcow2_create(int fd, int direct_fd, uint64_t size, int compression, struct nbdsvc_sink **ret);
/* Writes in order to a pipe, a socket or a file, from its position on. fd is duplicated. -ENOMEM, or the -errno of dup. */
int nbdsvc_sink_stream_create(int fd, struct nbdsvc_sink **ret);
/* Discards everything: a copy to it is a read. -ENOMEM. */
int nbdsvc_sink_null_create(struct nbdsvc_sink **ret);
void nbdsvc_sink_destroy(struct nbdsvc_sink *sink);

/* For sinks without scratch memory. Returns 0. */
int nbdsvc_no_scratch_init(struct nbdsvc_sink *sink, void *scratch);
void nbdsvc_no_scratch_deinit(struct nbdsvc_sink *sink, void *scratch);

#endif
