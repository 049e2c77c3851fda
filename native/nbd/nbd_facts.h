/* What an NBD server said of its export. */
#ifndef NBDSVC_NBD_FACTS_H
#define NBDSVC_NBD_FACTS_H

#include <stdint.h>

struct nbdsvc_nbd_facts {
	uint64_t size;
	uint32_t block_size; /* what requests must be aligned to: the server's minimum, a power of two */
	uint32_t request; /* the most bytes of a read or write; a multiple of block_size */
	int connections;
	int tls;
	int can_send;
	int read_only;
	int can_zero;
	int can_flush;
	int has_extents;
};

#endif
