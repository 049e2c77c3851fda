/*
 * The limits of a volume on this host, which all its servers share: a throttle in shared memory.
 *
 * The memory is a file below /dev/shm: it is written at every request of a limited volume, and a disk that does not answer must
 * not stop those. A server locks it by flock, so that one that is killed leaves nothing locked. While a server has it open it
 * also has the lock of its first byte, shared, and so `forget` removes a file that no server has, and no other.
 */
#ifndef NBDSVC_LIMITS_H
#define NBDSVC_LIMITS_H

#include "serve/throttle.h"
#include "serve/turnstile.h"

#include <stdint.h>

struct nbdsvc_limits;

/* path: of the file, which there is from the first limit on. -ENOMEM. */
int nbdsvc_limits_create(const char *path, struct nbdsvc_limits **ret);
/* For when no request uses it any more. */
void nbdsvc_limits_destroy(struct nbdsvc_limits *limits);
/*
 * Sets the limits of all servers of the volume: NBDSVC_THROTTLE_LIMITS of them, and see struct nbdsvc_throttle. Requests that wait
 * see it within 50 ms. -EPERM for a file of another user, or the -errno of opening, allocating or mapping it.
 */
int nbdsvc_limits_set(struct nbdsvc_limits *limits, const struct nbdsvc_limit *wanted, double operation_size);
/* What requests are limited by now; all zeros without limits. */
void nbdsvc_limits_get(struct nbdsvc_limits *limits, struct nbdsvc_limit *ret, double *ret_operation_size);
/* Whether there are any, without a lock. */
int nbdsvc_limits_are_there(struct nbdsvc_limits *limits);
/*
 * Returns 0 when a request of this user, which is not 0, may go: at once without limits. queue: of the user's requests in this
 * direction, whose first this is. -ESHUTDOWN when its connection ends meanwhile, where nbdkit runs it.
 */
int nbdsvc_limits_wait(struct nbdsvc_limits *limits, uint64_t user, int direction, uint64_t bytes,
			struct nbdsvc_turnstile *queue);
/* Removes the file unless a server has it open. The -errno of open or unlink; 0 where there is none. */
int nbdsvc_limits_forget(const char *path);

#endif
