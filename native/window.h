/*
 * Looks at a file's bytes where the page cache holds them, without copying them out.
 *
 * A file that becomes shorter, or cannot be read, makes such a look a SIGBUS. nbdsvc_window_look turns that into an error:
 * a handler for the whole process is installed with the first window, and leaves every other SIGBUS to whom it was before.
 */
#ifndef NBDSVC_WINDOW_H
#define NBDSVC_WINDOW_H

#include <stddef.h>
#include <stdint.h>

/* What is not in the page cache yet is read into it in one go, not page by page. */
void nbdsvc_window_fetch(int fd, uint64_t at, size_t length);
/* Fetches, too. NULL where the file cannot be mapped. `at` is a multiple of 4096. */
const void *nbdsvc_window_map(int fd, uint64_t at, size_t length);
void nbdsvc_window_unmap(const void *bytes, size_t length);
/* Calls look, which must only compute: it holds no lock and owns nothing. -ESPIPE where the bytes were not there. */
int nbdsvc_window_look(void (*look)(void *context), void *context);

#endif
