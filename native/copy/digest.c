#include "copy/digest.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct nbdsvc_digest *nbdsvc_digest_create(void)
{
	XXH3_state_t *state = XXH3_createState();
	if (state)
		XXH3_128bits_reset(state);
	return (struct nbdsvc_digest *)state;
}

void nbdsvc_digest_destroy(struct nbdsvc_digest *digest)
{
	if (digest)
		XXH3_freeState((XXH3_state_t *)digest);
}

void nbdsvc_digest_reset(struct nbdsvc_digest *digest)
{
	XXH3_128bits_reset((XXH3_state_t *)digest);
}

void nbdsvc_digest_update(struct nbdsvc_digest *digest, const void *buffer, size_t length)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2")) {
		nbdsvc_digest_update_avx2(digest, buffer, length);
		return;
	}
#endif
	XXH3_128bits_update((XXH3_state_t *)digest, buffer, length);
}

void nbdsvc_digest_get(const struct nbdsvc_digest *digest, unsigned char *ret)
{
	XXH128_canonical_t canonical;
	XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest((const XXH3_state_t *)digest));
	memcpy(ret, canonical.digest, sizeof(canonical.digest));
}
