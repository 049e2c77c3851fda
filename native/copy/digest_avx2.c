/* digest.c once more, for processors with AVX2: xxhash chooses its vectors when it is compiled. */
#if defined(__x86_64__)
#pragma GCC target("avx2")
#define XXH_VECTOR 2 /* XXH_AVX2 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "copy/digest.h"

void nbdsvc_digest_update_avx2(void *state, const void *buffer, size_t length)
{
	XXH3_128bits_update(state, buffer, length);
}
#else
typedef int nbdsvc_no_avx2_here;
#endif
