/* The calls of nbdkit's worker threads, and of its first thread. */
#include "serve/vol.h"

#include <signal.h>
#include <sys/prctl.h>

/* Pinning by a call of its own would hand the GIL over once more for every request. */
int nbdsvc_served_pread(struct nbdsvc_vol *vol, void *buffer, size_t length, uint64_t offset)
{
	nbdsvc_pin_thread();
	return nbdsvc_vol_pread(vol, buffer, length, offset);
}

int nbdsvc_served_pwrite(struct nbdsvc_vol *vol, const void *buffer, size_t length, uint64_t offset, int flags)
{
	nbdsvc_pin_thread();
	return nbdsvc_vol_pwrite(vol, buffer, length, offset, flags);
}

/* Of the thread that was started first, whose parent is the shell that keeps the server. nbdkit in the foreground asks for
 * SIGTERM, after which it answers ESHUTDOWN to its clients: an I/O error on their hosts. */
void nbdsvc_die_with_parent(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}
