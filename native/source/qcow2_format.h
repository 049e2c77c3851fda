/* The parts of the qcow2 format that a reader needs (docs/interop/qcow2.txt of QEMU). Numbers are big-endian on disk. */
#ifndef NBDSVC_QCOW2_FORMAT_H
#define NBDSVC_QCOW2_FORMAT_H

#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbU
enum { QCOW2_V2_HEADER = 72 };
enum { QCOW2_DIRTY = 1, QCOW2_CORRUPT = 2, QCOW2_DATA_FILE = 4, QCOW2_COMPRESSION = 8, QCOW2_EXTENDED_L2 = 16 };

enum { QCOW2_SUBCLUSTERS = 32, QCOW2_EXTENDED_MIN_BITS = 14 };

#define QCOW2_COPIED (1ULL << 63)
#define QCOW2_COMPRESSED (1ULL << 62)
#define QCOW2_ZERO 1ULL
#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ULL

struct qcow2_header {
	uint32_t magic;
	uint32_t version;
	uint64_t backing_file_offset;
	uint32_t backing_file_size;
	uint32_t cluster_bits;
	uint64_t size;
	uint32_t crypt_method;
	uint32_t l1_size;
	uint64_t l1_table_offset;
	uint64_t refcount_table_offset;
	uint32_t refcount_table_clusters;
	uint32_t snapshot_count;
	uint64_t snapshots_offset;
	/* Version 3 only. */
	uint64_t incompatible_features;
	uint64_t compatible_features;
	uint64_t autoclear_features;
	uint32_t refcount_order;
	uint32_t header_length;
	uint8_t compression_type;
	uint8_t padding[7];
} __attribute__((packed));

/* Followed by extra_size bytes (the first 16: VM state size, virtual disk size), the id, the name, padding to 8 bytes. */
struct qcow2_snapshot {
	uint64_t l1_table_offset;
	uint32_t l1_size;
	uint16_t id_size;
	uint16_t name_size;
	uint32_t seconds;
	uint32_t nanoseconds;
	uint64_t vm_clock;
	uint32_t vm_state_size;
	uint32_t extra_size;
} __attribute__((packed));

#endif
