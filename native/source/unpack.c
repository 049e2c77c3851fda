#include "source/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <zstd.h>
#include <zstd_errors.h>

struct nbdsvc_unpack {
	ZSTD_DCtx *context;
};

int nbdsvc_unpack_create(int window_log, struct nbdsvc_unpack **ret)
{
	struct nbdsvc_unpack *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	self->context = ZSTD_createDCtx();
	if (!self->context) {
		free(self);
		return -ENOMEM;
	}
	ZSTD_DCtx_setParameter(self->context, ZSTD_d_windowLogMax, window_log);
	*ret = self;
	return 0;
}

void nbdsvc_unpack_destroy(struct nbdsvc_unpack *self)
{
	ZSTD_freeDCtx(self->context);
	free(self);
}

int nbdsvc_unpack_run(struct nbdsvc_unpack *self, const void *in, size_t in_length, void *out, size_t out_length,
		      size_t *ret_taken, size_t *ret_made)
{
	ZSTD_inBuffer from = { .src = in, .size = in_length };
	ZSTD_outBuffer to = { .dst = out, .size = out_length };
	size_t left = ZSTD_decompressStream(self->context, &to, &from);
	if (ZSTD_isError(left))
		return ZSTD_getErrorCode(left) == ZSTD_error_frameParameter_windowTooLarge ? -EFBIG : -EILSEQ;
	*ret_taken = from.pos;
	*ret_made = to.pos;
	return left == 0;
}
