/*
 * Fuzzes the qcow2 reader with libFuzzer: any bytes as an image, opened as it is and at a snapshot, every extent walked
 * and every stored byte read. `make fuzz SECONDS=600`, and shortly in tests/integration/test_fuzz.py.
 */
#include "source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What is read of one image: damaged ones claim to be huge, and the hours are better spent on other images. */
enum { MOST_EXTENTS = 4096, MOST_BYTES = 8 << 20, PIECE = 64 << 10 };

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

static void read_all(struct nbdsvc_source *source)
{
	static unsigned char buffer[PIECE];
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
		for (uint64_t at = 0; at < extent.length && extent.kind == NBDSVC_EXTENT_DATA && bytes < MOST_BYTES; at += PIECE) {
			size_t piece = extent.length - at < PIECE ? extent.length - at : PIECE;
			bytes += piece;
			if (source->pread(source, scratch, buffer, piece, offset + at))
				break;
		}
		offset += extent.length;
	}
	source->scratch_deinit(source, scratch);
	free(scratch);
}

static void run(const uint8_t *data, size_t size, const char *snapshot)
{
	struct memory_input *input = calloc(1, sizeof(*input));
	struct nbdsvc_message message = { "" };
	struct nbdsvc_source *source;
	input->data = data;
	input->input = (struct nbdsvc_input){ .size = size, .fd = -1, .pread = memory_pread, .destroy = memory_destroy };
	if (nbdsvc_source_qcow2_create(&input->input, snapshot, &message, &source)) {
		nbdsvc_input_destroy(&input->input);
		return;
	}
	read_all(source);
	nbdsvc_source_destroy(source);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	run(data, size, NULL);
	run(data, size, "s");
	return 0;
}
