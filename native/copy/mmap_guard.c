#define _GNU_SOURCE
#include "copy/mmap_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>

/* Where this thread goes on when the bytes that it looks at are gone. initial-exec: a handler must not allocate. */
static __thread sigjmp_buf *fault_jump __attribute__((tls_model("initial-exec")));
static struct sigaction before;

static void on_bus(int number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (fault_jump)
		siglongjmp(*fault_jump, 1);
	sigaction(number, &before, NULL); /* not ours: the access is repeated, and the handler installed before gets it */
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_NODEFER };
	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, &before);
}

void nbdsvc_mmap_guard_fetch(int fd, uint64_t at, size_t length)
{
	char last;
	struct iovec vector = { .iov_base = &last, .iov_len = sizeof(last) };
	/* To ask for what is there already takes a tenth of a copy's processor time; files are fetched upwards. */
	if (preadv2(fd, &vector, 1, at + length - 1, RWF_NOWAIT) != sizeof(last))
		posix_fadvise(fd, at, length, POSIX_FADV_WILLNEED);
}

const void *nbdsvc_mmap_guard_map(int fd, uint64_t at, size_t length)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, install);
	nbdsvc_mmap_guard_fetch(fd, at, length);
	void *bytes = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, at);
	return bytes == MAP_FAILED ? NULL : bytes;
}

void nbdsvc_mmap_guard_unmap(const void *bytes, size_t length)
{
	munmap((void *)bytes, length);
}

int nbdsvc_mmap_guard_scan(void (*scan)(void *context), void *context)
{
	sigjmp_buf here;
	if (sigsetjmp(here, 0)) {
		fault_jump = NULL;
		return -ESPIPE;
	}
	fault_jump = &here;
	scan(context);
	fault_jump = NULL;
	return 0;
}
