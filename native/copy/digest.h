/* XXH3-128 of what passes by, in the fastest way that this processor has. */
#ifndef NBDSVC_DIGEST_H
#define NBDSVC_DIGEST_H

#include <stddef.h>

enum { NBDSVC_DIGEST_SIZE = 16 };

struct nbdsvc_digest;

struct nbdsvc_digest *nbdsvc_digest_create(void); /* NULL: no memory */
void nbdsvc_digest_destroy(struct nbdsvc_digest *digest);
void nbdsvc_digest_reset(struct nbdsvc_digest *digest);
void nbdsvc_digest_update(struct nbdsvc_digest *digest, const void *buffer, size_t length);
/* In the canonical byte order. */
void nbdsvc_digest_get(const struct nbdsvc_digest *digest, unsigned char *ret);

/* The same for processors with AVX2 (digest_avx2.c); `state` is an XXH3_state_t. */
void nbdsvc_digest_update_avx2(void *state, const void *buffer, size_t length);

#endif
