/*
 * One zstd frame in memory: a block that is stored and read as a whole. Frames that arrive in pieces: source/unpack.h.
 */
#ifndef NBDSVC_FRAME_H
#define NBDSVC_FRAME_H

#include <stddef.h>

/* The bytes that a frame of `length` bytes may need. */
size_t nbdsvc_frame_bound(size_t length);
/* Makes a frame with its own checksum off, because what is stored has a digest. level: of zstd. 0, -ENOSPC where the frame
 * does not fit, -ENOMEM. */
int nbdsvc_frame_pack(const void *in, size_t in_length, void *out, size_t out_length, int level, size_t *ret_length);
/* Reads exactly one frame, whose content has exactly out_length bytes. 0, -EILSEQ for anything else. */
int nbdsvc_frame_unpack(const void *in, size_t in_length, void *out, size_t out_length);

#endif
