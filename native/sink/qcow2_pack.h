/* Compresses clusters as qcow2 stores them. */
#ifndef NBDSVC_QCOW2_PACK_H
#define NBDSVC_QCOW2_PACK_H

#include <stddef.h>

/* Per-thread state of the compressors; made once, because making one costs more than a cluster. */
struct nbdsvc_packer {
	void *deflate;
	void *zstd;
};

/* -ENOMEM. */
int nbdsvc_packer_init(struct nbdsvc_packer *packer, int compression);
void nbdsvc_packer_deinit(struct nbdsvc_packer *packer);
/* Compresses into `to`, which has room for `length` bytes. The compressed length, or 0 where it would not be shorter. */
size_t nbdsvc_pack(struct nbdsvc_packer *packer, int compression, const void *from, size_t length, void *to);

#endif
