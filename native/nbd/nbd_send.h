/*
 * Writes to an NBD server whose bytes the kernel takes from a file's page cache itself: no copy into memory of ours, and
 * none into the socket.
 *
 * libnbd makes the connection and does everything else on it. Between two of its requests, with none in flight, the
 * socket carries what we put there: requests and replies as doc/proto.md of the NBD project describes them.
 */
#ifndef NBDSVC_NBD_SEND_H
#define NBDSVC_NBD_SEND_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Of every exchange with a server, also libnbd's: requests that no server refuses that does not say so, and how long one may be silent. */
enum { NBDSVC_NBD_REQUEST = 256 << 10, NBDSVC_NBD_POLL_MS = 50, NBDSVC_NBD_STALL_MS = 30000 };

struct nbdsvc_nbd_span {
	int socket; /* non-blocking */
	int fd; /* of the file, which has the bytes from `at` on */
	uint64_t at;
	size_t length;
	uint64_t offset; /* of the export */
	uint32_t request; /* the most bytes of one request */
	atomic_int *interrupted; /* ends a wait within 50 ms when it becomes true */
};

/*
 * 0, or -errno: the server's own error; -EFAULT where the file has become shorter or cannot be read; -EPROTO for a reply
 * that is none; -ETIMEDOUT after 30 seconds without a sign of life; -ECANCELED. After any of them the connection may be in
 * the middle of something, and must not be used any more. The process must ignore SIGPIPE, as Python does.
 */
int nbdsvc_nbd_send(const struct nbdsvc_nbd_span *span);

/* Whether the kernel sends on this socket by itself: on those of the unix and internet families it does. */
int nbdsvc_nbd_can_send(int socket);

#endif
