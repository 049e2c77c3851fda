#define _GNU_SOURCE
#include "serve/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A change of limits is seen after the longest; the shortest keeps many users of a high limit from using the processor up. */
static const double LONGEST_NAP_SECONDS = 0.05;
static const double SHORTEST_NAP_SECONDS = 0.001;

/* Of nbdkit, where this runs in it: ends early when the client or the server goes away. */
extern int nbdkit_nanosleep(unsigned seconds, unsigned nanoseconds) __attribute__((weak));

struct shared {
	atomic_int limited; /* whether the throttle has any limit */
	struct nbdsvc_throttle throttle; /* under the lock of the file */
};

struct nbdsvc_limits {
	char *path;
	int fd;
	pthread_mutex_t mutex; /* one thread at a time, because the lock of the file is the process's */
	struct shared *_Atomic shared; /* NULL before the first limit */
};

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

int nbdsvc_limits_create(const char *path, struct nbdsvc_limits **ret)
{
	struct nbdsvc_limits *limits = calloc(1, sizeof(*limits));
	char *copy = strdup(path);
	if (!limits || !copy) {
		free(copy);
		free(limits);
		return -ENOMEM;
	}
	limits->path = copy;
	limits->fd = -1;
	pthread_mutex_init(&limits->mutex, NULL);
	*ret = limits;
	return 0;
}

void nbdsvc_limits_destroy(struct nbdsvc_limits *limits)
{
	if (!limits)
		return;
	if (limits->shared)
		munmap(limits->shared, sizeof(struct shared));
	if (limits->fd >= 0)
		close(limits->fd);
	pthread_mutex_destroy(&limits->mutex);
	free(limits->path);
	free(limits);
}

static int lock_first_byte(int fd, int command, short type)
{
	struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };
	int err;
	do
		err = fcntl(fd, command, &lock) < 0 ? -errno : 0;
	while (err == -EINTR);
	return err;
}

/* The descriptor of the file, whose first byte is locked; or -errno. In /dev/shm another user may have a file of that name. */
static int open_file(const char *path)
{
	for (;;) {
		struct stat found;
		int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0)
			return -errno;
		int err = fstat(fd, &found) < 0 ? -errno : 0;
		if (!err && (found.st_uid != geteuid() || !S_ISREG(found.st_mode)))
			err = -EPERM;
		if (!err)
			err = lock_first_byte(fd, F_OFD_SETLKW, F_RDLCK);
		if (!err && fstat(fd, &found) < 0)
			err = -errno;
		if (!err && found.st_nlink)
			return fd;
		close(fd);
		if (err)
			return err;
	}
}

/* With the mutex. */
static int map_file(struct nbdsvc_limits *limits)
{
	int fd = open_file(limits->path);
	if (fd < 0)
		return fd;
	/* Without room, a write to the mapping would kill the server. */
	int err = -posix_fallocate(fd, 0, sizeof(struct shared));
	void *found = err ? MAP_FAILED : mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (!err && found == MAP_FAILED)
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	limits->fd = fd;
	limits->shared = found;
	return 0;
}

static void lock(struct nbdsvc_limits *limits)
{
	while (flock(limits->fd, LOCK_EX) < 0 && errno == EINTR)
		;
}

static void unlock(struct nbdsvc_limits *limits)
{
	flock(limits->fd, LOCK_UN);
}

static int has_any(const struct nbdsvc_limit *wanted)
{
	for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++) {
		if (wanted[at].average > 0)
			return 1;
	}
	return 0;
}

static int has_these(const struct nbdsvc_throttle *throttle, const struct nbdsvc_limit *wanted, double operation_size)
{
	int same = throttle->operation_size == operation_size;
	for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++)
		same = same && !memcmp(&throttle->buckets[at].limit, &wanted[at], sizeof(wanted[at]));
	return same;
}

int nbdsvc_limits_set(struct nbdsvc_limits *limits, const struct nbdsvc_limit *wanted, double operation_size)
{
	int err = 0;
	pthread_mutex_lock(&limits->mutex);
	if (!limits->shared && has_any(wanted))
		err = map_file(limits);
	if (!err && limits->shared) {
		struct shared *shared = limits->shared;
		lock(limits);
		/* A server that starts has the same as those that run, and changes nothing of what their buckets have. */
		if (!has_these(&shared->throttle, wanted, operation_size))
			nbdsvc_throttle_set(&shared->throttle, wanted, operation_size, now());
		atomic_store(&shared->limited, nbdsvc_throttle_limits(&shared->throttle));
		unlock(limits);
	}
	pthread_mutex_unlock(&limits->mutex);
	return err;
}

void nbdsvc_limits_get(struct nbdsvc_limits *limits, struct nbdsvc_limit *ret, double *ret_operation_size)
{
	memset(ret, 0, NBDSVC_THROTTLE_LIMITS * sizeof(*ret));
	*ret_operation_size = 0;
	pthread_mutex_lock(&limits->mutex);
	if (limits->shared) {
		struct nbdsvc_throttle *throttle = &limits->shared->throttle;
		lock(limits);
		for (int at = 0; at < NBDSVC_THROTTLE_LIMITS; at++)
			ret[at] = throttle->buckets[at].limit;
		*ret_operation_size = throttle->operation_size;
		unlock(limits);
	}
	pthread_mutex_unlock(&limits->mutex);
}

int nbdsvc_limits_are_there(struct nbdsvc_limits *limits)
{
	struct shared *shared = atomic_load_explicit(&limits->shared, memory_order_acquire);
	return shared && atomic_load_explicit(&shared->limited, memory_order_relaxed);
}

static double take(struct nbdsvc_limits *limits, uint64_t user, int direction, uint64_t bytes, int more)
{
	pthread_mutex_lock(&limits->mutex);
	lock(limits);
	/* The time is read under the lock, so that it does not go back for the throttle. */
	double wait = nbdsvc_throttle_take(&limits->shared->throttle, user, direction, bytes, more, now());
	unlock(limits);
	pthread_mutex_unlock(&limits->mutex);
	return wait;
}

static int nap(double seconds)
{
	seconds = seconds < SHORTEST_NAP_SECONDS ? SHORTEST_NAP_SECONDS : seconds;
	seconds = seconds > LONGEST_NAP_SECONDS ? LONGEST_NAP_SECONDS : seconds;
	struct timespec time = { .tv_nsec = seconds * 1e9 };
	if (nbdkit_nanosleep)
		return nbdkit_nanosleep(0, time.tv_nsec) < 0 ? -ESHUTDOWN : 0;
	nanosleep(&time, NULL);
	return 0;
}

int nbdsvc_limits_wait(struct nbdsvc_limits *limits, uint64_t user, int direction, uint64_t bytes,
		       struct nbdsvc_turnstile *queue)
{
	int err = 0;
	while (!err && nbdsvc_limits_are_there(limits)) {
		double wait = take(limits, user, direction, bytes, nbdsvc_turnstile_has_more(queue));
		if (wait <= 0)
			break;
		err = nap(wait);
	}
	return err;
}

int nbdsvc_limits_forget(const char *path)
{
	int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int err = 0;
	if (!lock_first_byte(fd, F_OFD_SETLK, F_WRLCK))
		err = unlink(path) < 0 ? -errno : 0;
	close(fd);
	return err;
}
