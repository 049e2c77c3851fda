/* Validates a qcow2 image's header, features and snapshot table, and reads its L1 table. */
#include "source/qcow2_image.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* QEMU's own limits. 32 MiB of L1 table map 2 EiB at the largest cluster. */
static const uint64_t L1_MAX_BYTES = 32 << 20;
static const uint32_t MOST_SNAPSHOTS = 65536;
static const uint32_t MOST_SNAPSHOT_EXTRA = 1024;

/* The active state of the disk, or that of a snapshot. */
struct root {
	uint64_t l1_offset;
	uint64_t l1_entries;
	uint64_t size;
};

int qcow2_refuse(struct nbdsvc_message *message, const char *format, ...)
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
		return qcow2_refuse(message, "it is marked as corrupt");
	if (incompatible & QCOW2_DATA_FILE)
		return qcow2_refuse(message, "it has an external data file");
	if (incompatible & ~(uint64_t)(QCOW2_DIRTY | QCOW2_COMPRESSION | QCOW2_EXTENDED_L2 | QCOW2_DATA_FILE | QCOW2_CORRUPT))
		return qcow2_refuse(message, "it has unknown incompatible features 0x%llx", (unsigned long long)incompatible);
	return 0;
}

static int read_header(struct qcow2 *self, struct qcow2_header *header, struct nbdsvc_message *message)
{
	memset(header, 0, sizeof(*header));
	if (self->input->size < QCOW2_V2_HEADER)
		return qcow2_refuse(message, "it is too short for a header");
	size_t length = self->input->size < sizeof(*header) ? QCOW2_V2_HEADER : sizeof(*header);
	int err = self->input->pread(self->input, header, length, 0);
	if (err)
		return err;
	if (be32toh(header->magic) != QCOW2_MAGIC)
		return qcow2_refuse(message, "it has no qcow2 magic");
	self->version = be32toh(header->version);
	if (self->version == 2)
		memset((char *)header + QCOW2_V2_HEADER, 0, sizeof(*header) - QCOW2_V2_HEADER);
	else if (self->version != 3)
		return qcow2_refuse(message, "its version is %d, not 2 or 3", self->version);
	else if (length < sizeof(*header) - 8 || be32toh(header->header_length) < 104)
		return qcow2_refuse(message, "its header length is %u", be32toh(header->header_length));
	if (be32toh(header->header_length) < 105)
		header->compression_type = 0;
	return 0;
}

static int check_header(struct qcow2 *self, const struct qcow2_header *header, struct nbdsvc_message *message)
{
	if (header->backing_file_offset)
		return qcow2_refuse(message, "it has a backing file");
	if (header->crypt_method)
		return qcow2_refuse(message, "it is encrypted");
	int err = check_features(header, message);
	if (err)
		return err;
	self->cluster_bits = be32toh(header->cluster_bits);
	if (self->cluster_bits < 9 || self->cluster_bits > 21)
		return qcow2_refuse(message, "its cluster bits are %d, not 9 to 21", self->cluster_bits);
	int typed = !!(be64toh(header->incompatible_features) & QCOW2_COMPRESSION);
	if (header->compression_type > 1 || typed != (header->compression_type == 1))
		return qcow2_refuse(message, "its compression type is %d", header->compression_type);
	self->zstd = header->compression_type == 1;
	self->cluster_size = 1ULL << self->cluster_bits;
	self->extended = !!(be64toh(header->incompatible_features) & QCOW2_EXTENDED_L2);
	if (self->extended && self->cluster_bits < QCOW2_EXTENDED_MIN_BITS)
		return qcow2_refuse(message, "its clusters are too small for extended L2 entries");
	self->l2_entries = self->cluster_size / (self->extended ? 16 : 8);
	return 0;
}

static int read_l1(struct qcow2 *self, const struct root *root, struct nbdsvc_message *message)
{
	self->source.size = root->size;
	if (root->size > INT64_MAX - self->cluster_size)
		return qcow2_refuse(message, "its virtual size is absurd");
	uint64_t per_table = self->cluster_size * self->l2_entries;
	uint64_t needed = self->source.size / per_table + !!(self->source.size % per_table);
	uint64_t offset = root->l1_offset;
	self->l1_entries = root->l1_entries;
	if (self->l1_entries * 8 > L1_MAX_BYTES)
		return qcow2_refuse(message, "its L1 table has %llu entries", (unsigned long long)self->l1_entries);
	if (self->l1_entries < needed)
		return qcow2_refuse(message, "its L1 table is too small for its virtual size");
	if (offset % self->cluster_size || offset > self->input->size || self->l1_entries * 8 > self->input->size - offset)
		return qcow2_refuse(message, "its L1 table is not within the file");
	self->l1 = malloc(self->l1_entries * 8 + 8);
	if (!self->l1)
		return -ENOMEM;
	return self->l1_entries ? self->input->pread(self->input, self->l1, self->l1_entries * 8, offset) : 0;
}

static int read_at(struct qcow2 *self, void *buffer, size_t length, uint64_t offset, struct nbdsvc_message *message)
{
	if (offset > self->input->size || length > self->input->size - offset)
		return qcow2_refuse(message, "its snapshot table is not within the file");
	return length ? self->input->pread(self->input, buffer, length, offset) : 0;
}

static int is_called(const char *wanted, const char *found, size_t length)
{
	return strlen(wanted) == length && !memcmp(wanted, found, length);
}

/* One entry of the snapshot table; *offset goes on to the next. 1: it is the one that is wanted. */
static int read_snapshot(struct qcow2 *self, const char *wanted, uint64_t *offset, struct root *root,
			 struct nbdsvc_message *message)
{
	struct qcow2_snapshot entry;
	uint64_t extra[2] = { 0, 0 };
	int err = read_at(self, &entry, sizeof(entry), *offset, message);
	if (err)
		return err;
	uint32_t extra_size = be32toh(entry.extra_size);
	if (extra_size > MOST_SNAPSHOT_EXTRA || (self->version == 3 && extra_size < sizeof(extra)))
		return qcow2_refuse(message, "its snapshot table is damaged");
	err = read_at(self, extra, extra_size < sizeof(extra) ? extra_size : sizeof(extra), *offset + sizeof(entry), message);
	size_t id_size = be16toh(entry.id_size), name_size = be16toh(entry.name_size);
	char *names = err ? NULL : malloc(id_size + name_size + 1);
	if (!names)
		return err ? err : -ENOMEM;
	err = read_at(self, names, id_size + name_size, *offset + sizeof(entry) + extra_size, message);
	int found = !err && (is_called(wanted, names + id_size, name_size) || is_called(wanted, names, id_size));
	free(names);
	*offset += (sizeof(entry) + extra_size + id_size + name_size + 7) & ~7ULL;
	if (found) {
		root->l1_offset = be64toh(entry.l1_table_offset);
		root->l1_entries = be32toh(entry.l1_size);
		if (extra_size >= sizeof(extra))
			root->size = be64toh(extra[1]);
	}
	return err ? err : found;
}

static int find_snapshot(struct qcow2 *self, const struct qcow2_header *header, const char *wanted, struct root *root,
			 struct nbdsvc_message *message)
{
	uint64_t offset = be64toh(header->snapshots_offset);
	uint32_t count = be32toh(header->snapshot_count);
	if (count > MOST_SNAPSHOTS || offset % self->cluster_size)
		return qcow2_refuse(message, "its snapshot table is damaged");
	int matches = 0;
	for (uint32_t i = 0; i < count; i++) {
		int found = read_snapshot(self, wanted, &offset, root, message);
		if (found < 0)
			return found;
		matches += found;
	}
	if (matches > 1)
		return qcow2_refuse(message, "more than one of its snapshots has the name or id %s", wanted);
	return matches ? 0 : qcow2_refuse(message, "it has no snapshot called %s", wanted);
}

int qcow2_open(struct qcow2 *self, const char *snapshot, struct nbdsvc_message *message)
{
	struct qcow2_header header;
	int err = read_header(self, &header, message);
	if (!err)
		err = check_header(self, &header, message);
	if (err)
		return err;
	struct root root = {
		.l1_offset = be64toh(header.l1_table_offset),
		.l1_entries = be32toh(header.l1_size),
		.size = be64toh(header.size),
	};
	if (snapshot)
		err = find_snapshot(self, &header, snapshot, &root, message);
	return err ? err : read_l1(self, &root, message);
}
