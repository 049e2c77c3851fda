/* The sink of files and block devices as they are, and the one that keeps nothing. */
#define _GNU_SOURCE
#include "sink/sink.h"
#include "sink/output.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Zeros that must be written by hand go out in pieces of this size. */
enum { ZERO_PIECE = 64 << 10 };

struct file_sink {
	struct nbdsvc_sink sink;
	struct nbdsvc_output output;
	int flags;
	unsigned char *zeros;
};

int nbdsvc_no_scratch_init(struct nbdsvc_sink *sink, void *scratch)
{
	(void)sink;
	(void)scratch;
	return 0;
}

void nbdsvc_no_scratch_deinit(struct nbdsvc_sink *sink, void *scratch)
{
	(void)sink;
	(void)scratch;
}

static int file_pwrite(struct nbdsvc_sink *sink, void *scratch, const void *buffer, size_t length, uint64_t offset)
{
	(void)scratch;
	return nbdsvc_output_write(&((struct file_sink *)sink)->output, buffer, length, offset);
}

static int file_zero(struct nbdsvc_sink *sink, void *scratch, uint64_t length, uint64_t offset)
{
	(void)scratch;
	struct file_sink *self = (struct file_sink *)sink;
	if (self->flags & NBDSVC_SINK_IS_ZERO)
		return 0;
	/* On a file a hole; on a block device the kernel promises zeros for both calls, unlike for a discard. */
	if (fallocate(self->output.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) == 0 ||
	    fallocate(self->output.fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length) == 0)
		return 0;
	int err = 0;
	while (length && !err) {
		size_t piece = length < ZERO_PIECE ? length : ZERO_PIECE;
		err = nbdsvc_output_write(&self->output, self->zeros, piece, offset);
		offset += piece;
		length -= piece;
	}
	return err;
}

static int file_flush(struct nbdsvc_sink *sink)
{
	return fdatasync(((struct file_sink *)sink)->output.fd) < 0 ? -errno : 0;
}

static int file_finish(struct nbdsvc_sink *sink)
{
	return fsync(((struct file_sink *)sink)->output.fd) < 0 ? -errno : 0;
}

static int file_clone(struct nbdsvc_sink *sink, int fd, uint64_t length)
{
	struct file_clone_range range = { .src_fd = fd, .src_length = length };
	return ioctl(((struct file_sink *)sink)->output.fd, FICLONERANGE, &range) < 0 ? -errno : 0;
}

static const char *file_reason(struct nbdsvc_sink *sink, int error)
{
	(void)sink;
	(void)error;
	return NULL;
}

static void file_destroy(struct nbdsvc_sink *sink)
{
	struct file_sink *self = (struct file_sink *)sink;
	nbdsvc_output_deinit(&self->output);
	free(self->zeros);
	free(self);
}

int nbdsvc_sink_file_create(int fd, int direct_fd, int flags, struct nbdsvc_sink **ret)
{
	struct file_sink *self = calloc(1, sizeof(*self));
	if (!self || !(self->zeros = aligned_alloc(NBDSVC_DIRECT_ALIGNMENT, ZERO_PIECE))) {
		free(self);
		return -ENOMEM;
	}
	memset(self->zeros, 0, ZERO_PIECE);
	int err = nbdsvc_output_init(&self->output, fd, direct_fd);
	if (err) {
		free(self->zeros);
		free(self);
		return err;
	}
	self->flags = flags;
	self->sink = (struct nbdsvc_sink){
		.grain = NBDSVC_DIRECT_ALIGNMENT,
		.scratch_size = 1,
		.resumable = 1,
		.kernel_only = 1,
		.scratch_init = nbdsvc_no_scratch_init,
		.scratch_deinit = nbdsvc_no_scratch_deinit,
		.pwrite = file_pwrite,
		.zero = file_zero,
		.flush = file_flush,
		.finish = file_finish,
		.clone = file_clone,
		.reason = file_reason,
		.destroy = file_destroy,
	};
	*ret = &self->sink;
	return 0;
}

static int null_pwrite(struct nbdsvc_sink *sink, void *scratch, const void *buffer, size_t length, uint64_t offset)
{
	(void)sink, (void)scratch, (void)buffer, (void)length, (void)offset;
	return 0;
}

static int null_zero(struct nbdsvc_sink *sink, void *scratch, uint64_t length, uint64_t offset)
{
	(void)sink, (void)scratch, (void)length, (void)offset;
	return 0;
}

static int null_flush(struct nbdsvc_sink *sink)
{
	(void)sink;
	return 0;
}

static void null_destroy(struct nbdsvc_sink *sink)
{
	free(sink);
}

int nbdsvc_sink_null_create(struct nbdsvc_sink **ret)
{
	struct nbdsvc_sink *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	*self = (struct nbdsvc_sink){
		.grain = 1,
		.scratch_size = 1,
		.kernel_only = 1,
		.scratch_init = nbdsvc_no_scratch_init,
		.scratch_deinit = nbdsvc_no_scratch_deinit,
		.pwrite = null_pwrite,
		.zero = null_zero,
		.flush = null_flush,
		.finish = null_flush,
		.reason = file_reason,
		.destroy = null_destroy,
	};
	*ret = self;
	return 0;
}

void nbdsvc_sink_destroy(struct nbdsvc_sink *sink)
{
	if (sink)
		sink->destroy(sink);
}
