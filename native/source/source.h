/*
 * Sources of a copy. Two layers:
 *
 *   input   bytes as they are stored: a file descriptor, or a callback (a file behind http). Random access.
 *   source  bytes as a guest sees them: raw (input as it is) or qcow2. Knows where nothing is stored.
 *
 * Both are used by several threads at once: pread functions keep no state but what the caller hands in as scratch.
 * Conventions of the whole core: fallible functions return 0 or -errno, `ret` is the last argument and untouched on
 * failure, `message` (may be NULL) then holds the reason as text. _create and _destroy stand next to each other.
 */
#ifndef NBDSVC_SOURCE_H
#define NBDSVC_SOURCE_H

#include <stddef.h>
#include <stdint.h>

enum { NBDSVC_MESSAGE_SIZE = 256 };
struct nbdsvc_message {
	char text[256];
};

struct nbdsvc_input {
	uint64_t size;
	/* The whole of [offset, offset + length) or an error; past the end is -EINVAL, a shrunken file -ESPIPE. */
	int (*pread)(struct nbdsvc_input *input, void *buffer, size_t length, uint64_t offset);
	void (*destroy)(struct nbdsvc_input *input);
	int fd; /* -1 where there is none; lets a raw source ask SEEK_DATA/SEEK_HOLE */
};

enum nbdsvc_extent_kind {
	NBDSVC_EXTENT_DATA = 0, /* stored; may still be zeros */
	NBDSVC_EXTENT_ZERO = 1, /* reads as zeros: a hole, an unallocated or a zero cluster */
};
struct nbdsvc_extent {
	uint64_t length; /* bytes from the requested offset, at least 1 */
	int kind;
};

struct nbdsvc_source {
	uint64_t size; /* virtual size in bytes */
	int fd; /* of a file whose bytes are the guest's bytes, so that a sink may share them; -1 where there is none */
	size_t scratch_size; /* bytes of per-thread working memory that pread wants (decompressors, cluster buffers) */
	/* The extent that starts at offset; a source may return shorter extents than there are. */
	int (*extent)(struct nbdsvc_source *source, uint64_t offset, struct nbdsvc_extent *ret);
	/* Guest bytes [offset, offset + length), zeros where nothing is stored. */
	int (*pread)(struct nbdsvc_source *source, void *scratch, void *buffer, size_t length, uint64_t offset);
	/* The place in a local file of the raw bytes from offset on, and their number; -EOPNOTSUPP where there is none. Or NULL. */
	int (*locate)(struct nbdsvc_source *source, uint64_t offset, int *ret_fd, uint64_t *ret_at, uint64_t *ret_length);
	int (*scratch_init)(struct nbdsvc_source *source, void *scratch);
	void (*scratch_deinit)(struct nbdsvc_source *source, void *scratch);
	void (*interrupt)(struct nbdsvc_source *source); /* calls that wait end soon, and later ones too; may be NULL */
	void (*destroy)(struct nbdsvc_source *source); /* destroys its input as well */
	/* A readable message for an error of this source; NULL where strerror says as much. */
	const char *(*reason)(struct nbdsvc_source *source, int error);
};

/* Keeps a dup of fd. -ENOMEM, -EINVAL, or the -errno of dup and lseek. */
int nbdsvc_input_fd_create(int fd, struct nbdsvc_input **ret);
/* A callback input, for bytes that Python fetches; `context` is handed back. Defined by the datapath's cffi module.
 * -EINVAL, -ENOMEM. */
typedef int (*nbdsvc_pread_callback)(void *context, void *buffer, size_t length, uint64_t offset);
int nbdsvc_input_callback_create(nbdsvc_pread_callback callback, void *context, uint64_t size, struct nbdsvc_input **ret);
void nbdsvc_input_destroy(struct nbdsvc_input *input);

/* Both take the input over when they succeed. snapshot: the name or id of an internal one, or NULL. -ENOMEM; of qcow2 also
 * -EBADMSG with a message for a damaged or unsupported image, and the input's errors. */
int nbdsvc_source_raw_create(struct nbdsvc_input *input, struct nbdsvc_source **ret);
int nbdsvc_source_qcow2_create(struct nbdsvc_input *input, const char *snapshot, struct nbdsvc_message *message,
			       struct nbdsvc_source **ret);
void nbdsvc_source_destroy(struct nbdsvc_source *source);
/* Ends reads that wait for a server, and later ones, with -ECANCELED. From any thread. */
void nbdsvc_source_interrupt(struct nbdsvc_source *source);
/* 0, or the source's -errno; -EINVAL beyond its size. */
int nbdsvc_source_extent(struct nbdsvc_source *source, uint64_t offset, struct nbdsvc_extent *ret);
int nbdsvc_source_read(struct nbdsvc_source *source, void *buffer, size_t length, uint64_t offset);

#endif
