/*
 * Looks at a file's bytes where the page cache holds them, without copying them out.
 *
 * A file that becomes shorter, or cannot be read, makes such a look a SIGBUS. nbdsvc_mmap_guard_scan turns that into an error:
 * a handler for the whole process is installed with the first window, and leaves every other SIGBUS to whom it was before.
 */
#ifndef NBDSVC_MMAP_GUARD_H
#define NBDSVC_MMAP_GUARD_H

#include <stddef.h>
#include <stdint.h>

/* Reads the range into the page cache at once, not page by page. */
void nbdsvc_mmap_guard_fetch(int fd, uint64_t at, size_t length);
/* Fetches and maps the range. NULL where the file cannot be mapped. `at` is a multiple of 4096. */
const void *nbdsvc_mmap_guard_map(int fd, uint64_t at, size_t length);
void nbdsvc_mmap_guard_unmap(const void *bytes, size_t length);
/* Calls scan, which must only compute: it holds no lock and owns nothing. -ESPIPE where the file lacks the bytes. */
int nbdsvc_mmap_guard_scan(void (*scan)(void *context), void *context);

#endif
