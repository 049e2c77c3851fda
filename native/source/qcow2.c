/*
 * Reads qcow2 images, versions 2 and 3 (format: docs/interop/qcow2.txt of QEMU), as images that are not trusted.
 *
 * Nothing in an image is believed: every offset is checked against the file, every table is bounded, no path in it is
 * followed (backing and data files are refused), and memory does not grow with the image.
 */
#include "source/qcow2_image.h"

#include <errno.h>
#include <libdeflate.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct scratch {
	struct libdeflate_decompressor *inflate;
	ZSTD_DCtx *zstd;
	unsigned char *compressed;
	unsigned char *cluster;
	uint64_t cached; /* the L2 entry whose cluster is in `cluster`; 0: none */
};

static int qcow2_extent(struct nbdsvc_source *source, uint64_t offset, struct nbdsvc_extent *ret)
{
	if (offset >= source->size)
		return -EINVAL;
	int err = qcow2_map_extent((struct qcow2 *)source, offset, ret);
	if (!err && ret->length > source->size - offset)
		ret->length = source->size - offset;
	return err;
}

/* Writers store whole clusters or subclusters. QEMU reads zeros behind the end of the file: that is how a cut image loses data. */
static int read_plain(struct qcow2 *self, void *buffer, size_t length, uint64_t offset)
{
	uint64_t left = offset < self->input->size ? self->input->size - offset : 0;
	return length > left ? -ENODATA : self->input->pread(self->input, buffer, length, offset);
}

static int decompress(struct qcow2 *self, struct scratch *scratch, size_t length)
{
	if (!self->zstd) {
		size_t used;
		enum libdeflate_result result = libdeflate_deflate_decompress_ex(
			scratch->inflate, scratch->compressed, length, scratch->cluster, self->cluster_size, &used, NULL);
		return result == LIBDEFLATE_SUCCESS ? 0 : -EILSEQ;
	}
	ZSTD_inBuffer in = { scratch->compressed, length, 0 };
	ZSTD_outBuffer out = { scratch->cluster, self->cluster_size, 0 };
	ZSTD_DCtx_reset(scratch->zstd, ZSTD_reset_session_only);
	while (out.pos < out.size) {
		size_t before = out.pos + in.pos;
		size_t left = ZSTD_decompressStream(scratch->zstd, &out, &in);
		if (ZSTD_isError(left) || out.pos + in.pos == before || (left == 0 && out.pos < out.size))
			return -EILSEQ;
	}
	return 0;
}

/* The whole cluster of a compressed entry, in scratch->cluster. */
static int read_compressed(struct qcow2 *self, struct scratch *scratch, uint64_t entry)
{
	if (scratch->cached == entry)
		return 0;
	int shift = 62 - (self->cluster_bits - 8);
	uint64_t offset = entry & ((1ULL << shift) - 1);
	uint64_t sectors = (entry & ~(QCOW2_COMPRESSED | QCOW2_COPIED)) >> shift;
	uint64_t length = (sectors + 1) * 512 - offset % 512;
	if (offset >= self->input->size)
		return -EBADMSG;
	/* The last sector of the last cluster may lie behind the end of the file. */
	if (length > self->input->size - offset)
		length = self->input->size - offset;
	scratch->cached = 0;
	int err = self->input->pread(self->input, scratch->compressed, length, offset);
	if (!err)
		err = decompress(self, scratch, length);
	if (!err)
		scratch->cached = entry;
	return err;
}

static int qcow2_pread(struct nbdsvc_source *source, void *scratch_memory, void *buffer, size_t length, uint64_t offset)
{
	struct qcow2 *self = (struct qcow2 *)source;
	struct scratch *scratch = scratch_memory;
	if (offset > source->size || length > source->size - offset)
		return -EINVAL;
	char *at = buffer;
	while (length) {
		struct qcow2_run run;
		int err = qcow2_map(self, offset, &run);
		if (err)
			return err;
		size_t piece = run.length < length ? run.length : length;
		if (run.kind == QCOW2_RUN_ZERO) {
			memset(at, 0, piece);
		} else if (run.kind == QCOW2_RUN_PLAIN) {
			err = read_plain(self, at, piece, run.at);
		} else {
			err = read_compressed(self, scratch, run.at);
			if (!err)
				memcpy(at, scratch->cluster + (offset & (self->cluster_size - 1)), piece);
		}
		if (err)
			return err;
		at += piece;
		offset += piece;
		length -= piece;
	}
	return 0;
}

/* A run of plain clusters; not the last cluster of a file that ends within it. */
static int qcow2_locate(struct nbdsvc_source *source, uint64_t offset, int *ret_fd, uint64_t *ret_at, uint64_t *ret_length)
{
	struct qcow2 *self = (struct qcow2 *)source;
	struct qcow2_run run;
	int err = self->input->fd < 0 ? -EOPNOTSUPP : qcow2_map(self, offset, &run);
	uint64_t end = self->input->size;
	if (!err && (run.kind != QCOW2_RUN_PLAIN || run.at >= end || run.length > end - run.at))
		err = -EOPNOTSUPP;
	if (err)
		return err;
	*ret_fd = self->input->fd;
	*ret_at = run.at;
	*ret_length = run.length;
	return 0;
}

static void qcow2_scratch_deinit(struct nbdsvc_source *source, void *scratch_memory)
{
	(void)source;
	struct scratch *scratch = scratch_memory;
	libdeflate_free_decompressor(scratch->inflate);
	ZSTD_freeDCtx(scratch->zstd);
	free(scratch->compressed);
	free(scratch->cluster);
}

static int qcow2_scratch_init(struct nbdsvc_source *source, void *scratch_memory)
{
	struct qcow2 *self = (struct qcow2 *)source;
	struct scratch *scratch = scratch_memory;
	scratch->inflate = libdeflate_alloc_decompressor();
	scratch->zstd = ZSTD_createDCtx();
	/* A compressed cluster's length field reaches two clusters. */
	scratch->compressed = malloc(self->cluster_size * 2 + 512);
	scratch->cluster = malloc(self->cluster_size);
	if (scratch->inflate && scratch->zstd && scratch->compressed && scratch->cluster)
		return 0;
	qcow2_scratch_deinit(source, scratch);
	return -ENOMEM;
}

static const char *qcow2_reason(struct nbdsvc_source *source, int error)
{
	(void)source;
	switch (error) {
	case -EBADMSG:
		return "the image's tables are damaged: an entry points to where no cluster can be";
	case -EILSEQ:
		return "a compressed cluster of the image is damaged";
	case -ENODATA:
		return "the image is truncated: a cluster ends behind the end of the file";
	case -ESPIPE:
		return "the image became shorter while it was read";
	default:
		return NULL;
	}
}

static void qcow2_destroy(struct nbdsvc_source *source)
{
	struct qcow2 *self = (struct qcow2 *)source;
	for (int i = 0; i < QCOW2_L2_SLOTS; i++)
		free(self->slots[i].table);
	free(self->l1);
	pthread_mutex_destroy(&self->lock);
	nbdsvc_input_destroy(self->input);
	free(self);
}

int nbdsvc_source_qcow2_create(struct nbdsvc_input *input, const char *snapshot, struct nbdsvc_message *message,
			       struct nbdsvc_source **ret)
{
	struct qcow2 *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	self->input = input;
	int err = qcow2_open(self, snapshot, message);
	if (err) {
		free(self->l1);
		free(self); /* the input stays the caller's on failure */
		return err;
	}
	pthread_mutex_init(&self->lock, NULL);
	self->source.fd = -1;
	self->source.scratch_size = sizeof(struct scratch);
	self->source.extent = qcow2_extent;
	self->source.pread = qcow2_pread;
	self->source.locate = qcow2_locate;
	self->source.scratch_init = qcow2_scratch_init;
	self->source.scratch_deinit = qcow2_scratch_deinit;
	self->source.destroy = qcow2_destroy;
	self->source.reason = qcow2_reason;
	*ret = &self->source;
	return 0;
}
