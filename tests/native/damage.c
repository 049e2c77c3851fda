/*
 * Reads an image with random damage, many times: damage IMAGE ROUNDS. Built with sanitizers by
 * tests/integration/test_copy.py; its exit status is the verdict.
 */
#define _GNU_SOURCE
#include "copy/copy.h"
#include "copy/digest.h"
#include "serve/vol.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static unsigned long state = 88172645463325252UL;

static unsigned long dice(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

/* To a raw file, or as qcow2 with one of its compressions. */
static int run(struct nbdsvc_source *source, int target, int kind)
{
	struct nbdsvc_sink *sink;
	uint64_t size = (source->size + 511) / 512 * 512;
	int err = kind < 0 || !size ? nbdsvc_sink_file_create(target, -1, 0, &sink)
				    : nbdsvc_sink_qcow2_create(target, -1, size, kind, &sink);
	if (err)
		abort();
	unsigned char digests[NBDSVC_DIGEST_SIZE * 17];
	struct nbdsvc_copy job = { .source = source, .sink = sink, .journal_fd = -1, .threads = 2, .size = size,
				   .digests = digests };
	err = nbdsvc_copy_run(&job);
	nbdsvc_sink_destroy(sink);
	return err;
}

static int copy_of(const unsigned char *bytes, size_t size, const char *snapshot)
{
	int fd = memfd_create("image", 0), target = memfd_create("target", 0);
	if (write(fd, bytes, size) != (ssize_t)size)
		abort();
	struct nbdsvc_input *input;
	struct nbdsvc_source *source;
	struct nbdsvc_message message = { "" };
	int err = nbdsvc_input_fd_create(fd, &input);
	if (!err) {
		err = nbdsvc_source_qcow2_create(input, snapshot, &message, &source);
		if (err) {
			nbdsvc_input_destroy(input);
		} else {
			if (source->size <= 64 << 20)
				err = run(source, target, (int)(dice() % 8) - 5);
			nbdsvc_source_destroy(source);
		}
	}
	close(fd);
	close(target);
	return err;
}

int main(int argc, char **argv)
{
	(void)argc;
	int fd = open(argv[1], O_RDONLY);
	size_t size = lseek(fd, 0, SEEK_END);
	unsigned char *pristine = malloc(size), *damaged = malloc(size);
	if (pread(fd, pristine, size, 0) != (ssize_t)size || copy_of(pristine, size, "snap") != 0 || copy_of(pristine, size, NULL) != 0)
		return 1;
	int rounds = atoi(argv[2]), refused = 0;
	for (int round = 0; round < rounds; round++) {
		memcpy(damaged, pristine, size);
		/* Mostly the header and the tables, where damage does most. */
		for (int i = dice() % 6 + 1; i > 0; i--)
			damaged[dice() % (dice() % 4 ? (size < 32768 ? size : 32768) : size)] = dice() % 4 ? 1 << dice() % 8 : 0xff;
		refused += copy_of(damaged, dice() % 10 ? size : dice() % size, dice() % 4 ? NULL : "snap") != 0;
	}
	printf("%d damaged images, %d refused\n", rounds, refused);
	free(pristine);
	free(damaged);
	close(fd);
	return 0;
}
