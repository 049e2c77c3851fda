#include "source/frame.h"

#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

size_t nbdsvc_frame_bound(size_t length)
{
	return ZSTD_compressBound(length);
}

int nbdsvc_frame_pack(const void *in, size_t in_length, void *out, size_t out_length, int level, size_t *ret_length)
{
	size_t made = ZSTD_compress(out, out_length, in, in_length, level);
	if (ZSTD_isError(made))
		return ZSTD_getErrorCode(made) == ZSTD_error_memory_allocation ? -ENOMEM : -ENOSPC;
	*ret_length = made;
	return 0;
}

int nbdsvc_frame_unpack(const void *in, size_t in_length, void *out, size_t out_length)
{
	/* Several frames one after the other would be unpacked, too: the first one has to be all there is. */
	size_t frame = ZSTD_findFrameCompressedSize(in, in_length);
	if (ZSTD_isError(frame) || frame != in_length)
		return -EILSEQ;
	size_t made = ZSTD_decompress(out, out_length, in, in_length);
	return ZSTD_isError(made) || made != out_length ? -EILSEQ : 0;
}
