/* One piece of a chunk: its bytes, which of them are zeros, and its digest's share. Private to the copy engine. */
#ifndef NBDSVC_PIECE_H
#define NBDSVC_PIECE_H

#include "copy/worker.h"

struct nbdsvc_piece {
	const unsigned char *bytes; /* or NULL: they are in the file only */
	size_t length;
	int fd; /* of the file where they stand, from `at` on; or -1 */
	uint64_t at;
	int mapped; /* bytes are mapped from the page cache: only the kernel may access them from now on */
	uint64_t zeros; /* a bit for each grain that is all zeros */
};

/* Gets and hashes the bytes from offset on, at most `length` of them. -errno of a failure, which is recorded in the state too. */
int nbdsvc_piece_get(struct nbdsvc_worker *worker, uint64_t length, uint64_t offset, struct nbdsvc_piece *ret);
void nbdsvc_piece_put(struct nbdsvc_piece *piece);

#endif
