/* Bytes to a file or block device: through O_DIRECT where offset, length and memory allow it. */
#ifndef NBDSVC_OUTPUT_H
#define NBDSVC_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

/* The alignment of offsets, lengths and addresses that satisfies O_DIRECT on all known devices. */
enum { NBDSVC_DIRECT_ALIGNMENT = 4096 };

struct nbdsvc_output {
	int fd;
	int direct_fd; /* the same opened with O_DIRECT, or -1 */
};

/* Keeps duplicates of both; direct_fd may be -1. 0 or -errno. */
int nbdsvc_output_init(struct nbdsvc_output *output, int fd, int direct_fd);
void nbdsvc_output_deinit(struct nbdsvc_output *output);
/* Writes all of the range. -ENOSPC for a short write, or the -errno of pwrite. */
int nbdsvc_output_write(const struct nbdsvc_output *output, const void *buffer, size_t length, uint64_t offset);

#endif
