#include "copy/zero.h"

#include <stdint.h>
#include <string.h>

/* The first 16 bytes are looked at, then the rest is compared with itself 16 bytes earlier: memcmp does the work. */
static bool is_zero_portable(const unsigned char *buffer, size_t length)
{
	for (size_t i = 0; i < 16; i++) {
		if (i == length)
			return true;
		if (buffer[i])
			return false;
	}
	return memcmp(buffer, buffer + 16, length - 16) == 0;
}

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static bool is_zero_avx2(const unsigned char *buffer, size_t length)
{
	size_t i = 0;
	for (; i + 128 <= length; i += 128) {
		const __m256i *at = (const __m256i *)(buffer + i);
		__m256i any = _mm256_or_si256(
			_mm256_or_si256(_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)),
			_mm256_or_si256(_mm256_loadu_si256(at + 2), _mm256_loadu_si256(at + 3)));
		if (!_mm256_testz_si256(any, any))
			return false;
	}
	return is_zero_portable(buffer + i, length - i);
}
#endif

bool nbdsvc_is_zero(const void *buffer, size_t length)
{
#if defined(__x86_64__)
	if (__builtin_cpu_supports("avx2"))
		return is_zero_avx2(buffer, length);
#endif
	return is_zero_portable(buffer, length);
}
