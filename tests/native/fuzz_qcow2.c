/*
 * Fuzzes the readers with libFuzzer: any bytes as zstd frames, and as an image, opened as it is and at a snapshot, from memory, from a file,
 * and from one that fails in the middle; every extent walked and every stored byte read, along extents and across them.
 * `make fuzz SECONDS=600`, and shortly in tests/integration/test_fuzz.py.
 */
#include "source/source.h"
#include "source/unpack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is read of one image: damaged ones claim to be huge, and the hours are better spent on other images. */
enum { MOST_EXTENTS = 4096, MOST_BYTES = 2 << 20, PIECE = 64 << 10, MOST_ACROSS = 256 << 10, PAGE = 4096 };

struct memory_input {
	struct nbdsvc_input input;
	const uint8_t *data;
};

static int memory_pread(struct nbdsvc_input *input, void *buffer, size_t length, uint64_t offset)
{
	const struct memory_input *self = (const struct memory_input *)input;
	/* The reader checks all offsets itself: one that gets here is a fault of ours, not of the image. */
	if (offset > input->size || length > input->size - offset)
		abort();
	memcpy(buffer, self->data + offset, length);
	return 0;
}

static void memory_destroy(struct nbdsvc_input *input)
{
	free(input);
}

static struct nbdsvc_input *memory_input(const uint8_t *data, size_t size)
{
	struct memory_input *input = calloc(1, sizeof(*input));
	input->data = data;
	input->input = (struct nbdsvc_input){ .size = size, .fd = -1, .pread = memory_pread, .destroy = memory_destroy };
	return &input->input;
}

/* A file with holes where the image has pages of zeros. */
static struct nbdsvc_input *file_input(const uint8_t *data, size_t size)
{
	static const uint8_t zeros[PAGE];
	struct nbdsvc_input *input;
	int fd = memfd_create("image", 0);
	if (fd < 0 || ftruncate(fd, size) || nbdsvc_input_fd_create(fd, &input))
		abort();
	close(fd);
	for (size_t at = 0; at < size; at += PAGE) {
		size_t piece = size - at < PAGE ? size - at : PAGE;
		if (memcmp(data + at, zeros, piece) && pwrite(input->fd, data + at, piece, at) != (ssize_t)piece)
			abort();
	}
	return input;
}

/* Bytes that can be read so many times. */
struct failing {
	const uint8_t *data;
	unsigned reads;
};

static int failing_pread(void *context, void *buffer, size_t length, uint64_t offset)
{
	struct failing *self = context;
	if (!self->reads--) {
		self->reads = 0; /* it does not come back */
		return -ESPIPE;
	}
	memcpy(buffer, self->data + offset, length);
	return 0;
}

/* What a copy writes from where it stands has to be within the image. */
static void check_place(struct nbdsvc_source *source, uint64_t image_size, uint64_t offset)
{
	int fd;
	uint64_t at, length;
	if (source->locate && source->locate(source, offset, &fd, &at, &length) == 0 &&
	    (fd < 0 || !length || at > image_size || length > image_size - at))
		abort();
}

static void read_extent(struct nbdsvc_source *source, void *scratch, uint64_t offset, uint64_t length, uint64_t *bytes)
{
	static unsigned char buffer[PIECE];
	for (uint64_t at = 0; at < length && *bytes < MOST_BYTES; at += PIECE) {
		size_t piece = length - at < PIECE ? length - at : PIECE;
		*bytes += piece;
		int err = source->pread(source, scratch, buffer, piece, offset + at);
		if (err) {
			source->reason(source, err);
			break;
		}
	}
}

/* Reads that begin and end anywhere, as those of a sink whose grain is larger than a cluster. */
static void read_across(struct nbdsvc_source *source, void *scratch)
{
	uint64_t bytes = 0, end = source->size < MOST_ACROSS ? source->size : MOST_ACROSS;
	if (end > 1)
		read_extent(source, scratch, 1, end - 1, &bytes);
}

static void check_bounds(struct nbdsvc_source *source, void *scratch)
{
	struct nbdsvc_extent extent;
	unsigned char byte;
	if (nbdsvc_source_extent(source, source->size, &extent) != -EINVAL ||
	    source->pread(source, scratch, &byte, 1, source->size) != -EINVAL ||
	    nbdsvc_source_read(source, &byte, 1, source->size) != -EINVAL)
		abort();
	if (source->size)
		nbdsvc_source_read(source, &byte, 1, source->size - 1);
}

static void read_all(struct nbdsvc_source *source, uint64_t image_size)
{
	unsigned char *scratch = calloc(1, source->scratch_size);
	uint64_t offset = 0, bytes = 0;
	if (source->scratch_init(source, scratch))
		abort();
	for (int i = 0; i < MOST_EXTENTS && offset < source->size && bytes < MOST_BYTES; i++) {
		struct nbdsvc_extent extent;
		if (source->extent(source, offset, &extent))
			break;
		if (!extent.length || extent.length > source->size - offset)
			abort();
		check_place(source, image_size, offset);
		if (extent.kind == NBDSVC_EXTENT_DATA)
			read_extent(source, scratch, offset, extent.length, &bytes);
		offset += extent.length;
	}
	read_across(source, scratch);
	check_bounds(source, scratch);
	source->scratch_deinit(source, scratch);
	free(scratch);
}

static void run(struct nbdsvc_input *input, const char *snapshot)
{
	struct nbdsvc_message message = { "" };
	struct nbdsvc_source *source;
	uint64_t size = input->size;
	if (nbdsvc_source_qcow2_create(input, snapshot, &message, &source)) {
		nbdsvc_input_destroy(input);
		return;
	}
	read_all(source, size);
	nbdsvc_source_destroy(source);
}

/* A raw image says nothing but its size; it may become shorter. */
static void run_raw(struct nbdsvc_input *input, size_t kept)
{
	struct nbdsvc_source *source;
	uint64_t size = input->size;
	if (nbdsvc_source_raw_create(input, &source) || (input->fd >= 0 && ftruncate(input->fd, kept)))
		abort();
	read_all(source, size);
	nbdsvc_source_destroy(source);
}

/* Which read fails is in the image, so that libFuzzer can learn to fail all of them. */
static void run_failing(const uint8_t *data, size_t size)
{
	struct failing failing = { .data = data, .reads = size ? data[size - 1] % 32 : 0 };
	struct nbdsvc_input *input;
	if (nbdsvc_input_callback_create(failing_pread, &failing, size, &input))
		abort();
	if (size % 3 == 0)
		run_raw(input, size);
	else
		run(input, size % 3 == 1 ? "s" : NULL);
}

/* Any bytes as zstd frames, in pieces whose length the bytes choose: no piece is overrun, and what is taken is not taken twice. */
static void unpack(const uint8_t *data, size_t size)
{
	enum { WINDOW_LOG = 20 };
	struct nbdsvc_unpack *unpack;
	size_t at = 0, total = 0, taken = 1, made = 1;
	static uint8_t out[PIECE];
	if (nbdsvc_unpack_create(WINDOW_LOG, &unpack))
		abort();
	while (total < MOST_BYTES && (taken || made)) {
		size_t piece = size - at > 1 ? 1 + data[at] * 16 : size - at;
		size_t length = piece < size - at ? piece : size - at, room = at % 7 ? sizeof(out) : 1;
		if (nbdsvc_unpack_run(unpack, data + at, length, out, room, &taken, &made) < 0)
			break;
		if (taken > length || made > room)
			abort();
		at += taken;
		total += made;
	}
	nbdsvc_unpack_destroy(unpack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run(memory_input(data, size), NULL);
	run(memory_input(data, size), "s");
	run(file_input(data, size), NULL);
	run_failing(data, size);
	run_raw(file_input(data, size), size && data[0] % 2 ? size / 2 : size);
	unpack(data, size);
	return 0;
}
