#define _GNU_SOURCE
#include "window.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* Where this thread goes on when the bytes that it looks at are gone. initial-exec: a handler must not allocate. */
static __thread sigjmp_buf *way_out __attribute__((tls_model("initial-exec")));
static struct sigaction before;

static void on_bus(int number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (way_out)
		siglongjmp(*way_out, 1);
	sigaction(number, &before, NULL); /* not ours: the access is repeated, and whoever was there before is asked */
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_NODEFER };
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, &before);
}

void nbdsvc_window_fetch(int fd, uint64_t at, size_t length)
{
	char last;
	struct iovec vector = { .iov_base = &last, .iov_len = sizeof(last) };
	/* To ask for what is there already takes a tenth of a copy's processor time; files are fetched upwards. */
	if (preadv2(fd, &vector, 1, at + length - 1, RWF_NOWAIT) != sizeof(last))
		posix_fadvise(fd, at, length, POSIX_FADV_WILLNEED);
}

const void *nbdsvc_window_map(int fd, uint64_t at, size_t length)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, install);
	nbdsvc_window_fetch(fd, at, length);
	void *bytes = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, at);
	return bytes == MAP_FAILED ? NULL : bytes;
}

void nbdsvc_window_unmap(const void *bytes, size_t length)
{
	munmap((void *)bytes, length);
}

int nbdsvc_window_look(void (*look)(void *context), void *context)
{
	sigjmp_buf here;
	if (sigsetjmp(here, 0)) {
		way_out = NULL;
		return -ESPIPE;
	}
	way_out = &here;
	look(context);
	way_out = NULL;
	return 0;
}
