/* From guest offsets to clusters: L1, L2, subclusters. Every offset is checked before anybody reads there. */
#include "source/qcow2_image.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

/* An L2 entry in the host's byte order. `bits`: of extended entries, 32 for what is stored and 32 for what is zero. */
struct entry {
	uint64_t word;
	uint64_t bits;
};

typedef int (*joins_function)(const struct qcow2_run *run, const struct qcow2_run *next);

static int load_l2(struct qcow2 *self, uint64_t offset, uint64_t **ret)
{
	struct qcow2_l2_slot *slot = &self->slots[0];
	for (int i = 0; i < QCOW2_L2_SLOTS; i++) {
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

/* The L2 table that maps the cluster; NULL where there is none, so that all of it reads as zeros. */
static int find_table(struct qcow2 *self, uint64_t cluster, uint64_t **ret)
{
	uint64_t l1_entry = be64toh(self->l1[cluster / self->l2_entries]);
	uint64_t offset = l1_entry & QCOW2_OFFSET_MASK;
	if (l1_entry & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED))
		return -EBADMSG;
	if (!offset) {
		*ret = NULL;
		return 0;
	}
	if (offset % self->cluster_size || offset > self->input->size || self->cluster_size > self->input->size - offset)
		return -EBADMSG;
	return load_l2(self, offset, ret);
}

static struct entry entry_of(const struct qcow2 *self, const uint64_t *table, uint64_t index)
{
	if (!self->extended)
		return (struct entry){ .word = be64toh(table[index]) };
	return (struct entry){ .word = be64toh(table[2 * index]), .bits = be64toh(table[2 * index + 1]) };
}

/* Whether something is stored according to an entry that is not compressed, or -EBADMSG. */
static int is_stored(const struct qcow2 *self, struct entry entry, unsigned subcluster)
{
	uint64_t offset = entry.word & QCOW2_OFFSET_MASK;
	if (self->extended) {
		uint32_t stored = entry.bits, zero = entry.bits >> 32;
		if (entry.word & QCOW2_ZERO || stored & zero || (!offset && stored))
			return -EBADMSG;
		return stored >> subcluster & 1;
	}
	if (entry.word & QCOW2_ZERO)
		return self->version == 2 ? -EBADMSG : 0;
	return !offset && entry.word & QCOW2_COPIED ? -EBADMSG : offset != 0;
}

/* What the entry says of its subcluster (0 where there are none): a kind, or -EBADMSG for what no writer writes. */
static int judge(const struct qcow2 *self, struct entry entry, unsigned subcluster)
{
	if (entry.word & QCOW2_COMPRESSED)
		return entry.word & QCOW2_COPIED || entry.bits ? -EBADMSG : QCOW2_RUN_COMPRESSED;
	if (entry.word & ~(QCOW2_OFFSET_MASK | QCOW2_COPIED | QCOW2_ZERO))
		return -EBADMSG;
	int stored = is_stored(self, entry, subcluster);
	if (stored <= 0)
		return stored < 0 ? stored : QCOW2_RUN_ZERO;
	uint64_t offset = entry.word & QCOW2_OFFSET_MASK;
	return offset % self->cluster_size || offset >= self->input->size ? -EBADMSG : QCOW2_RUN_PLAIN;
}

struct walk {
	struct qcow2 *self;
	const uint64_t *table;
	uint64_t first; /* the guest offset of the table's first cluster */
	uint64_t unit; /* the size of a subcluster, or of a cluster where there are none */
};

/* The run from offset to the end of its unit, or -EBADMSG. */
static int unit_at(const struct walk *walk, uint64_t offset, struct qcow2_run *ret)
{
	struct qcow2 *self = walk->self;
	uint64_t within = offset & (self->cluster_size - 1);
	struct entry entry = entry_of(self, walk->table, (offset - walk->first) >> self->cluster_bits);
	int kind = judge(self, entry, within / walk->unit);
	if (kind < 0)
		return kind;
	int compressed = kind == QCOW2_RUN_COMPRESSED;
	ret->kind = kind;
	ret->length = compressed ? self->cluster_size - within : walk->unit - (within & (walk->unit - 1));
	ret->at = compressed ? entry.word : (entry.word & QCOW2_OFFSET_MASK) + within;
	return 0;
}

/* Runs that follow are added as long as they join, up to the table's end. */
static int walk_table(const struct walk *walk, uint64_t offset, joins_function joins, struct qcow2_run *ret)
{
	uint64_t end = walk->first + (walk->self->l2_entries << walk->self->cluster_bits);
	struct qcow2_run run, next;
	int err = unit_at(walk, offset, &run);
	if (err)
		return err;
	while (offset + run.length < end && unit_at(walk, offset + run.length, &next) == 0 && joins(&run, &next))
		run.length += next.length;
	*ret = run;
	return 0;
}

static int look(struct qcow2 *self, uint64_t offset, joins_function joins, struct qcow2_run *ret)
{
	uint64_t reach = self->l2_entries << self->cluster_bits;
	struct walk walk = { .self = self, .first = offset & ~(reach - 1) };
	walk.unit = self->extended ? self->cluster_size / QCOW2_SUBCLUSTERS : self->cluster_size;
	uint64_t *table;
	pthread_mutex_lock(&self->lock);
	int err = find_table(self, offset >> self->cluster_bits, &table);
	if (!err && !table) {
		*ret = (struct qcow2_run){ .kind = QCOW2_RUN_ZERO, .length = walk.first + reach - offset };
	} else if (!err) {
		walk.table = table;
		err = walk_table(&walk, offset, joins, ret);
	}
	pthread_mutex_unlock(&self->lock);
	return err;
}

static int are_neighbours(const struct qcow2_run *run, const struct qcow2_run *next)
{
	return run->kind == next->kind && run->kind != QCOW2_RUN_COMPRESSED &&
	       (run->kind == QCOW2_RUN_ZERO || next->at == run->at + run->length);
}

static int are_alike(const struct qcow2_run *run, const struct qcow2_run *next)
{
	return (run->kind == QCOW2_RUN_ZERO) == (next->kind == QCOW2_RUN_ZERO);
}

int qcow2_map(struct qcow2 *self, uint64_t offset, struct qcow2_run *ret)
{
	return look(self, offset, are_neighbours, ret);
}

int qcow2_map_extent(struct qcow2 *self, uint64_t offset, struct nbdsvc_extent *ret)
{
	struct qcow2_run run;
	int err = look(self, offset, are_alike, &run);
	if (err)
		return err;
	ret->length = run.length;
	ret->kind = run.kind == QCOW2_RUN_ZERO ? NBDSVC_EXTENT_ZERO : NBDSVC_EXTENT_DATA;
	return 0;
}
