/*
 * Whole zstd files, frame after frame, in pieces. zlib, bzip2 and xz come with Python; zstd is linked here anyway.
 */
#ifndef NBDSVC_UNPACK_H
#define NBDSVC_UNPACK_H

#include <stddef.h>

struct nbdsvc_unpack;

/* Frames that want a larger window than `window_log` says (2^window_log bytes of memory) are refused with -EFBIG. -ENOMEM. */
int nbdsvc_unpack_create(int window_log, struct nbdsvc_unpack **ret);
void nbdsvc_unpack_destroy(struct nbdsvc_unpack *self);
/* Takes some of `in` and fills some of `out`: 1 at the end of a frame, 0 to go on, -EILSEQ for damage, -EFBIG. */
int nbdsvc_unpack_run(struct nbdsvc_unpack *self, const void *in, size_t in_length, void *out, size_t out_length,
		      size_t *ret_taken, size_t *ret_made);

#endif
