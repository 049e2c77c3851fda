#define _GNU_SOURCE
#include "nbd/nbd_send.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

enum { COMMAND_WRITE = 1, CHUNK_NONE = 0, CHUNK_DONE = 1 };
#define REQUEST_MAGIC 0x25609513U
#define SIMPLE_MAGIC 0x67446698U
#define STRUCTURED_MAGIC 0x668e33efU
enum { MOST_REQUESTS = 16 }; /* in flight: as many as a server has threads */
/* The most bytes of a server's text about an error. */
enum { MOST_WORDS = 4096 };

struct request {
	uint32_t magic;
	uint16_t flags;
	uint16_t type;
	uint64_t cookie;
	uint64_t offset;
	uint32_t length;
} __attribute__((packed));

/* Both kinds begin alike, so that one call gets all of a simple reply; four bytes of length follow in a structured one. */
struct reply {
	uint32_t magic;
	union {
		uint32_t error; /* simple */
		struct {
			uint16_t flags;
			uint16_t type;
		}; /* structured: a chunk */
	};
	uint64_t cookie;
} __attribute__((packed));

/* After a call on the socket failed: 0 when it is to be tried again. */
static int wait_for(const struct nbdsvc_nbd_span *span, short events)
{
	if (errno != EAGAIN && errno != EINTR)
		return -errno;
	for (int waited = 0; waited < NBDSVC_NBD_STALL_MS; waited += NBDSVC_NBD_POLL_MS) {
		struct pollfd wanted = { .fd = span->socket, .events = events };
		if (atomic_load(span->interrupted))
			return -ECANCELED;
		if (poll(&wanted, 1, NBDSVC_NBD_POLL_MS) > 0)
			return 0;
	}
	return -ETIMEDOUT;
}

static int put(const struct nbdsvc_nbd_span *span, const void *bytes, size_t length)
{
	int err = 0;
	while (length && !err) {
		ssize_t sent = send(span->socket, bytes, length, MSG_MORE | MSG_NOSIGNAL);
		if (sent < 0) {
			err = wait_for(span, POLLOUT);
			continue;
		}
		bytes = (const char *)bytes + sent;
		length -= sent;
	}
	return err;
}

static int get(const struct nbdsvc_nbd_span *span, void *bytes, size_t length)
{
	int err = 0;
	while (length && !err) {
		ssize_t got = recv(span->socket, bytes, length, 0);
		if (got == 0)
			return -ECONNRESET;
		if (got < 0) {
			err = wait_for(span, POLLIN);
			continue;
		}
		bytes = (char *)bytes + got;
		length -= got;
	}
	return err;
}

/* The file's bytes. Errors of the disk and of the socket come from the same call; a socket has no EIO. */
static int put_file(const struct nbdsvc_nbd_span *span, uint64_t at, size_t length)
{
	off_t from = at;
	int err = 0;
	while (length && !err) {
		ssize_t sent = sendfile(span->socket, span->fd, &from, length);
		if (sent == 0 || (sent < 0 && errno == EIO))
			return -EFAULT;
		if (sent < 0)
			err = wait_for(span, POLLOUT);
		else
			length -= sent;
	}
	return err;
}

static int ask(const struct nbdsvc_nbd_span *span, uint64_t cookie, size_t done, size_t length)
{
	struct request request = {
		.magic = htobe32(REQUEST_MAGIC),
		.type = htobe16(COMMAND_WRITE),
		.cookie = htobe64(cookie),
		.offset = htobe64(span->offset + done),
		.length = htobe32(length),
	};
	int err = put(span, &request, sizeof(request));
	return err ? err : put_file(span, span->at + done, length);
}

/* Errors are named by Linux's numbers in the protocol, whatever the server runs on. */
static int error_of(uint32_t number)
{
	return number > 0 && number < 4096 ? -(int)number : -EPROTO;
}

/* A write is answered by one chunk: it says that all is done, or an error. */
static int structured(const struct nbdsvc_nbd_span *span, const struct reply *reply)
{
	unsigned char words[MOST_WORDS];
	uint32_t length, number;
	int err = get(span, &length, sizeof(length));
	if (err)
		return err;
	length = be32toh(length);
	if (be16toh(reply->type) == CHUNK_NONE)
		return length || !(be16toh(reply->flags) & CHUNK_DONE) ? -EPROTO : 0;
	if (length < sizeof(number) || length > MOST_WORDS)
		return -EPROTO;
	err = get(span, &number, sizeof(number));
	if (!err)
		err = get(span, words, length - sizeof(number));
	return err ? err : error_of(be32toh(number));
}

static int hear_one(const struct nbdsvc_nbd_span *span, uint64_t *ret_cookie)
{
	struct reply reply;
	int err = get(span, &reply, sizeof(reply));
	if (err)
		return err;
	*ret_cookie = be64toh(reply.cookie);
	switch (be32toh(reply.magic)) {
	case SIMPLE_MAGIC:
		return reply.error ? error_of(be32toh(reply.error)) : 0;
	case STRUCTURED_MAGIC:
		return structured(span, &reply);
	default:
		return -EPROTO;
	}
}

/* Each request has one reply, and replies come in any order. */
static int hear(const struct nbdsvc_nbd_span *span, uint64_t requests)
{
	uint64_t missing = (1ULL << requests) - 1;
	while (missing) {
		uint64_t cookie = 0;
		int err = hear_one(span, &cookie);
		if (!err && (cookie >= requests || !(missing >> cookie & 1)))
			err = -EPROTO;
		if (err)
			return err;
		missing &= ~(1ULL << cookie);
	}
	return 0;
}

/* A page that was on its way when the file became shorter went out with zeros in it, and no error. */
static int became_shorter(const struct nbdsvc_nbd_span *span)
{
	struct stat now;
	if (fstat(span->fd, &now))
		return -errno;
	return S_ISREG(now.st_mode) && (uint64_t)now.st_size < span->at + span->length ? -EFAULT : 0;
}

int nbdsvc_nbd_send(const struct nbdsvc_nbd_span *span)
{
	int err = 0;
	for (size_t done = 0; done < span->length && !err;) {
		uint64_t requests = 0;
		for (; requests < MOST_REQUESTS && done < span->length && !err; requests++) {
			size_t left = span->length - done, length = left < span->request ? left : span->request;
			err = ask(span, requests, done, length);
			done += length;
		}
		if (!err)
			err = hear(span, requests);
	}
	return err ? err : became_shorter(span);
}

int nbdsvc_nbd_can_send(int socket)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	if (socket < 0 || getsockname(socket, (struct sockaddr *)&address, &length))
		return 0;
	return address.ss_family == AF_UNIX || address.ss_family == AF_INET || address.ss_family == AF_INET6;
}
