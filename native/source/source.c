#define _GNU_SOURCE
#include "source/source.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct raw {
	struct nbdsvc_source source;
	struct nbdsvc_input *input;
};

/* Holes by SEEK_DATA/SEEK_HOLE. A file system that cannot tell answers that all is data, and so do we. */
static int raw_extent(struct nbdsvc_source *source, uint64_t offset, struct nbdsvc_extent *ret)
{
	struct raw *self = (struct raw *)source;
	if (offset >= source->size)
		return -EINVAL;
	struct nbdsvc_extent extent = { .length = source->size - offset, .kind = NBDSVC_EXTENT_DATA };
	if (self->input->fd >= 0) {
		off_t data = lseek(self->input->fd, offset, SEEK_DATA);
		if (data < 0 && errno == ENXIO) {
			/* A hole up to the end, or the end came nearer since it was opened: that must not become zeros. */
			struct stat st;
			if (fstat(self->input->fd, &st) < 0)
				return -errno;
			if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < source->size)
				return -ESPIPE;
			extent.kind = NBDSVC_EXTENT_ZERO;
		} else if (data > (off_t)offset) {
			extent.kind = NBDSVC_EXTENT_ZERO;
			extent.length = data - offset;
		} else if (data == (off_t)offset) {
			off_t hole = lseek(self->input->fd, offset, SEEK_HOLE);
			if (hole > (off_t)offset)
				extent.length = hole - offset;
		}
	}
	if (extent.length > source->size - offset)
		extent.length = source->size - offset;
	*ret = extent;
	return 0;
}

static int raw_pread(struct nbdsvc_source *source, void *scratch, void *buffer, size_t length, uint64_t offset)
{
	(void)scratch;
	struct raw *self = (struct raw *)source;
	return self->input->pread(self->input, buffer, length, offset);
}

static int raw_locate(struct nbdsvc_source *source, uint64_t offset, int *ret_fd, uint64_t *ret_at, uint64_t *ret_length)
{
	*ret_fd = source->fd;
	*ret_at = offset;
	*ret_length = source->size - offset;
	return source->fd < 0 ? -EOPNOTSUPP : 0;
}

static int raw_scratch_init(struct nbdsvc_source *source, void *scratch)
{
	(void)source;
	(void)scratch;
	return 0;
}

static void raw_scratch_deinit(struct nbdsvc_source *source, void *scratch)
{
	(void)source;
	(void)scratch;
}

static const char *raw_reason(struct nbdsvc_source *source, int error)
{
	(void)source;
	return error == -ESPIPE ? "the source became shorter while it was read" : NULL;
}

static void raw_destroy(struct nbdsvc_source *source)
{
	struct raw *self = (struct raw *)source;
	nbdsvc_input_destroy(self->input);
	free(self);
}

int nbdsvc_source_raw_create(struct nbdsvc_input *input, struct nbdsvc_source **ret)
{
	struct raw *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	self->input = input;
	self->source = (struct nbdsvc_source){
		.size = input->size,
		.fd = input->fd,
		.scratch_size = 1,
		.extent = raw_extent,
		.pread = raw_pread,
		.locate = raw_locate,
		.scratch_init = raw_scratch_init,
		.scratch_deinit = raw_scratch_deinit,
		.destroy = raw_destroy,
		.reason = raw_reason,
	};
	*ret = &self->source;
	return 0;
}

void nbdsvc_source_destroy(struct nbdsvc_source *source)
{
	if (source)
		source->destroy(source);
}

void nbdsvc_source_interrupt(struct nbdsvc_source *source)
{
	if (source->interrupt)
		source->interrupt(source);
}

int nbdsvc_source_extent(struct nbdsvc_source *source, uint64_t offset, struct nbdsvc_extent *ret)
{
	return source->extent(source, offset, ret);
}

/* One read with its own scratch memory: for inspection, not for copying. */
int nbdsvc_source_read(struct nbdsvc_source *source, void *buffer, size_t length, uint64_t offset)
{
	if (offset > source->size || length > source->size - offset)
		return -EINVAL;
	void *scratch = calloc(1, source->scratch_size);
	if (!scratch)
		return -ENOMEM;
	int err = source->scratch_init(source, scratch);
	if (!err) {
		err = source->pread(source, scratch, buffer, length, offset);
		source->scratch_deinit(source, scratch);
	}
	free(scratch);
	return err;
}
