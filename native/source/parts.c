#include "source/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct range {
	uint64_t begin, end;
};

struct parts {
	struct nbdsvc_source source;
	struct nbdsvc_input *input;
	size_t count;
	struct range ranges[];
};

/* The first range that ends behind offset; count where there is none. */
static size_t find(const struct parts *self, uint64_t offset)
{
	size_t low = 0, high = self->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (self->ranges[middle].end > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static int parts_extent(struct nbdsvc_source *source, uint64_t offset, struct nbdsvc_extent *ret)
{
	struct parts *self = (struct parts *)source;
	if (offset >= source->size)
		return -EINVAL;
	size_t at = find(self, offset);
	uint64_t next = at < self->count ? self->ranges[at].begin : source->size;
	if (next > offset)
		*ret = (struct nbdsvc_extent){ .length = next - offset, .kind = NBDSVC_EXTENT_ZERO };
	else
		*ret = (struct nbdsvc_extent){ .length = self->ranges[at].end - offset, .kind = NBDSVC_EXTENT_DATA };
	return 0;
}

static int parts_pread(struct nbdsvc_source *source, void *scratch, void *buffer, size_t length, uint64_t offset)
{
	(void)scratch;
	struct parts *self = (struct parts *)source;
	char *at = buffer;
	if (offset > source->size || length > source->size - offset)
		return -EINVAL;
	while (length) {
		struct nbdsvc_extent extent;
		int err = parts_extent(source, offset, &extent);
		if (err < 0)
			return err;
		size_t part = extent.length < length ? extent.length : length;
		if (extent.kind == NBDSVC_EXTENT_ZERO)
			memset(at, 0, part);
		else if ((err = self->input->pread(self->input, at, part, offset)) < 0)
			return err;
		at += part;
		offset += part;
		length -= part;
	}
	return 0;
}

static int parts_scratch_init(struct nbdsvc_source *source, void *scratch)
{
	(void)source;
	(void)scratch;
	return 0;
}

static void parts_scratch_deinit(struct nbdsvc_source *source, void *scratch)
{
	(void)source;
	(void)scratch;
}

static const char *parts_reason(struct nbdsvc_source *source, int error)
{
	(void)source;
	(void)error;
	return NULL;
}

static void parts_destroy(struct nbdsvc_source *source)
{
	struct parts *self = (struct parts *)source;
	nbdsvc_input_destroy(self->input);
	free(self);
}

static int are_in_order(const uint64_t *ranges, size_t count, uint64_t size)
{
	uint64_t last = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t begin = ranges[2 * i], end = ranges[2 * i + 1];
		if (begin < last || begin >= end || end > size)
			return 0;
		last = end;
	}
	return 1;
}

int nbdsvc_source_parts_create(struct nbdsvc_input *input, const uint64_t *ranges, size_t count, struct nbdsvc_source **ret)
{
	if (!are_in_order(ranges, count, input->size))
		return -EINVAL;
	struct parts *self = calloc(1, sizeof(*self) + count * sizeof(struct range));
	if (!self)
		return -ENOMEM;
	self->input = input;
	self->count = count;
	for (size_t i = 0; i < count; i++)
		self->ranges[i] = (struct range){ ranges[2 * i], ranges[2 * i + 1] };
	self->source = (struct nbdsvc_source){
		.size = input->size,
		.fd = -1,
		.scratch_size = 1,
		.extent = parts_extent,
		.pread = parts_pread,
		.scratch_init = parts_scratch_init,
		.scratch_deinit = parts_scratch_deinit,
		.destroy = parts_destroy,
		.reason = parts_reason,
	};
	*ret = &self->source;
	return 0;
}
