/*
 * The allocator of the qcow2 writer against a model: alloc ROUNDS. Random plain and compressed clusters over several
 * refcount blocks; then the refcounts in the file must be what counting the allocations gives, and nothing overlaps.
 */
#define _GNU_SOURCE
#include "sink/qcow2_alloc.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { GUEST = 80000, MOST = 400000, FIXED = 3 };
static const uint64_t MASK = NBDSVC_CLUSTER - 1;
static uint16_t model[MOST];
static unsigned long state = 88172645463325252UL;

static unsigned long dice(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void count(uint64_t offset, uint64_t length)
{
	for (uint64_t at = offset >> NBDSVC_CLUSTER_BITS; at <= (offset + length - 1) >> NBDSVC_CLUSTER_BITS; at++)
		model[at]++;
}

static void must(int truth, const char *what)
{
	if (!truth) {
		fprintf(stderr, "%s\n", what);
		exit(1);
	}
}

static void compare(int fd, uint64_t table, const struct nbdsvc_alloc *alloc)
{
	enum { ENTRIES = NBDSVC_CLUSTER / 2 };
	static uint16_t block[ENTRIES];
	count(table, (uint64_t)alloc->reftable_clusters << NBDSVC_CLUSTER_BITS);
	for (int pass = 0; pass < 2; pass++) /* first the blocks count themselves, then the counts are looked at */
		for (uint64_t i = 0; i <= (alloc->next - 1) / ENTRIES; i++) {
			uint64_t host = be64toh(alloc->reftable[i]);
			if (pass == 0 && host)
				count(host, NBDSVC_CLUSTER);
			if (pass == 0)
				continue;
			must(pread(fd, block, sizeof(block), host) == sizeof(block), "block");
			for (uint64_t j = 0; j < ENTRIES; j++)
				must(be16toh(block[j]) == model[i * ENTRIES + j], "refcount");
		}
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	for (int round = 0; round < rounds; round++) {
		int fd = memfd_create("file", 0), packed_share = round % 11;
		struct nbdsvc_output output;
		struct nbdsvc_alloc alloc;
		struct nbdsvc_tables tables = { .count = 0 };
		uint64_t last = 0, table;
		memset(model, 0, sizeof(model));
		must(!nbdsvc_output_init(&output, fd, -1) && !nbdsvc_alloc_init(&alloc, GUEST, FIXED), "init");
		count(0, FIXED * NBDSVC_CLUSTER);
		for (int i = 0; i < GUEST + (int)(dice() % 100); i++) {
			uint64_t host, length = NBDSVC_CLUSTER;
			if ((int)(dice() % 10) < packed_share) {
				length = 1 + dice() % MASK;
				must(!nbdsvc_alloc_packed(&alloc, &tables, length, &host), "packed");
			} else {
				must(!nbdsvc_alloc_cluster(&alloc, &tables, &host) && !(host & MASK), "cluster");
			}
			must(host >= FIXED * NBDSVC_CLUSTER && (length < NBDSVC_CLUSTER || host >= last), "place");
			count(host, length);
			if (host + length > last)
				last = host + length;
			must(!nbdsvc_tables_write(&tables, &output, 0), "write");
		}
		must(!nbdsvc_alloc_finish(&alloc, &output, &table), "finish");
		compare(fd, table, &alloc);
		nbdsvc_alloc_deinit(&alloc);
		nbdsvc_output_deinit(&output);
		close(fd);
	}
	printf("%d files, refcounts as counted\n", rounds);
	return 0;
}
