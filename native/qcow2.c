/*
 * Reads qcow2 images, versions 2 and 3 (format: docs/interop/qcow2.txt of QEMU), as images that nobody trusts.
 *
 * Nothing in an image is believed: every offset is checked against the file, every table is bounded, no path in it is
 * followed (backing and data files are refused), and memory does not grow with the image.
 */
#include "qcow2.h"
#include "source.h"

#include <endian.h>
#include <errno.h>
#include <libdeflate.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* Enough L2 tables for every worker to keep its own and its neighbour's: 16 of at most 2 MiB. */
enum { L2_SLOTS = 16 };
/* QEMU's own limit for the L1 table: 32 MiB map 2 EiB at the largest cluster. */
static const uint64_t L1_MAX_BYTES = 32 << 20;

struct l2_slot {
	uint64_t offset; /* in the file; 0: empty */
	uint64_t used; /* clock value of the last use */
	uint64_t *table;
};

struct qcow2 {
	struct nbdsvc_source source;
	struct nbdsvc_input *input;
	int version;
	int cluster_bits;
	uint64_t cluster_size;
	uint64_t l2_entries;
	int zstd;
	uint64_t l1_entries;
	uint64_t *l1;
	pthread_mutex_t lock; /* the slots */
	uint64_t clock;
	struct l2_slot slots[L2_SLOTS];
};

struct scratch {
	struct libdeflate_decompressor *inflate;
	ZSTD_DCtx *zstd;
	unsigned char *compressed;
	unsigned char *cluster;
	uint64_t cached; /* the L2 entry whose cluster is in `cluster`; 0: none */
};

static int refuse(struct nbdsvc_message *message, const char *format, ...)
{
	if (message) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(message->text, sizeof(message->text), format, arguments);
		va_end(arguments);
	}
	return -EBADMSG;
}

static int check_features(const struct qcow2_header *header, struct nbdsvc_message *message)
{
	uint64_t incompatible = be64toh(header->incompatible_features);
	if (incompatible & QCOW2_CORRUPT)
		return refuse(message, "it is marked as corrupt");
	if (incompatible & QCOW2_DATA_FILE)
		return refuse(message, "it has an external data file");
	if (incompatible & QCOW2_EXTENDED_L2)
		return refuse(message, "it has extended L2 entries, which are not supported");
	if (incompatible & ~(uint64_t)(QCOW2_DIRTY | QCOW2_COMPRESSION | QCOW2_EXTENDED_L2 | QCOW2_DATA_FILE | QCOW2_CORRUPT))
		return refuse(message, "it has unknown incompatible features 0x%llx", (unsigned long long)incompatible);
	return 0;
}

static int read_header(struct qcow2 *self, struct qcow2_header *header, struct nbdsvc_message *message)
{
	memset(header, 0, sizeof(*header));
	if (self->input->size < QCOW2_V2_HEADER)
		return refuse(message, "it is too short for a header");
	size_t length = self->input->size < sizeof(*header) ? QCOW2_V2_HEADER : sizeof(*header);
	int err = self->input->pread(self->input, header, length, 0);
	if (err)
		return err;
	if (be32toh(header->magic) != QCOW2_MAGIC)
		return refuse(message, "it has no qcow2 magic");
	self->version = be32toh(header->version);
	if (self->version == 2)
		memset((char *)header + QCOW2_V2_HEADER, 0, sizeof(*header) - QCOW2_V2_HEADER);
	else if (self->version != 3)
		return refuse(message, "its version is %d, not 2 or 3", self->version);
	else if (length < sizeof(*header) - 8 || be32toh(header->header_length) < 104)
		return refuse(message, "its header length is %u", be32toh(header->header_length));
	if (be32toh(header->header_length) < 105)
		header->compression_type = 0;
	return 0;
}

static int check_header(struct qcow2 *self, const struct qcow2_header *header, struct nbdsvc_message *message)
{
	if (header->backing_file_offset)
		return refuse(message, "it has a backing file");
	if (header->crypt_method)
		return refuse(message, "it is encrypted");
	int err = check_features(header, message);
	if (err)
		return err;
	self->cluster_bits = be32toh(header->cluster_bits);
	if (self->cluster_bits < 9 || self->cluster_bits > 21)
		return refuse(message, "its cluster bits are %d, not 9 to 21", self->cluster_bits);
	int typed = !!(be64toh(header->incompatible_features) & QCOW2_COMPRESSION);
	if (header->compression_type > 1 || typed != (header->compression_type == 1))
		return refuse(message, "its compression type is %d", header->compression_type);
	self->zstd = header->compression_type == 1;
	self->cluster_size = 1ULL << self->cluster_bits;
	self->l2_entries = self->cluster_size / 8;
	self->source.size = be64toh(header->size);
	if (self->source.size > INT64_MAX - self->cluster_size)
		return refuse(message, "its virtual size is absurd");
	return 0;
}

static int read_l1(struct qcow2 *self, const struct qcow2_header *header, struct nbdsvc_message *message)
{
	uint64_t per_table = self->cluster_size * self->l2_entries;
	uint64_t needed = self->source.size / per_table + !!(self->source.size % per_table);
	uint64_t offset = be64toh(header->l1_table_offset);
	self->l1_entries = be32toh(header->l1_size);
	if (self->l1_entries * 8 > L1_MAX_BYTES)
		return refuse(message, "its L1 table has %llu entries", (unsigned long long)self->l1_entries);
	if (self->l1_entries < needed)
		return refuse(message, "its L1 table is too small for its virtual size");
	if (offset % self->cluster_size || offset > self->input->size || self->l1_entries * 8 > self->input->size - offset)
		return refuse(message, "its L1 table is not within the file");
	self->l1 = malloc(self->l1_entries * 8 + 8);
	if (!self->l1)
		return -ENOMEM;
	return self->l1_entries ? self->input->pread(self->input, self->l1, self->l1_entries * 8, offset) : 0;
}

static int load_l2(struct qcow2 *self, uint64_t offset, uint64_t **ret)
{
	struct l2_slot *slot = &self->slots[0];
	for (int i = 0; i < L2_SLOTS; i++) {
		if (self->slots[i].offset == offset) {
			self->slots[i].used = ++self->clock;
			*ret = self->slots[i].table;
			return 0;
		}
		if (self->slots[i].used < slot->used)
			slot = &self->slots[i];
	}
	if (!slot->table && !(slot->table = malloc(self->cluster_size)))
		return -ENOMEM;
	slot->offset = 0;
	int err = self->input->pread(self->input, slot->table, self->cluster_size, offset);
	if (err)
		return err;
	slot->offset = offset;
	slot->used = ++self->clock;
	*ret = slot->table;
	return 0;
}

/* What an L2 entry says: 0 for zeros, 1 for data; -EBADMSG for what no writer writes. */
static int judge(struct qcow2 *self, uint64_t entry)
{
	if (entry & QCOW2_COMPRESSED)
		return entry & QCOW2_COPIED ? -EBADMSG : 1;
	if (entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED | QCOW2_ZERO))
		return -EBADMSG;
	if (entry & QCOW2_ZERO)
		return self->version == 2 ? -EBADMSG : 0;
	uint64_t offset = entry & QCOW2_OFFSET_MASK;
	if (!offset)
		return entry & QCOW2_COPIED ? -EBADMSG : 0;
	return offset % self->cluster_size || offset >= self->input->size ? -EBADMSG : 1;
}

/* The entry of the cluster at `offset`, and how many clusters from there are of the same kind within its L2 table. */
static int lookup(struct qcow2 *self, uint64_t offset, uint64_t *entry, uint64_t *run)
{
	uint64_t cluster = offset >> self->cluster_bits;
	uint64_t l1_entry = be64toh(self->l1[cluster / self->l2_entries]);
	uint64_t index = cluster % self->l2_entries;
	uint64_t l2_offset = l1_entry & QCOW2_OFFSET_MASK;
	if (l1_entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED))
		return -EBADMSG;
	if (!l2_offset) {
		*entry = 0;
		*run = self->l2_entries - index;
		return 0;
	}
	if (l2_offset % self->cluster_size || l2_offset > self->input->size ||
	    self->cluster_size > self->input->size - l2_offset)
		return -EBADMSG;
	uint64_t *table;
	pthread_mutex_lock(&self->lock);
	int ret = load_l2(self, l2_offset, &table);
	if (!ret) {
		*entry = be64toh(table[index]);
		ret = judge(self, *entry);
		uint64_t length = 1;
		while (ret >= 0 && index + length < self->l2_entries && judge(self, be64toh(table[index + length])) == ret)
			length++;
		*run = length;
	}
	pthread_mutex_unlock(&self->lock);
	return ret;
}

static int qcow2_extent(struct nbdsvc_source *source, uint64_t offset, struct nbdsvc_extent *ret)
{
	struct qcow2 *self = (struct qcow2 *)source;
	if (offset >= source->size)
		return -EINVAL;
	uint64_t entry, run;
	int kind = lookup(self, offset, &entry, &run);
	if (kind < 0)
		return kind;
	uint64_t end = ((offset >> self->cluster_bits) + run) << self->cluster_bits;
	if (end > source->size)
		end = source->size;
	ret->length = end - offset;
	ret->kind = kind ? NBDSVC_EXTENT_DATA : NBDSVC_EXTENT_ZERO;
	return 0;
}

/* The last cluster of a file may be shorter than a cluster; what is not there reads as zeros, as in QEMU. */
static int read_plain(struct qcow2 *self, void *buffer, size_t length, uint64_t offset)
{
	if (offset >= self->input->size)
		return -EBADMSG;
	uint64_t left = self->input->size - offset;
	size_t there = length < left ? length : left;
	memset((char *)buffer + there, 0, length - there);
	return self->input->pread(self->input, buffer, there, offset);
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
		uint64_t entry, run;
		uint64_t within = offset & (self->cluster_size - 1);
		size_t piece = self->cluster_size - within < length ? self->cluster_size - within : length;
		int kind = lookup(self, offset, &entry, &run);
		int err = kind < 0 ? kind : 0;
		if (kind == 0) {
			memset(at, 0, piece);
		} else if (kind > 0 && entry & QCOW2_COMPRESSED) {
			err = read_compressed(self, scratch, entry);
			if (!err)
				memcpy(at, scratch->cluster + within, piece);
		} else if (kind > 0) {
			err = read_plain(self, at, piece, (entry & QCOW2_OFFSET_MASK) + within);
		}
		if (err)
			return err;
		at += piece;
		offset += piece;
		length -= piece;
	}
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
	case -ESPIPE:
		return "the image became shorter while it was read";
	default:
		return NULL;
	}
}

static void qcow2_destroy(struct nbdsvc_source *source)
{
	struct qcow2 *self = (struct qcow2 *)source;
	for (int i = 0; i < L2_SLOTS; i++)
		free(self->slots[i].table);
	free(self->l1);
	pthread_mutex_destroy(&self->lock);
	nbdsvc_input_destroy(self->input);
	free(self);
}

int nbdsvc_source_qcow2_create(struct nbdsvc_input *input, struct nbdsvc_message *message, struct nbdsvc_source **ret)
{
	struct qcow2 *self = calloc(1, sizeof(*self));
	if (!self)
		return -ENOMEM;
	struct qcow2_header header;
	self->input = input;
	int err = read_header(self, &header, message);
	if (!err)
		err = check_header(self, &header, message);
	if (!err)
		err = read_l1(self, &header, message);
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
	self->source.scratch_init = qcow2_scratch_init;
	self->source.scratch_deinit = qcow2_scratch_deinit;
	self->source.destroy = qcow2_destroy;
	self->source.reason = qcow2_reason;
	*ret = &self->source;
	return 0;
}
